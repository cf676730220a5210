"""A copy of the repository's sources in a folder of its own, where the real commands may be tortured."""

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
from tests.project import ROOT, copy_sources, sources

# Settings of the calling shell and of a make that may have started this.
FOREIGN = (
    "SCALE", "DATA_DIR", "REPEATS", "DIRECTIONS", "LEVELS", "THREADS", "MEMORY", "DEVICE", "PYTHON", "RESULTS_DIR",
    "FIGS_DIR", "DEBUG", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "GNUMAKEFLAGS",
)  # fmt: skip
CONFIGS = {
    "digits_poison": "MNIST",
    "digits_data": "MNIST",
    "swiss_data_x5": "swiss_roll",
    "modulo_data": "modulo_arithmetic",
}
PATIENCE = 900  # seconds after which a command is taken to hang


@dataclass(frozen=True)
class Row:
    """One line of the table: what was done, how often, and how often something was lost or let in."""

    theme: str
    what: str
    times: int
    lost: int
    note: str = ""


@dataclass(frozen=True)
class Done:
    """A finished command: its exit code and everything that it printed."""

    code: int
    text: str

    @property
    def traceback(self) -> bool:
        """Whether it showed one."""
        return "Traceback (most recent call last)" in self.text

    def refused(self, *parts: str) -> bool:
        """Whether it failed with sentences that hold all these parts, and no traceback."""
        return self.code != 0 and not self.traceback and all(part in self.text for part in parts)


class House:
    """The copy, its commands, and a look at its results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        copy_sources(folder)
        # A script instead of a link: this environment is used and never set up anew for the copy.
        python = folder / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        (folder / ".venv" / ".ready").touch()

    def start(
        self, *arguments: str, prepare: Callable[[], object] | None = None, **settings: str
    ) -> subprocess.Popen[str]:
        """`make` at quick scale as the leader of a process group of its own, standard error with its output."""
        clean = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        environment = clean | {"PYTHONPATH": str(self.folder), "SCALE": "quick", "PYTHONUNBUFFERED": "1"} | settings
        return subprocess.Popen(
            ["make", *arguments], cwd=self.folder, env=environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=prepare,
        )  # fmt: skip

    def make(self, *arguments: str, prepare: Callable[[], object] | None = None, **settings: str) -> Done:
        """Run `make` at quick scale to its end."""
        return finished(self.start(*arguments, prepare=prepare, **settings))

    def study(self, name: str) -> Path:
        """The results folder of a study."""
        return self.folder / "results" / "quick" / name

    def table(self, name: str) -> bytes:
        """A study's volumes and cutoffs, empty where they are not there."""
        paths = [self.study(name) / table for table in ("volumes.csv", "cutoffs.csv")]
        return b"".join(path.read_bytes() for path in paths if path.exists())

    def row(self, name: str, **fields: str) -> None:
        """Change fields of a study's row at quick scale, given as Python text; appended to its config.py."""
        changes = ", ".join(f"{key!r}: {value}" for key, value in fields.items())
        text = (
            "\n\nfrom dataclasses import replace\nfrom minima_volume.training.recipe import Recipe\n"
            f"STUDIES[{name!r}] = replace(STUDIES[{name!r}], quick={{**STUDIES[{name!r}].quick, {changes}}})\n"
        )
        with (self.folder / CONFIGS[name] / "config.py").open("a") as config:
            config.write(text)

    def touch(self) -> None:
        """Give every source a new time of change, as a git checkout does."""
        for path in sources():
            (self.folder / path.relative_to(ROOT)).touch()

    def stored(self, name: str) -> dict[str, int]:
        """Time of change of every minimum and every block of rays of a study."""
        paths = [path for path in self.study(name).rglob("*") if path.suffix in (".safetensors", ".npz")]
        return {str(path.relative_to(self.study(name))): path.stat().st_mtime_ns for path in paths}

    def torn(self, name: str) -> list[str]:
        """Files of a study under their final names that are not whole."""
        return [str(path) for path in self.study(name).rglob("[!.]*") if path.is_file() and not whole(path)]


def finished(process: subprocess.Popen[str]) -> Done:
    """Wait for a command and take what it printed; one that hangs is killed and counts as failed."""
    try:
        text, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        text, _ = process.communicate()
    return Done(process.returncode, text)


def whole(path: Path) -> bool:
    """Whether a results file can be read to its end with its checksum."""
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


def copied(finished_house: House, folder: Path) -> House:
    """A copy of a house with its results, times of change included."""
    copy = House(folder)
    shutil.copytree(finished_house.folder / "results", copy.folder / "results")
    shutil.copytree(finished_house.folder / "figs" / "quick", copy.folder / "figs" / "quick")
    return copy
