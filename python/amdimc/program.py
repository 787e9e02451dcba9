"""A compiled program, and how it comes about. What each command does is in docs/program.md; every option of the command line is a
keyword here, `--checkpoint-every 10` is `checkpoint_every=10`."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from functools import cached_property
from pathlib import Path
from typing import Any, Callable, Mapping, Union

import numpy as np

from . import command
from .features import Features, load_features
from .run import Run
from .tensors import PathLike, load, save

Weights = Union[Run, PathLike, Mapping[str, np.ndarray]]
SHOW_SECONDS = 2.0  # at least between two drawings of a run under way
SHOW_SHARE = 0.05  # of the time, at most, spent on drawing


def compile(spec: PathLike | dict, output: PathLike, *, compiler: PathLike | None = None, quiet: bool = False,
            **options: Any) -> Program:
    """Compiles a spec to the program `output`. Overrides are options: `pairs="1-to-5,1-to-7"`, `batch=128`, `memory="512MiB"`.

    The spec is a file, or what it would say as a dict. A wrong one raises Error with its place, and a hint where there is one.
    """
    _amdimc(spec, [], {"o": output, **options}, compiler, quiet)
    return Program(output)


def explain(spec: PathLike | dict, *, compiler: PathLike | None = None, **options: Any) -> dict:
    """Layers, scales, pairs, FLOPs and memory: `amdimc --explain=json`."""
    return json.loads(_amdimc(spec, ["--explain=json"], options, compiler, True))


def sweep(spec: PathLike | dict, out: PathLike, *, compiler: PathLike | None = None, quiet: bool = False, **options: Any) -> dict:
    """Compiles, trains and probes every combination: `pairs=["1-to-5", "1-to-5,1-to-7"], data=..., epochs=10, seeds=3`.

    Returns out/sweep.json; out/sweep.csv has a line a run, out/NAME/seed-S is a run each.
    """
    _amdimc(spec, ["sweep"], {"out": out, **options}, compiler, quiet)
    return json.loads((Path(out) / "sweep.json").read_text(encoding="utf-8"))


def _amdimc(spec: PathLike | dict, words: list[str], options: dict[str, Any], compiler: PathLike | None, quiet: bool) -> str:
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(spec, dict):
            text, spec = json.dumps(spec, indent=2), Path(folder) / f"{spec.get('name', 'spec')}.yaml"
            spec.write_text(text, encoding="utf-8")  # JSON is YAML
        try:
            return command.run([command.find_compiler(compiler), *words, os.fspath(spec), *command.arguments(options)],
                               None if quiet else _print)
        except command.Error as error:  # a dict's lines are those of its JSON, wherever it lay
            raise command.Error(str(error).replace(f"{folder}/", ""), error.status) from None


class Program:
    """A program that `amdimc SPEC -o PROGRAM` made.

    `weights` may be a Run, a file, a run's folder, or tensors by name. `data` is what `--data` takes; None: the built-in
    pictures.
    """

    def __init__(self, path: PathLike):
        self.path = Path(path).absolute()
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path}: no program; `compile` makes one from a spec")

    def __repr__(self) -> str:
        return f"<program {self.path.name}: {', '.join(pair['pair'] for pair in self.info['pairs'])}>"

    def __call__(self, name: str, *, quiet: bool = True, **options: Any) -> str:
        """Runs any command, such as `program("check", data="photos")`; returns what it prints on standard output."""
        return command.run([str(self.path), name, *command.arguments(options)], None if quiet else _print)

    @cached_property
    def info(self) -> dict:
        """What it was compiled from."""
        return json.loads(self("info", json=True))

    def train(self, out: PathLike, data: PathLike | None = None, *, weights: Weights | None = None, quiet: bool = False,
              each: Callable[[Run], None] | None = None, **options: Any) -> Run:
        """Trains into the folder `out`: `epochs=10, seed=1, resume=True, lr=1e-3, limit=100, probe_every=1`, ...

        Progress is printed, and in a notebook curves are drawn as they grow; `each` is called with the run in their place. An
        interrupt (the notebook's stop button, Ctrl-C) saves the run before KeyboardInterrupt comes; `Run(out)` reads it, and
        `resume=True` goes on from there.
        """
        watch = _Watch(out, each or (None if quiet else _shown_inline()))
        with _Files() as files:
            words = command.arguments({"out": out, "data": data, "weights": files.weights(weights), **options})
            command.run([str(self.path), "train", *words], None if quiet else _print, watch.tick)
        watch.draw()
        return Run(out)

    def encode(self, weights: Weights, data: PathLike | None = None, *, pictures: bool = False, **options: Any) -> Features:
        """f_1 of the test pictures, float32 (N, channels), and their labels.

        `split="train"`, `limit=100` of each class, `scale=d`: phi_d (N, dim, d, d), with `raw=True` f_d (N, channels, d, d).
        With `pictures=True` the features have the pictures, too, and can show neighbours.
        """
        with _Files() as files:
            self("encode", weights=files.weights(weights), data=data, o=files / "features.npy", **options)
            features = load_features(files / "features.npy")
        if pictures:
            shared = {name: options[name] for name in ("split", "limit", "labels", "holdout", "threads") if name in options}
            features.pictures = self.pictures(data, **shared)
        return features

    def pictures(self, data: PathLike | None = None, **options: Any) -> np.ndarray:
        """The pictures that `encode` encodes, as the encoder gets them, in the same order: uint8 (N, H, W, C)."""
        with _Files() as files:
            self("encode", pixels=True, data=data, o=files / "pixels.npy", **options)
            return self.as_pictures(np.load(files / "pixels.npy"))

    def as_pictures(self, x: np.ndarray) -> np.ndarray:
        """Normalised float32 (..., C, H, W), such as views, as uint8 (..., H, W, C)."""
        mean, std = (np.array(self.info[key], np.float32) for key in ("mean", "std"))
        return np.clip(np.rint((np.moveaxis(x, -3, -1) * std + mean) * 255), 0, 255).astype(np.uint8)

    def views(self, data: PathLike | None = None, count: int | None = None, seed: int | None = None,
              **options: Any) -> np.ndarray:
        """The views of the first training pictures, as epoch 0 sees them: float32 (count, views, C, H, W), normalised."""
        with _Files() as files:
            self("views", data=data, count=count, seed=seed, o=files / "views.npy", **options)
            return np.load(files / "views.npy")

    def replay(self, weights: Weights, batch: Mapping[str, np.ndarray] | PathLike, **options: Any) -> dict[str, np.ndarray]:
        """One step's losses, embeddings and gradients; nothing is updated.

        `batch` has `x.1` and `x.2`, float32 (B, C, H, W), normalised, and for each pair n-to-m with n > 1 `loc.n-to-m.1` and
        `loc.n-to-m.2`, int64 (B,). Back come `loss`, `loss.n-to-m`, `penalty`, `embed.D.1`, `embed.D.2` (B, dim, D, D)
        and `grad.NAME`.
        """
        with _Files() as files:
            self("replay", weights=files.weights(weights), batch=files.batch(batch), o=files / "replay.safetensors", **options)
            return load(files / "replay.safetensors")

    def probe(self, weights: Weights | None = None, data: PathLike | None = None, *, head: str = "linear",
              **options: Any) -> dict:
        """Accuracy of a classifier on the frozen f_1: `head`, `accuracy`, `images`, `low`, `high`.

        The head is linear, mlp or knn. Without weights, `untrained=True` or `pixels=True` gives a base line.
        """
        with _Files() as files:
            return json.loads(self("probe", weights=files.weights(weights), data=data, head=head, json=True, **options))

    def bench(self, **options: Any) -> dict:
        """Speed and memory of full training steps on made-up input."""
        return json.loads(self("bench", json=True, **options))


class _Files(tempfile.TemporaryDirectory):
    """A folder for what a command reads and writes, while it does."""

    def __enter__(self) -> _Files:
        return self

    def __truediv__(self, name: str) -> Path:
        return Path(self.name) / name

    def weights(self, weights: Weights | None) -> PathLike | None:
        if isinstance(weights, Run):
            return weights.checkpoint
        if isinstance(weights, Mapping):
            save(self / "weights.safetensors", weights)
            return self / "weights.safetensors"
        return Path(weights) / "last.safetensors" if weights is not None and os.path.isdir(weights) else weights

    def batch(self, batch: Mapping[str, np.ndarray] | PathLike) -> PathLike:
        if not isinstance(batch, Mapping):
            return batch
        save(self / "batch.safetensors", {name: np.asarray(array, np.int64 if name.startswith("loc.") else np.float32)
                                          for name, array in batch.items()})
        return self / "batch.safetensors"


class _Watch:
    """Hands a run under way to who draws it, now and then."""

    def __init__(self, folder: PathLike, draw: Callable[[Run], None] | None):
        self._folder, self._draw, self._due = Path(folder), draw, time.monotonic() + SHOW_SECONDS

    def tick(self) -> None:
        if self._draw and time.monotonic() >= self._due and (self._folder / "metrics.jsonl").exists():
            self.draw()

    def draw(self) -> None:
        if self._draw:
            begun = time.monotonic()
            self._draw(Run(self._folder))
            took = time.monotonic() - begun
            self._due = begun + took + max(SHOW_SECONDS, took / SHOW_SHARE)


def _print(line: str) -> None:
    print(line, flush=True)


def _shown_inline() -> Callable[[Run], None] | None:
    """Where this is a notebook: what draws a run in its place under the cell, anew each time."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if not hasattr(shell, "kernel"):
        return None
    from IPython.display import display

    handle: list[Any] = []

    def draw(run: Run) -> None:
        if handle:
            handle[0].update(run)
        else:
            handle.append(display(run, display_id=True))

    return draw
