"""What a notebook shows inline: curves as SVG, pictures as PNG, both made here, and so without a library for plotting."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from html import escape
from typing import Any, Iterable, Mapping, NamedTuple, Sequence

import numpy as np

WIDTH, HEIGHT = 460, 240  # of a chart, in pixels
LEFT, RIGHT, TOP, BOTTOM = 52, 20, 26, 28  # its margins
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
        curves = {name: _thinned(curve) for name, curve in self.curves.items()}
        if self.log:
            curves = {name: Curve(x[y > 0], np.log10(y[y > 0])) for name, (x, y) in curves.items()}
        x_low, x_high = _range(curve.x for curve in curves.values())
        y_low, y_high = _range(curve.y for curve in curves.values())
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

        def place(x: Any, y: Any) -> tuple[Any, Any]:
            return (LEFT + (right - LEFT) * (x - x_low) / (x_high - x_low), bottom - (bottom - TOP) * (y - y_low) / (y_high - y_low))

        parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
                 'font-family="sans-serif" font-size="11" fill="currentColor" role="img">', f"<title>{escape(self.title)}</title>"]
        for value in _ticks(y_low, y_high):
            y = place(0, value)[1]
            parts.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="currentColor" opacity="0.15"/>')
            parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{10 ** value if self.log else value:.4g}</text>')
        for value in _ticks(x_low, x_high):
            parts.append(f'<text x="{place(value, 0)[0]:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{value:.6g}</text>')
        at = float(LEFT)
        for i, (name, curve) in enumerate(curves.items()):
            colour = COLOURS[i % len(COLOURS)]
            parts.append(f'<text x="{at:.0f}" y="14" fill="{colour}" font-weight="bold">{escape(name)}</text>')
            parts.append(f'<path d="{_path(*place(*curve))}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
            at += 7 * len(name) + 10
        return "".join(parts) + "</svg>"


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


def _range(values: Iterable[np.ndarray]) -> tuple[float, float]:
    """The least and the most of all, never the same."""
    every = np.concatenate([*values, np.zeros(0)])
    low, high = (float(every.min()), float(every.max())) if len(every) else (0.0, 1.0)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round values from low to high: multiples of 1, 2 or 5 times a power of ten."""
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (factor * step) <= most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


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
        return "".join('<div style="display:flex;gap:6px;margin:4px 0;overflow-x:auto">' + "".join(map(self._figure, row)) + "</div>"
                       for row in self.rows)

    def _figure(self, shown: tuple[np.ndarray, str]) -> str:
        picture, caption = shown
        data = base64.b64encode(png(picture)).decode()
        return (f'<figure style="margin:0;text-align:center;font:11px sans-serif"><img src="data:image/png;base64,{data}" '
                f'alt="{escape(caption)}" width="{self.side}" style="image-rendering:pixelated"/>'
                f"<figcaption>{escape(caption)}</figcaption></figure>")
