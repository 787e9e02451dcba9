"""Commands that are run from a notebook: found, told options, watched while they work, interrupted, and taken at their word."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Callable

from .tensors import PathLike

COMPILER = "AMDIMC"  # the environment variable that names amdimc
TICK = 0.5  # seconds between two looks at what goes on


class Error(RuntimeError):
    """A command failed. The text is what it said; `status` its exit status, see docs/program.md; `output` what it had
    printed on standard output, as `check` its list."""

    def __init__(self, text: str, status: int, output: str = ""):
        super().__init__(text)
        self.status = status
        self.output = output


def find_compiler(compiler: PathLike | None = None) -> str:
    """amdimc's path: the one given, else $AMDIMC, else the one on PATH."""
    for named, how in ((compiler, "compiler="), (os.environ.get(COMPILER), f"${COMPILER} is ")):
        if named:
            found = shutil.which(named)
            if not found:
                raise FileNotFoundError(f"{how}{os.fspath(named)}: no such program; `make` builds it as build/amdimc")
            return os.path.abspath(found)
    found = shutil.which("amdimc")
    if not found:
        raise FileNotFoundError("amdimc is not on PATH; build it with `make`, then `make install`, or name it: "
                                f"compiler=\"path/to/amdimc\", or {COMPILER} in the environment")
    return os.path.abspath(found)


def arguments(options: dict[str, Any]) -> list[str]:
    """checkpoint_every=10 -> --checkpoint-every 10. True is an option without a value, False and None are none; the items of a
    list are given one by one."""
    words = []
    for name, value in options.items():
        option = "-o" if name == "o" else "--" + name.replace("_", "-")
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if item is True:
                words.append(option)
            elif item is not None and item is not False:
                words += [option, os.fspath(item) if isinstance(item, os.PathLike) else str(item)]
    return words


def run(words: list[str], say: Callable[[str], None] | None = None, tick: Callable[[], None] | None = None) -> str:
    """Runs a command and returns what it prints on standard output; raises Error with its message where it fails.

    Each line of its standard error goes to `say` as it comes, but for the message that Error has; `tick` is called twice
    a second. KeyboardInterrupt is handed on as SIGINT, upon which `train` saves; when that has ended it is raised again,
    with what the command said in the end.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE)
        assert process.stderr
        said, interrupted = _Lines(say), False
        while True:
            try:
                if not said.take(process.stderr.fileno()):
                    process.wait()
                    break
                if tick and not interrupted:
                    tick()
            except KeyboardInterrupt:
                # A terminal has sent it to the whole group of processes; a second one within a second does no harm.
                process.send_signal(signal.SIGINT)
                interrupted = True
            except BaseException:
                process.terminate()
                process.wait()
                raise
        process.stderr.close()
        if interrupted:
            raise KeyboardInterrupt(_reason(process.returncode, said.lines, words))
        output.seek(0)
        printed = output.read()
        if process.returncode != 0:
            raise Error(_reason(process.returncode, said.lines, words), process.returncode, printed)
        return printed


class _Lines:
    """Lines of a pipe as they come."""

    def __init__(self, say: Callable[[str], None] | None):
        self.lines: list[str] = []
        self.failed = False  # an error was said, and what follows belongs to it
        self._say, self._rest = say, b""

    def take(self, descriptor: int) -> bool:
        """Waits a moment for more; False at the end."""
        if not select.select([descriptor], [], [], TICK)[0]:
            return True
        data = os.read(descriptor, 1 << 16)
        *whole, self._rest = (self._rest + (data or b"\n")).split(b"\n")
        for line in filter(None, (line.decode(errors="replace").rstrip() for line in whole)):
            self.failed |= "error: " in line
            self.lines.append(line)
            if self._say and not self.failed:
                self._say(line)
        return bool(data)


def _reason(status: int, lines: list[str], words: list[str]) -> str:
    """Of what was said, that from the first error on; notes and progress come before."""
    name = Path(words[0]).name
    if status < 0:
        return f"{name} was ended by {signal.Signals(-status).name}"
    first = next((i for i, line in enumerate(lines) if "error: " in line), max(len(lines) - 1, 0))
    return "\n".join(lines[first:]) or f"{name} ended with status {status}"
