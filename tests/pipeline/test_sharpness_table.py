"""The table of sharpness measures of a study: its rows, its record, and what a second run does."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minima_volume.pipeline import sharpness_table as stage
from minima_volume.storage import layout
from tests import study_runs
from tests.study_runs import rows

STUDY = replace(study_runs.TINY, thresholds=(0.5,))


@pytest.fixture(scope="module")
def root(stages: study_runs.Stages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    study_runs.run(stages, root, STUDY, repeats=[0, 1])
    study_runs.run_stage(stage.sharpness, root, STUDY, [0, 1])
    return root


@pytest.fixture
def folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(layout, "ROOT", root)
    return next(root.glob("*/*/sharpness.csv")).parent


def test_every_minimum_has_every_measure(folder: Path) -> None:
    table = rows(folder, "sharpness.csv")
    minima = {(row["repeat"], row["level"]) for row in table}
    assert minima == {(repeat, str(level)) for repeat in "01" for level in STUDY.levels}
    measures = {(row["measure"], row["coordinates"]) for row in table}
    assert len(measures) == 3 * 5 + 3 and len(table) == len(minima) * len(measures)
    assert all(np.isfinite(float(row["value"])) for row in table)
    assert {row["n_samples"] for row in table} == {str(STUDY.n_train(level)) for level in STUDY.levels}
    # The Hessian in filter norms is not that in raw parameters. The trace bounds the largest eigenvalue of JᵀHJ; 32 random
    # vectors know it to √(2/32) of itself, whatever the spectrum.
    value = {(row["measure"], row["coordinates"]): float(row["value"]) for row in table[: len(measures)]}
    assert value["hessian_max", "raw"] != value["hessian_max", "filter"]
    assert all(value["gauss_newton_max", c] <= 1.5 * value["gauss_newton_trace", c] for c in stage.COORDINATES)


def test_a_second_run_reads_what_is_stored_and_writes_the_same_bytes(folder: Path, root: Path) -> None:
    before = (folder / "sharpness.csv").read_bytes()
    stored = sorted(folder.glob("repeat_*/sharpness/level_*.json"))
    times = [path.stat().st_mtime_ns for path in stored]
    study_runs.run_stage(stage.sharpness, root, STUDY, [0, 1])
    assert (folder / "sharpness.csv").read_bytes() == before and len(stored) == 2 * len(STUDY.levels)
    assert [path.stat().st_mtime_ns for path in stored] == times
    stored[0].unlink()
    study_runs.run_stage(stage.sharpness, root, STUDY, [0, 1])
    assert (folder / "sharpness.csv").read_bytes() == before


def test_the_record_names_settings_commit_and_time(folder: Path) -> None:
    record = json.loads((folder / "sharpness.json").read_text())
    assert record["measures"]["radii"] == {"raw": 0.05, "filter": 0.5, "elementwise": 0.5}
    assert record["settings"]["name"] == STUDY.name and record["settings"]["levels"] == list(STUDY.levels)
    assert {"git", "versions", "device", "seeds", "data_checksums", "tables", "cpu_seconds"} <= record.keys()
