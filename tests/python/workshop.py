"""What the tests share: the compiler under test, a folder for what they write, and one small run that most of them read."""

import contextlib
import io
import os
import tempfile
from functools import lru_cache
from pathlib import Path

import amdimc

ROOT = Path(__file__).resolve().parents[2]
COMPILER = Path(os.environ.get("BUILD") or "build", "amdimc").resolve()
STEPS, SEED = 40, 3
folder = tempfile.TemporaryDirectory()  # removed when Python ends
place = Path(folder.name)


@lru_cache(None)
def quick_compiler():
    """clang at -O1: what numbers a program makes, other tests hold at -O3."""
    path = place / "cc"
    path.write_text('#!/bin/sh\nexec "${AMDIMC_CC:-clang}" "$@" -O1\n')
    path.chmod(0o755)
    return path


def compile_quickly(spec, name, **options):
    return amdimc.compile(spec, place / name, compiler=COMPILER, cc=quick_compiler(), gen_dir=place / f"{name}.c", quiet=True,
                          **options)


@lru_cache(None)
def tiny():
    """The program of specs/tiny.yaml."""
    return compile_quickly(ROOT / "specs/tiny.yaml", "tiny")


@lru_cache(None)
def trained():
    """A run of it."""
    return tiny().train(place / "run", steps=STEPS, seed=SEED, quiet=True)


@contextlib.contextmanager
def printed():
    """What is printed meanwhile."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        yield text
