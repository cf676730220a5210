"""A set-up of the environment from made-up packages on this disk, killed as one of them appears."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import uv

from tests.faults.sandbox import FOREIGN, Done, Row, wait_for
from tests.project import ROOT

PARTS = tuple(f"part{i}" for i in range(17))
DOCS = "writer"  # the package that only `make docs` needs
FILES = 40  # in each package, so that an installer takes a while
# Where a set-up is killed: as one of these appears.
MOMENTS = ("venv", "uv", *PARTS, "minima_volume")
TOGETHER = 4  # kills of one set-up before it may end
PYPROJECT = """[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "minima_volume"
version = "1"
[project.optional-dependencies]
"""
# Builds the wheel of an editable installation without any other package.
BACKEND = """
import zipfile
from pathlib import Path
def build_editable(folder, settings=None, metadata=None):
    name, info = "minima_volume-1-py3-none-any.whl", "minima_volume-1.dist-info"
    needs = "".join(f"Requires-Dist: {part}; extra == '{extra}'\\n" for extra, part in NEEDS)
    files = {
        "own.pth": f"{Path.cwd()}\\n", f"{info}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\\nName: minima_volume\\nVersion: 1\\nProvides-Extra: all\\n"
        f"Provides-Extra: dev\\nProvides-Extra: docs\\n{needs}",
    }
    files[f"{info}/RECORD"] = "".join(f"{each},,\\n" for each in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(Path(folder) / name, "w") as wheel:
        for each, text in files.items():
            wheel.writestr(each, text)
    return name
"""


def write_wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> None:
    """Write a wheel of text files."""
    info = f"{name}-{version}.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{each},,\n" for each in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for each, text in files.items():
            wheel.writestr(each, text)


class Project:
    """A folder with the real Makefile, whose requirements are made-up packages."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.wheels = folder, folder / "wheels"
        if self.wheels.exists():
            return
        self.wheels.mkdir(parents=True)
        program = f"import os, sys\nos.execv({uv.find_uv_bin()!r}, ['uv', *sys.argv[1:]])\n"
        write_wheel(self.wheels, "uv", "1", {"uv/__init__.py": "", "uv/__main__.py": program})
        for part in (*PARTS, DOCS):
            own = {f"{part}/module_{i}.py": f"VALUE = {i}\n" * 50 for i in range(FILES)}
            imports = "".join(f"from {part} import module_{i}\n" for i in range(FILES))
            write_wheel(self.wheels, part, "1", {f"{part}/__init__.py": imports, **own})
        shutil.copy2(ROOT / "Makefile", folder)
        for name in ("pipeline/environment.py", "storage/scratch.py"):
            copy = folder / "minima_volume" / name
            copy.parent.mkdir(parents=True)
            shutil.copy2(ROOT / "minima_volume" / name, copy)
        (folder / "minima_volume" / "__init__.py").touch()
        needs = [("dev" if i % 2 else "all", part) for i, part in enumerate(PARTS)] + [("docs", DOCS)]
        extras = [f"{name} = {[part for extra, part in needs if extra == name]}\n" for name in ("all", "dev", "docs")]
        (folder / "pyproject.toml").write_text(PYPROJECT + "".join(extras))
        (folder / "backend.py").write_text(f"NEEDS = {needs!r}\n{BACKEND}")
        (folder / "constraints.txt").write_text("".join(self.pin(name) for name in ("uv", *PARTS, DOCS)))

    def pin(self, name: str, version: str = "1") -> str:
        """Return the constraint of a package with the checksum of its wheel."""
        wheel = self.wheels / f"{name}-{version}-py3-none-any.whl"
        return f"{name}=={version} \\\n    --hash=sha256:{sha256(wheel.read_bytes()).hexdigest()}\n"

    def start(self, target: str = ".venv/.ready") -> subprocess.Popen[str]:
        """Start the set-up as the leader of a process group."""
        clean = {
            name: value for name, value in os.environ.items() if name not in (*FOREIGN, "PYTHONPATH", "VIRTUAL_ENV")
        }
        offline = {"PIP_NO_INDEX": "1", "UV_NO_INDEX": "1", "UV_LINK_MODE": "copy", "UV_OFFLINE": "1"}
        places = {"PIP_FIND_LINKS": str(self.wheels), "UV_FIND_LINKS": str(self.wheels)}
        own = {"UV_CACHE_DIR": str(self.folder / "cache"), "PYTHON": sys.executable}
        return subprocess.Popen(
            ["make", target], cwd=self.folder, env=clean | offline | places | own, text=True,
            start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def make(self, target: str = ".venv/.ready") -> Done:
        """Run the set-up to its end."""
        return wait_for(self.start(target))

    def works(self) -> bool:
        """Whether every package imports, and its own package is the one of this folder."""
        names = ", ".join(f"{part}.module_{FILES - 1}" for part in PARTS)
        code = f"import {names}, minima_volume; print(minima_volume.__file__)"
        python = self.folder / ".venv" / "bin" / "python"
        done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, cwd="/")
        return done.returncode == 0 and Path(done.stdout.strip()).is_relative_to(self.folder.resolve())

    def ready(self) -> bool:
        """Return whether make would take the environment as it is."""
        return (self.folder / ".venv" / ".ready").exists()

    def left(self) -> list[str]:
        """Return the scratch folders that are there."""
        return [path.name for path in self.folder.glob(".venv.*")]

    def kill_at(self, moment: str, number: signal.Signals = signal.SIGKILL) -> bool:
        """Start the set-up and kill its group as something appears; return whether it was running then."""
        process = self.start()
        while process.poll() is None:
            if self._there(moment):
                os.killpg(process.pid, number)
                wait_for(process)
                return True
            time.sleep(0.0005)
        wait_for(process)
        return False

    def _there(self, moment: str) -> bool:
        """Whether something has appeared in an environment that is not ready."""
        places = [place for place in self.folder.glob(".venv*") if not (place / ".ready").exists()]
        if moment == "venv":
            return any((place / "pyvenv.cfg").exists() for place in places)
        lib = Path("lib") / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        return any((place / lib / f"{moment}-1.dist-info").exists() for place in places)


def killed(moments: Sequence[str], folder: Path) -> list[Row]:
    """Kill a set-up at some moments, and the same command again at the next; then it makes an environment that works."""

    def some(group: Sequence[str]) -> tuple[int, list[str]]:
        project, hits, wrong = Project(folder / f"environment_{group[0]}"), 0, []
        for moment in group:
            hits += project.kill_at(moment)
            if project.ready():
                wrong.append(f"{moment}: counts as finished")
        done = project.make()
        if not (done.code == 0 and project.works() and not project.left()):
            wrong.append(f"{', '.join(group)}: {re.sub(chr(10), ' ', done.text[-200:])}")
        shutil.rmtree(project.folder)
        return hits, wrong

    found = [some(moments[start : start + TOGETHER]) for start in range(0, len(moments), TOGETHER)]
    lost = [said for _, wrong in found for said in wrong]
    hits = sum(hit for hit, _ in found)
    return [Row("set-up", "kill -9 as a package appears; the same command", hits, len(lost), "; ".join(lost))]


def of_another_folder(folder: Path) -> Row:
    """Copy and move a folder with its environment: its own package runs, and the environment is made for it."""
    first = Project(folder / "first")
    lost = first.make().code != 0
    copy, moved = folder / "copy", folder / "moved"
    shutil.copytree(first.folder, copy, symlinks=True)
    first.folder.rename(moved)
    for place in (copy, moved):
        project = Project(place)
        done = project.make()
        lost += not (done.code == 0 and project.works() and f"was made for the folder {first.folder}" in done.text)
        again = project.make()
        lost += again.code != 0 or "Setting up" in again.text
    # More packages are installed in place: the environment is ready again, or none.
    documented = project.make(".venv/.docs")
    lost += documented.code != 0 or not project.works() or "Setting up" in project.make().text
    return Row("set-up", "a copied and a moved folder: its own package, and one sentence", 2, int(lost))


def changed(folder: Path) -> Row:
    """Change the requirements under an older time, and break a package; a failed set-up keeps what was there."""
    project, lost = Project(folder / "changed"), 0
    lost += project.make().code != 0
    constraints = project.folder / "constraints.txt"
    before, when = constraints.read_text(), constraints.stat().st_mtime
    constraints.write_text(f"# A comment.\n{before}")
    os.utime(constraints, (when - 1e6, when - 1e6))
    done = project.make()
    lost += done.code != 0 or "constraints.txt changed" not in done.text or not project.works()
    constraints.write_text(before.replace("part0==1", "part0==2"))
    refused = project.make()
    lost += not refused.refused("error: Expected to set up .venv") or not project.works() or bool(project.left())
    broken = {"part1/__init__.py": "raise ValueError('broken')\n"}
    write_wheel(project.wheels, "part1", "2", broken)
    constraints.write_text(before.replace(project.pin("part1"), project.pin("part1", "2")))
    refused = project.make()
    lost += not refused.refused("error: Expected a working .venv", "part1", "broken") or not project.works()
    constraints.write_text(f"# A comment.\n{before}")
    done = project.make()
    lost += done.code != 0 or "Setting up" in done.text
    return Row(
        "set-up", "other requirements under an older time, one that is not there, one that does not import", 3, lost
    )


def other_files(folder: Path) -> Row:
    """Put another file under the name and version of a package, and of the installer: no set-up installs it."""
    lost = []
    for name in ("part2", "uv"):
        project = Project(folder / f"other_{name}")
        genuine = (project.wheels / f"{name}-1-py3-none-any.whl").read_bytes()
        write_wheel(project.wheels, name, "1", {f"{name}/__init__.py": "VALUE = 'another'\n"})
        refused = project.make().refused("error: Expected to set up .venv", name)
        left = (project.folder / ".venv").exists() or project.left()
        (project.wheels / f"{name}-1-py3-none-any.whl").write_bytes(genuine)
        if not refused or left or project.make().code or not project.works():
            lost.append(name)
    return Row(
        "set-up", "another file under a package's name and version: not installed", 2, len(lost), "; ".join(lost)
    )


def linked(folder: Path) -> Row:
    """Lead `.venv` to the environment of another folder, to one of other requirements, to none, and to an empty folder."""
    first, second = Project(folder / "linked_first"), Project(folder / "linked_second")
    lost, link = int(first.make().code != 0), second.folder / ".venv"
    link.symlink_to(first.folder / ".venv")
    lost += second.make().code != 0
    (second.folder / "constraints.txt").write_text("uv==1\n")
    lost += not second.make().refused("error: Expected .venv, a link to", "got an environment with others")
    link.unlink()
    link.symlink_to(folder / "nowhere")
    lost += not second.make().refused("error: Expected .venv, a link to", "none that is finished")
    lost += first.make().code != 0 or not first.works()
    return Row("set-up", ".venv as a link: used if it fits, else refused", 3, lost)
