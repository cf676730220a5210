"""The contract of what is stored: files and committed tables that must stay readable."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from minima_volume.estimators.volume import Volume, estimate_volume
from minima_volume.measurement import Measurement
from minima_volume.pipeline.minima import training_fingerprint
from minima_volume.pipeline.random_perturbs import ray_fingerprint
from minima_volume.pipeline.repeat import Repeat
from minima_volume.pipeline.study import Study
from minima_volume.storage.archives import read_arrays, read_json, read_tensors
from minima_volume.storage.layout import (
    block_path,
    minimum_path,
)
from minima_volume.storage.tables import read_table
from minima_volume.training.recipe import Recipe
from tests.contract.committed import HEADERS, PAPER, RECORDS, STORED, STUDIES, TABLES


def test_a_stored_minimum_is_read() -> None:
    info, tensors = read_tensors(minimum_path(STORED, 0))
    repeat = Repeat(STUDIES["swiss_data_x5"].at_scale("quick"), 0)
    assert info == {
        "study": "swiss_data_x5", "data": "two spirals", "model": "swiss_x5", "repeat": 0, "level": 0, "n_train": 20,
        "model_seed": 0, "data_seed": 10, "fingerprint": training_fingerprint(repeat, 0), "seconds": 0.512,
        "train_loss": 0.00013477278506454746, "train_accuracy": 1.0, "test_loss": 10.979691111846567,
        "test_accuracy": 0.5585,
    }  # fmt: skip
    layers = [f"parameters.{layer}.{part}" for layer in (1, 3, 5, 7, 9, 11) for part in ("weight", "bias")]
    kinds = dict.fromkeys(layers, torch.float32) | dict.fromkeys(("indices", "targets"), torch.int64)
    assert {name: tensor.dtype for name, tensor in tensors.items()} == kinds
    assert tensors["parameters.1.bias"][:2].tolist() == [0.5581669807434082, -0.0005147016490809619]
    assert tensors["parameters.9.weight"].shape == (32, 32)
    assert tensors["indices"].equal(repeat.pool.indices[:20]) and tensors["targets"].equal(repeat.pool.targets[:20])


def test_a_stored_block_of_rays_is_read() -> None:
    info, arrays = read_arrays(block_path(STORED, 0, 25))
    repeat = Repeat(STUDIES["swiss_data_x5"].at_scale("quick"), 0)
    levels = (0, 80, 380)
    assert info == {"fingerprints": {str(level): ray_fingerprint(repeat, level) for level in levels}, "seconds": 0.612}
    shapes: dict[str, Any] = {"norms": ("float64", (25,))}
    for level, n_targets in zip(levels, (4, 8, 12), strict=True):
        both: dict[str, Any] = {"coefficients": ("float64", (25, n_targets)), "recrossed": ("bool", (25, n_targets))}
        both |= {"at_zero": ("float64", (n_targets,)), "evaluations": ("int64", (25,))}
        shapes |= {f"level_{level}.{name}": shape for name, shape in both.items()}
    assert {name: (str(array.dtype), array.shape) for name, array in arrays.items()} == shapes
    assert arrays["level_0.coefficients"][0, :2].tolist() == [0.0224662655650944, 0.02008892374485617]
    assert arrays["level_0.evaluations"][:4].tolist() == [22, 20, 28, 23]
    assert arrays["norms"][:2].tolist() == [66.66207065243702, 66.55318204178505]
    crossed, recrossed = (arrays[f"level_0.{name}"][:, 0] for name in ("coefficients", "recrossed"))
    volume = estimate_volume(crossed, arrays["norms"], 4353, recrossed=recrossed)
    numbers = [
        25, 25, 0, 7106.989519581504, 449.63965006612756, 4177.739094840552, 327.9912802026143, 7275.740085862094, 25,
    ]  # fmt: skip
    assert volume.status == "ok" and list(vars(volume).values())[1:] == pytest.approx(numbers, rel=1e-9)


def test_a_saved_measurement_is_loaded_and_saved_alike(tmp_path: Path) -> None:
    path, again = STORED / "measurement.json", tmp_path / "again.json"
    found = Measurement.load(path)
    found.save(again)
    # Files of the first versions have no checksum.
    written = json.loads(again.read_text())
    assert len(written.pop("sha256")) == 64 and written == json.loads(path.read_text())
    assert (found.n_params, found.n_samples, found.seed, found.metric, found.threshold) == (7, 16, 3, "loss", 0.02)
    assert found.profile and [point.sigma for point in found.profile.points] == [0.01, 0.1]
    assert found.verdict.word == "max-dominated" and math.isnan(found.verdict.pareto_k)
    assert found.log_radii.dtype == np.float64 and found.censored.dtype == np.bool_
    volume = (-8.689388560795615, 3.0865611432659867, -13.912346106825334, 1.5073523894628946, -8.374694755938291)
    assert found.volume == Volume("ok", 6, 6, 0, *volume, 6)
    assert {name: part.n_params for name, part in found.layers.items()} == {"0": 4, "2": 3}


@pytest.mark.parametrize("path", TABLES, ids=lambda path: str(path.relative_to(PAPER)))
def test_a_committed_table_is_read(path: Path) -> None:
    """With its checksum, where the record beside it lists the table."""
    assert path.read_text().splitlines()[0] == HEADERS[path.name].replace(" ", ",")
    assert read_table(path, HEADERS[path.name].split())


def as_stored(study: Study) -> dict[str, Any]:
    """The settings of a study as run.json holds them."""
    return asdict(study) | {"recipe": study.recipe.record()}


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_a_committed_record_is_its_study(path: Path) -> None:
    """Fields that came later, with defaults, are missing in older records; a title is for people and may change."""
    record = read_json(path)
    assert {"cutoffs.csv", "volumes.csv"} <= set(record["tables"])
    settings = record["settings"]
    rebuilt = Study(**settings | {"recipe": Recipe(**settings["recipe"])})
    assert as_stored(rebuilt) == {**as_stored(rebuilt), **settings}
    words = [word.split("=") for word in record["command"].split()[4:]]  # DIRECTIONS=1000 and LEVELS=5
    asked = {name: int(value) for name, value in words}
    study = STUDIES[path.parent.name].at_scale("paper", asked.get("DIRECTIONS"), asked.get("LEVELS"))
    configured = json.loads(json.dumps(as_stored(study)))
    assert configured == {**configured, **settings, "title": configured["title"]}
