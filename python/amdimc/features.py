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
    labels: np.ndarray | None  # int64 (N,); None where the pictures have none
    pictures: np.ndarray | None = None  # uint8 (N, H, W, C), as the encoder gets them, where they were asked for

    def __iter__(self) -> Iterator[np.ndarray | None]:
        return iter((self.x, self.labels))

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        classes = "no labels" if self.labels is None else f"{len(np.unique(self.labels))} classes"
        return f"<features {self.x.shape}, {classes}>"

    def frame(self) -> Any:
        """A pandas.DataFrame: a row a picture, columns 0 to channels - 1, and `label` where there are labels."""
        import pandas

        frame = pandas.DataFrame(self.x.reshape(len(self.x), -1))
        return frame if self.labels is None else frame.assign(label=self.labels)

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
        agreement = "" if self.features.labels is None else f", {self.agreement:.0%} of them of the same label"
        return f"<the {k} nearest of {queries} pictures{agreement}>"

    @property
    def agreement(self) -> float:
        """The share of neighbours that have the label of their query; nan where there are no labels."""
        labels = self.features.labels
        if labels is None:
            return float("nan")
        return float((labels[self.nearest] == labels[self.queries, None]).mean())

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self)[1:-1])}</p>" + (self._table() if self.features.pictures is None
                                                         else self._gallery(self.features.pictures))

    def _name(self, picture: int) -> str:
        labels = self.features.labels
        return str(picture) if labels is None else f"{picture}: class {labels[picture]}"

    def _gallery(self, pictures: np.ndarray) -> str:
        shown = self.features.labels if self.features.labels is not None else range(len(self.features))
        return Gallery([[(pictures[query], self._name(query))] +
                        [(pictures[i], f"{shown[i]}, {cosine:.2f}") for i, cosine in zip(near, similar)]
                        for query, near, similar in zip(self.queries, self.nearest, self.cosine)])._repr_html_()

    def _table(self) -> str:
        def row(query: int, near: np.ndarray, similar: np.ndarray) -> str:
            cells = "".join(f"<td>{self._name(i)}, {cosine:.2f}</td>" for i, cosine in zip(near, similar))
            return f"<tr><th>{self._name(query)}</th>{cells}</tr>"

        return "<table>" + "".join(map(row, self.queries, self.nearest, self.cosine)) + "</table>"


def load_features(path: PathLike) -> Features:
    """What `PROGRAM encode -o FILE.npy` wrote: FILE.npy, and FILE.labels.npy beside it where pictures have labels."""
    path = Path(path)
    stem = path.with_suffix("") if path.suffix == ".npy" else path
    labels = Path(f"{stem}.labels.npy")
    return Features(np.load(path), np.load(labels) if labels.exists() else None)
