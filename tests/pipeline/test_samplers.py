"""Local volumes of a study and their comparison with a second sampler: tables, records, and what a second run does."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import samplers
from minima_volume.pipeline import local_volumes as stage
from minima_volume.pipeline.settings import Settings
from minima_volume.sampling.subset import SubsetSettings
from minima_volume.sampling.tethered import TetheredSettings
from minima_volume.storage import layout
from tests import study_runs
from tests.study_runs import rows

STUDY = replace(study_runs.TINY, thresholds=(0.5,), landscapes="nested")
QUICK = stage.Effort(SubsetSettings(runs=4, particles=64, moves=6, floor=-20.0), -3.0)


@pytest.fixture(scope="module")
def folder(stages: study_runs.Stages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of one repeat with local volumes and the comparison."""
    root = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "EFFORTS", {6000: QUICK})
        patch.setattr(stage, "SIGMAS", (0.03, 0.1, 0.2, 0.4))
        patch.setattr(samplers, "SETTINGS", TetheredSettings(replicas=4, chains=2, burn=10, keep=20))
        folder = study_runs.run(stages, root, STUDY, repeats=[0])
        study_runs.run_stage(stage.local_volumes, root, STUDY, [0])
        patch.setattr(layout, "ROOT", root)
        samplers.compare(STUDY, Settings.from_environment({}))
    return folder


def test_the_record_names_settings_commit_and_time(folder: Path) -> None:
    record = json.loads((folder / "local_volumes.json").read_text())
    assert record["sampler"] == {"6000": {"runs": 4, "particles": 64, "share": 0.25, "moves": 6, "floor": -20.0,
                                          "deepest": -3.0}}  # fmt: skip
    assert set(record["cpu_seconds"]["0"]) == {"0", "16"} and min(record["cpu_seconds"]["0"].values()) > 0
    assert {"git", "versions", "device", "seeds", "data_checksums", "tables"} <= record.keys()


def test_every_minimum_is_measured_at_home_and_in_both_units(folder: Path) -> None:
    table = rows(folder, "local_volumes.csv")
    assert {(row["level"], row["landscape"], row["norms"]) for row in table} == {
        ("0", "0", "own"), ("16", "0", "own"), ("16", "16", "own"), ("16", "0", "first"),
    }  # fmt: skip
    for row in table:
        same = [other for other in table if all(other[k] == row[k] for k in ("level", "landscape", "norms"))]
        values = [float(other["log_gamma"]) for other in same]
        assert values == sorted(values, reverse=True) and len(values) >= 2


def test_both_samplers_agree(folder: Path) -> None:
    table = rows(folder, "samplers.csv")
    assert len(table) >= 2
    for row in table:
        errors = math.hypot(float(row["subset_error"]), float(row["tethered_error"]))
        gap = float(row["subset"]) - float(row["tethered"])
        assert float(row["joint_errors"]) == pytest.approx(gap / errors, abs=1e-4)
        assert abs(gap) < 4 * errors
