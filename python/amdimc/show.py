"""What a notebook shows inline: curves as SVG, pictures as PNG, both made here, and so without a library for plotting."""

from __future__ import annotations

import base64
import itertools
import math
import struct
import zlib
from html import escape
from typing import Any, Iterable, Mapping, NamedTuple, Sequence

import numpy as np

WIDTH, HEIGHT = 460, 240  # of a chart, in pixels
LEFT, RIGHT, TOP, BOTTOM = 52, 20, 26, 28  # its margins
LETTER, LINE = 7, 14  # about what a letter is wide, and a line high
MOST_POINTS = 300  # of a curve; of a longer one means are drawn
COLOURS = ["#3b82d0", "#d9772b", "#2f9e68", "#c2528b", "#8a6fd1", "#a08a1e", "#2a9aa8", "#c0483d"]  # on light and dark


class Curve(NamedTuple):
    """x and y are float64 (N,); points whose y is not a number are left out."""

    x: np.ndarray
    y: np.ndarray


class Chart:
    """Curves by name over steps. A notebook shows it; `svg` is its text; `plot` draws it by matplotlib."""

    def __init__(self, curves: Mapping[str, Curve], title: str = "", smooth: float = 0, log: bool = False):
        """`smooth` in [0, 1): each value takes that share of the mean before it. `log`: a logarithmic axis."""
        if not 0 <= smooth < 1:
            raise ValueError(f"smooth={smooth} is not in [0, 1)")
        self.title, self.log = title, log
        self.curves = {name: Curve(*_smoothed(*curve, smooth)) for name, curve in curves.items()}

    def _repr_html_(self) -> str:
        return f'<div style="display:inline-block">{self.svg}</div>'

    def plot(self, axes: Any = None) -> Any:
        """Draws on matplotlib's axes, new ones unless given, and returns them."""
        if axes is None:
            import matplotlib.pyplot

            axes = matplotlib.pyplot.subplots()[1]
        for name, curve in self.curves.items():
            axes.plot(*curve, label=name)
        axes.set(title=self.title, xlabel="step", yscale="log" if self.log else "linear")
        axes.legend()
        return axes

    @property
    def svg(self) -> str:
        """The drawing, as text of an SVG file."""
        curves = {name: _thinned(curve) for name, curve in self.curves.items()}
        if self.log:
            curves = {name: Curve(x[y > 0], np.log10(y[y > 0])) for name, (x, y) in curves.items()}
        x_axis = _Axis((curve.x for curve in curves.values()), LEFT, WIDTH - RIGHT)
        y_axis = _Axis((curve.y for curve in curves.values()), HEIGHT - BOTTOM, TOP)
        paths = [f'<path d="{_path(x_axis.place(x), y_axis.place(y))}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
                 for (x, y), colour in zip(curves.values(), itertools.cycle(COLOURS))]
        names, more = _legend(list(curves))
        height = HEIGHT + more
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
                f'font-family="sans-serif" font-size="11" fill="currentColor" role="img"><title>{escape(self.title)}</title>'
                f'{names}<g transform="translate(0 {more})">{self._grid(x_axis, y_axis)}{"".join(paths)}</g></svg>')

    def _grid(self, x_axis: _Axis, y_axis: _Axis) -> str:
        parts = []
        for value in y_axis.ticks():
            y, text = y_axis.place(value), f"{10 ** value if self.log else value:.4g}"
            parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="currentColor" opacity="0.15"/>'
                         f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        for value in x_axis.ticks():
            parts.append(f'<text x="{x_axis.place(value):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{value:.6g}</text>')
        return "".join(parts)


def _legend(names: Sequence[str]) -> tuple[str, int]:
    """Each curve's name in its colour, and by how much more than one line they are higher."""
    parts, at, line = [], LEFT, 0
    for name, colour in zip(names, itertools.cycle(COLOURS)):
        width = LETTER * len(name) + 10
        if at > LEFT and at + width > WIDTH:
            at, line = LEFT, line + 1
        parts.append(f'<text x="{at}" y="{14 + LINE * line}" fill="{colour}" font-weight="bold">{escape(name)}</text>')
        at += width
    return "".join(parts), LINE * line


class _Axis:
    """From values to pixels: the least of all at `begin`, the most at `end`."""

    def __init__(self, values: Iterable[np.ndarray], begin: float, end: float):
        every = np.concatenate([*values, np.zeros(0)])
        low, high = (float(every.min()), float(every.max())) if len(every) else (0.0, 1.0)
        self.low, self.high = (low, high) if low < high else (low - 0.5, high + 0.5)
        self.begin, self.end = begin, end

    def place(self, value: Any) -> Any:
        return self.begin + (self.end - self.begin) * (value - self.low) / (self.high - self.low)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values: multiples of 1, 2 or 5 times a power of ten."""
        length = self.high - self.low
        step = 10.0 ** math.floor(math.log10(length / most))
        step *= next(factor for factor in (1, 2, 5, 10) if length / (factor * step) <= most)
        return [i * step for i in range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)]


def _smoothed(x: Any, y: Any, share: float) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, float), np.asarray(y, float)
    kept = np.isfinite(y)
    x, y = x[kept], y[kept]
    mean = weight = 0.0
    for i in range(len(y) if share else 0):
        mean, weight = share * mean + (1 - share) * y[i], share * weight + 1 - share
        y[i] = mean / weight
    return x, y


def _thinned(curve: Curve) -> Curve:
    """Means of runs of values, as a screen has no room for all."""
    if len(curve.y) <= MOST_POINTS:
        return curve
    return Curve(*(np.array([part.mean() for part in np.array_split(values, MOST_POINTS)]) for values in curve))


def _path(x: np.ndarray, y: np.ndarray) -> str:
    points = [f"{at_x:.1f} {at_y:.1f}" for at_x, at_y in zip(x, y)]
    return "M" + "L".join(points) + "h.1" if points else ""  # a single point is seen, too


def png(picture: np.ndarray) -> bytes:
    """A PNG file of uint8 (H, W), (H, W, 1) or (H, W, 3)."""
    picture = np.ascontiguousarray(picture)
    channels = picture.shape[2] if picture.ndim == 3 else 1
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or channels not in (1, 3):
        raise ValueError(f"a picture is uint8 (H, W), (H, W, 1) or (H, W, 3), not {picture.dtype} {picture.shape}")
    height, width = picture.shape[:2]
    rows = np.concatenate([np.zeros((height, 1), np.uint8), picture.reshape(height, width * channels)], axis=1)  # filter 0

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows.tobytes())) + chunk(b"IEND", b"")


class Gallery:
    """Rows of pictures, each with a caption; a notebook shows them."""

    def __init__(self, rows: Sequence[Sequence[tuple[np.ndarray, str]]], side: int = 64):
        """A row is a list of (picture, caption), see `png`; `side` is how large a picture is shown, in pixels."""
        self.rows, self.side = rows, side

    def _repr_html_(self) -> str:
        begin = '<div style="display:flex;gap:6px;margin:4px 0;overflow-x:auto">'
        return "".join(begin + "".join(map(self._figure, row)) + "</div>" for row in self.rows)

    def _figure(self, shown: tuple[np.ndarray, str]) -> str:
        picture, caption = shown
        data = base64.b64encode(png(picture)).decode()
        return (f'<figure style="margin:0;text-align:center;font:11px sans-serif"><img src="data:image/png;base64,{data}" '
                f'alt="{escape(caption)}" width="{self.side}" style="image-rendering:pixelated"/>'
                f"<figcaption>{escape(caption)}</figcaption></figure>")
