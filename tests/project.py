"""The path of the repository, the names of the stages, and copies of the sources."""

import runpy
import shutil
import sys
from pathlib import Path

from minima_volume.pipeline import environment
from minima_volume.pipeline.study import Study

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("train_models", "random_perturbs", "volume_cutoff", "volume_estimation")
# Scripts of an experiment that no make target of a study needs.
OPTIONAL = ("local_volumes",)
# All files that make and its commands read.
SOURCES = (
    "Makefile", ".gitignore", "pyproject.toml", "constraints.txt", "README.md", "*/studies.mk", "*/*.py",
    "minima_volume/*/*.py", "tests/faults/*.py", "figs/*.csv", "docs/*.md",
)  # fmt: skip


def sources() -> list[Path]:
    """Return the files of the repository that match SOURCES."""
    return sorted({path for pattern in SOURCES for path in ROOT.glob(pattern)})


def copy_sources(folder: Path) -> Path:
    """Copy the sources with their file times into a folder; return the folder."""
    for path in sources():
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    return folder


def mark_ready(folder: Path) -> None:
    """Let make take the environment of a copy for the one of its folder and its requirements."""
    (folder / environment.FOLDER / environment.READY).write_bytes(environment.record(folder))


def linked_project(folder: Path) -> Path:
    """Copy the repository without results into a folder, with links to this environment; return the folder."""
    copy_sources(folder)
    (folder / ".venv").mkdir()
    for path in Path(sys.prefix).iterdir():
        if not path.name.startswith(".ready"):
            (folder / ".venv" / path.name).symlink_to(path)
    mark_ready(folder)
    return folder


def row_of(folder: Path) -> Study:
    """Return the only study of a new folder."""
    (study,) = runpy.run_path(str(folder / "config.py"))["STUDIES"].values()
    return study
