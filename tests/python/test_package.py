"""The package as pip installs it, and the page about it."""

import ast
import os
import re
import subprocess
import sys
import unittest
from pathlib import Path
from unittest import mock

import numpy as np

import amdimc
from workshop import COMPILER, ROOT, place, printed

PROJECT = (ROOT / "python/pyproject.toml").read_text()


def output(*words, **settings):
    """What a command prints; the test fails with all it said where it does."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, **settings)
    if done.returncode:
        raise AssertionError(f"{words}: {done.stdout}{done.stderr}")
    return done.stdout


class Package(unittest.TestCase):
    def test_its_version_is_the_compiler_s(self):
        self.assertIn(f'\nversion = "{output(COMPILER, "--version").split()[1]}"\n', PROJECT)

    def test_it_depends_on_numpy_alone(self):
        self.assertIn('\ndependencies = ["numpy"]\n', PROJECT)
        if sys.version_info < (3, 10):
            self.skipTest("this Python does not list its own modules")
        imported = set()
        for path in (ROOT / "python/amdimc").glob("*.py"):
            for node in ast.parse(path.read_text()).body:  # inside functions are those that are asked for
                if isinstance(node, ast.Import):
                    imported.update(name.name.split(".")[0] for name in node.names)
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    imported.add(node.module.split(".")[0])
        self.assertEqual(imported - set(sys.stdlib_module_names), {"numpy"})

    def test_installed_by_pip(self):
        """Into an environment of its own, with this Python's numpy and no index of packages to ask."""
        try:
            import ensurepip  # noqa: F401
            import venv  # noqa: F401
        except ImportError:
            self.skipTest("this Python has no venv with pip; the package python3-venv brings it")
        python = place / "venv/bin/python"
        output(sys.executable, "-m", "venv", place / "venv")
        installed = Path(np.__file__).parents[1]
        for path in [*installed.glob("numpy"), *installed.glob("numpy[-.]*")]:
            (next(place.glob("venv/lib/python*/site-packages")) / path.name).symlink_to(path)
        before = sorted(path for path in (ROOT / "python").rglob("*") if "__pycache__" not in path.parts)
        environment = {**os.environ, "PYTHONPATH": "", "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1",
                       "AMDIMC": str(COMPILER)}
        output(python, "-m", "pip", "install", ROOT / "python", env=environment, cwd=place)
        here = output(python, "-c", "import amdimc; print(amdimc.__file__, amdimc.find_compiler())", env=environment, cwd=place)
        self.assertEqual(here.split()[0].split("/lib/")[0], str(place / "venv"))
        self.assertEqual(here.split()[1], str(COMPILER))
        shown = output(python, "-m", "pip", "show", "-f", "amdimc", env=environment)
        self.assertIn("Requires: numpy\n", shown)
        self.assertIn("amdimc/py.typed", shown)
        self.assertEqual(sorted(path for path in (ROOT / "python").rglob("*") if "__pycache__" not in path.parts), before)
        output(python, "-m", "pip", "install", "-e", ROOT / "python", env=environment, cwd=place)
        here = output(python, "-c", "import amdimc; print(amdimc.__file__)", env=environment, cwd=place)
        self.assertEqual(here.strip(), str(ROOT / "python/amdimc/__init__.py"))


class Page(unittest.TestCase):
    PAGE = (ROOT / "docs/python.md").read_text()

    def test_its_example_runs(self):
        example = re.search("```python\n(.*?)```", self.PAGE, re.DOTALL)[1]
        self.assertLessEqual(len(example.splitlines()), 12)
        folder = place / "example"
        folder.mkdir()
        (folder / "specs").symlink_to(ROOT / "specs")
        before, names = os.getcwd(), {}
        try:
            os.chdir(folder)
            with mock.patch.dict(os.environ, AMDIMC=str(COMPILER)), printed() as text:
                exec(example, names)
        finally:
            os.chdir(before)
        self.assertIsInstance(names["run"], amdimc.Run)
        self.assertIn("accuracy", text.getvalue())

    def test_it_names_all_that_there_is(self):
        for name in amdimc.__all__:
            self.assertIn(name, self.PAGE)
        methods = [name for name in vars(amdimc.Program) if not name.startswith("_")]
        for name in methods:
            self.assertIn(name, self.PAGE)
