"""A run: the folder that `PROGRAM train --out RUN` writes, read while it goes on or when it is done."""

from __future__ import annotations

import json
import math
from html import escape
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from .show import Chart, Curve
from .tensors import PathLike, load, load_metadata

_WHOLE = ("step", "epoch")  # fields that are whole numbers


class Run:
    """A run's metrics and weights. A notebook shows its curves."""

    def __init__(self, folder: PathLike):
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise FileNotFoundError(f"{self.folder}: no folder of a run; `Program.train` or `PROGRAM train --out` makes one")
        self._metrics: tuple[int, dict[str, np.ndarray]] = (-1, {})

    def __repr__(self) -> str:
        steps = self.metrics["step"]
        if not len(steps):
            return f"<run {self.folder}, no steps yet>"
        return f"<run {self.folder}, {steps[-1]} steps, loss {self.metrics['loss'][-1]:.4f}>"

    @property
    def metrics(self) -> dict[str, np.ndarray]:
        """metrics.jsonl as columns of one length, an entry a step: `step` and `epoch` int64, all others float64.

        What a step does not have (the loss of one left out, a probe between probes) is NaN. Read anew when the file has grown.
        """
        path = self.folder / "metrics.jsonl"
        size = path.stat().st_size if path.exists() else 0
        if self._metrics[0] != size:
            text = path.read_bytes() if size else b""
            lines = text[:text.rfind(b"\n") + 1].splitlines()  # the last may be on its way
            self._metrics = size, _columns([json.loads(line) for line in lines if line])
        return dict(self._metrics[1])

    @property
    def pairs(self) -> list[str]:
        """The pairs that it trains, such as 1-to-5."""
        return [name[len("accuracy."):] for name in self.metrics if name.startswith("accuracy.")]

    def frame(self) -> Any:
        """The metrics as a pandas.DataFrame, indexed by step."""
        import pandas

        return pandas.DataFrame(self.metrics).set_index("step")

    @property
    def checkpoint(self) -> Path:
        """last.safetensors."""
        return self.folder / "last.safetensors"

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """Weights and running statistics, float32, by PyTorch's names and in its layouts: convolutions (out, in, k, k)."""
        return {name: array for name, array in load(self.checkpoint).items() if name.startswith(("encoder.", "embed."))}

    @property
    def spec(self) -> str:
        """What it is trained from, a setting a line."""
        return load_metadata(self.checkpoint).get("amdimc_spec", "")

    @property
    def report(self) -> Report:
        """report.html, for a notebook to show."""
        return Report(self.folder / "report.html")

    def curves(self, *names: str, smooth: float = 0, log: bool = False) -> Chart:
        """A chart of these columns of the metrics, of all losses unless told; see `Chart`."""
        metrics = self.metrics
        names = names or ("loss", *self.pairs)
        for name in names:
            if name not in metrics:
                raise KeyError(f"{self.folder}: no metric {name}; there are: {', '.join(metrics)}")
        return Chart({name: Curve(metrics["step"], metrics[name]) for name in names}, f"{self.folder.name}, by step", smooth, log)

    def _repr_html_(self) -> str:
        metrics = self.metrics
        charts = [self.curves(smooth=0.9)] if len(metrics["step"]) else []
        if self.pairs:
            charts.append(self.curves(*(f"accuracy.{pair}" for pair in self.pairs), smooth=0.9))
        probes = [name for name in metrics if name.startswith("probe") and not name.startswith(("probe_low", "probe_high"))]
        if probes:
            charts.append(self.curves(*probes))
        return f"<p>{escape(repr(self)[1:-1])}</p>" + "".join(chart._repr_html_() for chart in charts)


def compare(runs: Mapping[str, Run], name: str = "loss", smooth: float = 0.9, log: bool = False) -> Chart:
    """One metric of several runs in one chart, under the names that they are given."""
    return Chart({title: run.curves(name).curves[name] for title, run in runs.items()}, f"{name}, by step", smooth, log)


class Report:
    """A page that a program or a sweep wrote, inside a notebook's."""

    def __init__(self, path: PathLike):
        self.path = Path(path)

    def _repr_html_(self) -> str:
        page = escape(self.path.read_text(encoding="utf-8"))
        return f'<iframe srcdoc="{page}" style="width:100%;height:720px;border:0"></iframe>'


def _columns(lines: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    names = dict.fromkeys(name for line in lines for name in line) or dict.fromkeys([*_WHOLE, "loss"])
    columns = {}
    for name in names:
        values = [line.get(name) for line in lines]
        absent = 0 if name in _WHOLE else math.nan
        columns[name] = np.array([absent if value is None else value for value in values], np.int64 if name in _WHOLE else float)
    return columns
