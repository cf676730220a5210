"""A copy of the repository's sources in a folder of its own, where faults are injected into the real commands."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minima_volume.errors import ResultsError
from minima_volume.storage import archives
from tests.project import ROOT, copy_sources, mark_ready, sources

# Settings of the calling shell, and of a make that may have started the tests.
FOREIGN = (
    "SCALE", "DATA_DIR", "REPEATS", "DIRECTIONS", "LEVELS", "THREADS", "MEMORY", "DEVICE", "PYTHON",
    "DEBUG", "CLUSTER", "JOBS", "SLURM", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "GNUMAKEFLAGS",
)  # fmt: skip
CONFIGS = {
    "digits_poison": "MNIST",
    "digits_data": "MNIST",
    "swiss_data_x5": "swiss_roll",
    "modulo_data": "modulo_arithmetic",
}
TIMEOUT = 900  # seconds after which a command counts as hanging


Tables = dict[str, bytes]


@dataclass(frozen=True)
class Row:
    """One row of the report.

    Attributes:
        theme: The kind of fault.
        what: What was done.
        times: How often it was done.
        lost: How often it went wrong: something was lost, or a fault was not refused.
        note: What was observed.
    """

    theme: str
    what: str
    times: int
    lost: int
    note: str = ""


@dataclass(frozen=True)
class Done:
    """The exit code and the output of a finished command."""

    code: int
    text: str

    @property
    def traceback(self) -> bool:
        """Whether the output holds a traceback."""
        return "Traceback (most recent call last)" in self.text

    def refused(self, *parts: str) -> bool:
        """Whether it failed without a traceback, and its output holds all parts."""
        return self.code != 0 and not self.traceback and all(part in self.text for part in parts)


class Sandbox:
    """A copy of the sources, the commands in it, and their results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        copy_sources(folder)
        # A script that calls this environment's Python, so that make finds .venv ready and installs nothing.
        python = folder / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        # It installs nothing, because what it would change is the environment that runs the tests.
        refusal = 'case "$1 $2" in "-m uv"|"-m pip"|"-m venv") echo "a sandbox installs nothing" >&2; exit 9;; esac'
        python.write_text(f'#!/bin/sh\n{refusal}\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        self.set_up()

    def set_up(self) -> None:
        """Let make take the environment for the one of this folder."""
        mark_ready(self.folder)

    def start(
        self, *arguments: str, prepare: Callable[[], object] | None = None, **settings: str
    ) -> subprocess.Popen[str]:
        """Start `make` at quick scale as the leader of a process group, with its errors in its output."""
        clean = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        own = {"PYTHON": str(self.folder / ".venv" / "bin" / "python"), "SCALE": "quick", "PYTHONUNBUFFERED": "1"}
        environment = clean | own | settings
        return subprocess.Popen(
            ["make", *arguments], cwd=self.folder, env=environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=prepare,
        )  # fmt: skip

    def make(self, *arguments: str, prepare: Callable[[], object] | None = None, **settings: str) -> Done:
        """Run `make` at quick scale and wait for it."""
        return wait_for(self.start(*arguments, prepare=prepare, **settings))

    def study(self, name: str) -> Path:
        """Return the results folder of a study."""
        return self.folder / "results" / "quick" / name

    def tables(self, name: str) -> Tables:
        """Return the tables of a study that exist, by file name."""
        paths = [self.study(name) / table for table in ("volumes.csv", "cutoffs.csv")]
        return {path.name: path.read_bytes() for path in paths if path.exists()}

    def row(self, name: str, **fields: str) -> None:
        """Change fields of a study at quick scale, given as Python source, by appending to its config.py."""
        changes = ", ".join(f"{key!r}: {value}" for key, value in fields.items())
        text = (
            "\n\nfrom dataclasses import replace\nfrom minima_volume.training.recipe import Recipe\n"
            f"STUDIES[{name!r}] = replace(STUDIES[{name!r}], quick={{**STUDIES[{name!r}].quick, {changes}}})\n"
        )
        with (self.folder / CONFIGS[name] / "config.py").open("a") as config:
            config.write(text)

    def touch(self) -> None:
        """Give every source a new file time, as a git checkout does."""
        for path in sources():
            (self.folder / path.relative_to(ROOT)).touch()
        self.set_up()

    def stored(self, name: str) -> dict[str, int]:
        """Return the file time of every minimum and every block of rays of a study."""
        paths = [path for path in self.study(name).rglob("*") if path.suffix in (".safetensors", ".npz")]
        return {str(path.relative_to(self.study(name))): path.stat().st_mtime_ns for path in paths}

    def damaged(self, name: str) -> list[str]:
        """Return the files of a study that cannot be read to their end."""
        return [str(path) for path in self.study(name).rglob("[!.]*") if path.is_file() and not is_intact(path)]


def wait_for(process: subprocess.Popen[str]) -> Done:
    """Wait for a command; kill it if it hangs, so that it counts as failed."""
    try:
        text, _ = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        text, _ = process.communicate()
    return Done(process.returncode, text)


def is_intact(path: Path) -> bool:
    """Whether a results file can be read to its end and has its checksum."""
    try:
        if path.suffix == ".npz":
            archives.read_arrays(path)
        elif path.suffix == ".safetensors":
            archives.read_tensors(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".csv":
            return path.read_text().endswith("\n")
    except (ResultsError, ValueError):
        return False
    return True


def copy_finished(sandbox: Sandbox, folder: Path) -> Sandbox:
    """Copy a sandbox with its results and their file times."""
    copy = Sandbox(folder)
    shutil.copytree(sandbox.folder / "results", copy.folder / "results")
    shutil.copytree(sandbox.folder / "figs" / "quick", copy.folder / "figs" / "quick")
    return copy
