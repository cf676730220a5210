"""All four stages of a tiny study, as make calls them: for the tests that need a finished run."""

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
# Thresholds: crossed by all rays, crossed, by some, and already exceeded at the minimum.
TINY = Study(
    name="tiny", title="Tiny", data="digits", model="digits_mlp", intervention="poison", base=48, levels=(0, 16),
    recipe=Recipe(epochs=80, lr=3e-3), thresholds=(1.0, 0.1, 300.0, 1e-7), n_directions=30, grid_directions=20,
    landscapes="nested",
)  # fmt: skip


def run(stages: Stages, root: Path, study: Study = TINY, repeats: Sequence[int] = (0, 1), **settings: str) -> Path:
    """All four stages as make calls them; the study's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "ROOT", root)
        for name, value in settings.items():
            patch.setenv(name, value)
        for name in (*STAGES, "gather"):
            script, last = (name, []) if name in STAGES else (STAGES[-1], ["--gather"])
            arguments = [study.name, "--scale", "paper", "--repeats", *map(str, repeats), *last]
            patch.setattr(sys, "argv", [f"{script}.py", *arguments])
            cli.main({study.name: study}, stages[script])
    return root / "paper" / study.name


def rows(folder: Path, name: str = "volumes.csv") -> list[dict[str, str]]:
    """A table of a run, cell by cell."""
    with (folder / name).open(newline="") as stream:
        return list(csv.DictReader(stream))
