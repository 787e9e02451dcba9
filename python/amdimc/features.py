"""Features of a split, and which of them are neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Iterator, Sequence

import numpy as np

from .show import Gallery
from .tensors import PathLike


@dataclass
class Features:
    """What an encoder makes of N pictures, in the order of their files. `x, labels = features` unpacks it."""

    x: np.ndarray  # float32 (N, channels); of a scale d (N, channels, d, d)
    labels: np.ndarray  # int64 (N,)
    pictures: np.ndarray | None = None  # uint8 (N, H, W, C), as the encoder gets them, where they were asked for

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter((self.x, self.labels))

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        return f"<features {self.x.shape}, {len(np.unique(self.labels))} classes>"

    def frame(self) -> Any:
        """A pandas.DataFrame: a row a picture, columns 0 to channels - 1, and `label`."""
        import pandas

        return pandas.DataFrame(self.x.reshape(len(self.x), -1)).assign(label=self.labels)

    def neighbours(self, queries: Sequence[int] | np.ndarray | int = 6, k: int = 8) -> Neighbours:
        """The k pictures nearest to each of the queries, themselves left out, by cosine.

        Queries are numbers of pictures, or how many are taken, evenly over the split.
        """
        if isinstance(queries, (int, np.integer)):
            queries = np.arange(queries) * len(self.x) // queries
        asked = np.asarray(queries, int)
        unit = self.x.reshape(len(self.x), -1).astype(np.float32)
        unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        cosine = unit[asked] @ unit.T
        cosine[np.arange(len(asked)), asked] = -np.inf
        nearest = np.argsort(-cosine, axis=1, kind="stable")[:, :min(k, len(self.x) - 1)]
        return Neighbours(self, asked, nearest, np.take_along_axis(cosine, nearest, axis=1))


@dataclass
class Neighbours:
    """The nearest of some pictures, the nearest first. A notebook shows the pictures, where the features have them."""

    features: Features
    queries: np.ndarray  # int (Q,)
    nearest: np.ndarray  # int (Q, k)
    cosine: np.ndarray  # float32 (Q, k)

    def __repr__(self) -> str:
        queries, k = self.nearest.shape
        return f"<the {k} nearest of {queries} pictures, {self.agreement:.0%} of them of the same label>"

    @property
    def agreement(self) -> float:
        """The share of neighbours that have the label of their query."""
        labels = self.features.labels
        return float((labels[self.nearest] == labels[self.queries, None]).mean())

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self)[1:-1])}</p>" + (self._table() if self.features.pictures is None
                                                         else self._gallery(self.features.pictures))

    def _gallery(self, pictures: np.ndarray) -> str:
        labels = self.features.labels
        return Gallery([[(pictures[query], f"{query}: class {labels[query]}")] +
                        [(pictures[i], f"{labels[i]}, {cosine:.2f}") for i, cosine in zip(near, similar)]
                        for query, near, similar in zip(self.queries, self.nearest, self.cosine)])._repr_html_()

    def _table(self) -> str:
        labels = self.features.labels

        def row(query: int, near: np.ndarray, similar: np.ndarray) -> str:
            cells = "".join(f"<td>{i}: class {labels[i]}, {cosine:.2f}</td>" for i, cosine in zip(near, similar))
            return f"<tr><th>{query}: class {labels[query]}</th>{cells}</tr>"

        return "<table>" + "".join(map(row, self.queries, self.nearest, self.cosine)) + "</table>"


def load_features(path: PathLike) -> Features:
    """What `PROGRAM encode -o FILE.npy` wrote: FILE.npy, and FILE.labels.npy beside it."""
    path = Path(path)
    stem = path.with_suffix("") if path.suffix == ".npy" else path
    return Features(np.load(path), np.load(f"{stem}.labels.npy"))
