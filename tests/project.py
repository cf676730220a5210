"""Where the repository lies, the names of the four stages, and copies of the sources."""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("train_models", "random_perturbs", "volume_cutoff", "volume_estimation")
# Everything that make and its commands read.
SOURCES = (
    "Makefile", "pyproject.toml", "constraints.txt", "README.md", "*/studies.mk", "*/*.py", "minima_volume/*/*.py",
    "tests/faults/*.py", "figs/*.csv", "docs/*.md",
)  # fmt: skip


def sources() -> list[Path]:
    """Files of the repository that SOURCES names."""
    return sorted({path for pattern in SOURCES for path in ROOT.glob(pattern)})


def copy_sources(folder: Path) -> Path:
    """Copy the sources, times of change included, into a folder; the folder."""
    for path in sources():
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    return folder
