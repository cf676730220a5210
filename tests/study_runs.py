"""Run all four stages of a tiny study as make does, for tests that need a finished run."""

import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from minima_volume.pipeline import cli
from minima_volume.pipeline.study import Study
from minima_volume.storage import layout
from minima_volume.training.recipe import Recipe
from tests.project import STAGES

Stages = dict[str, Callable[..., None]]
# All rays cross the first two thresholds, some the third, and the minima already exceed the fourth.
TINY = Study(
    name="tiny", title="Tiny", data="digits", model="digits_mlp", intervention="poison", base=48, levels=(0, 16),
    recipe=Recipe(epochs=80, lr=3e-3), thresholds=(1.0, 0.1, 300.0, 1e-7), n_directions=30, grid_directions=20,
    landscapes="nested",
)  # fmt: skip


def run(stages: Stages, root: Path, study: Study = TINY, repeats: Sequence[int] = (0, 1), **settings: str) -> Path:
    """Run all four stages as make does, with settings in the environment; return the study's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "ROOT", root)
        patch.setattr(sys, "excepthook", sys.excepthook)
        for name, value in settings.items():
            patch.setenv(name, value)
        for name in (*STAGES, "gather"):
            script, last = (name, []) if name in STAGES else (STAGES[-1], ["--gather"])
            run_stage(stages[script], root, study, repeats, last)
    return root / "paper" / study.name


def run_stage(
    work: Callable[..., None], root: Path, study: Study, repeats: Sequence[int], options: Sequence[str] = ()
) -> None:
    """Run one stage as its script does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "ROOT", root)
        patch.setattr(sys, "excepthook", sys.excepthook)
        arguments = [study.name, "--scale", "paper", "--repeats", *map(str, repeats), *options]
        patch.setattr(sys, "argv", [f"{work.__name__}.py", *arguments])
        cli.main({study.name: study}, work)


def rows(folder: Path, name: str = "volumes.csv") -> list[dict[str, str]]:
    """Read a table of a run as text."""
    with (folder / name).open(newline="") as stream:
        return list(csv.DictReader(stream))
