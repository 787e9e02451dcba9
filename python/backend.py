"""Builds the package for pip (PEP 517 and 660), so that installing it downloads no tools and leaves nothing behind here.

pyproject.toml is the only place for names and versions. Its values are strings and lists of strings, one a line, which Python
writes the same way: TOML's reader came with Python 3.11 only.
"""

import ast
import base64
import hashlib
import re
import tarfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same sources give the same wheel


def _project(key):
    """The value of a key of pyproject.toml's table [project]."""
    table = (HERE / "pyproject.toml").read_text(encoding="utf-8").split("[project]")[1]
    return ast.literal_eval(re.search(rf"^{re.escape(key)} = (.+)$", table, re.MULTILINE)[1])


def _name():
    return f"{_project('name')}-{_project('version')}"


def _metadata():
    lines = ["Metadata-Version: 2.1", f"Name: {_project('name')}", f"Version: {_project('version')}",
             f"Summary: {_project('description')}", f"Requires-Python: {_project('requires-python')}",
             f"License: {_project('license')}"]
    return "\n".join(lines + [f"Requires-Dist: {name}" for name in _project("dependencies")]) + "\n"


def _sources():
    return sorted(path for path in (HERE / "amdimc").iterdir() if path.suffix in (".py", ".typed"))


def _write_wheel(folder, files):
    """A wheel of these files (name -> bytes), with what pip wants to know of it. Returns its name."""
    info = f"{_name()}.dist-info"
    files = {**files, f"{info}/METADATA": _metadata().encode(),
             f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: amdimc\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    record = ""
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        record += f"{name},sha256={digest},{len(data)}\n"
    files[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    wheel = f"{_name()}-py3-none-any.whl"
    with zipfile.ZipFile(Path(folder) / wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return wheel


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return _write_wheel(wheel_directory, {f"amdimc/{path.name}": path.read_bytes() for path in _sources()})


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return _write_wheel(wheel_directory, {"amdimc.pth": f"{HERE}\n".encode()})


def build_sdist(sdist_directory, config_settings=None):
    name = f"{_name()}.tar.gz"
    with tarfile.open(Path(sdist_directory) / name, "w:gz") as archive:
        for path in [HERE / "pyproject.toml", HERE / "backend.py", *_sources()]:
            archive.add(path, f"{_name()}/{path.relative_to(HERE)}")
    return name
