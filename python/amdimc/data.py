"""Arrays of pictures as a data set that programs read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .show import png
from .tensors import PathLike


def save_pictures(folder: PathLike, train: tuple[np.ndarray, np.ndarray],
                  test: tuple[np.ndarray, np.ndarray] | None = None) -> Path:
    """Writes (pictures, labels), uint8 (N, H, W) or (N, H, W, C) and int (N,), to train/LABEL/NUMBER.png and test/...

    Returns the folder, which is `data` for all commands. They take pictures in the order of labels, then of numbers, that of
    `np.argsort(labels, kind="stable")`, and number the labels that there are from 0.
    """
    folder = Path(folder)
    for name, split in (("train", train), ("test", test)):
        if split is None:
            continue
        pictures, labels = split[0], np.asarray(split[1])
        if len(pictures) != len(labels) or labels.ndim != 1 or labels.dtype.kind not in "iu" or (labels < 0).any():
            raise ValueError(f"{name}: {len(pictures)} pictures need as many labels, whole numbers from 0 on")
        (folder / name).mkdir(parents=True)  # never among others' pictures
        digits = len(str(labels.max(initial=0)))  # of one length, as names are sorted by their letters
        for label in np.unique(labels):
            (folder / name / f"{label:0{digits}d}").mkdir()
        for number, (picture, label) in enumerate(zip(pictures, labels)):
            (folder / name / f"{label:0{digits}d}" / f"{number:08d}.png").write_bytes(png(picture))
    return folder
