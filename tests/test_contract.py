"""The contract of what is stored: names, formats and random numbers that no change of the code may move unseen.

Every list is written out here, because stored files hold these words. A test that fails says that older files would be
misread or made anew: put the old word back, or raise FORMAT and say so. Names of modules, classes and functions are free.

The files in tests/stored were written once. The minimum and the block of rays are those of `make swiss_data_x5
SCALE=quick`. The measurement is that of a network with seven parameters, by `measure_volume` with `per_layer=True`.
"""

import json
import math
import runpy
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minima_volume.analysis import published, trends
from minima_volume.crossings.sweep import Crossings
from minima_volume.estimators.diagnostics import Verdict, Word
from minima_volume.estimators.gaussian import Profile, ProfilePoint
from minima_volume.estimators.volume import Volume, estimate_volume
from minima_volume.measurement import KIND, Measurement
from minima_volume.networks.curvature import gauss_newton_rows
from minima_volume.networks.directions import draw_directions
from minima_volume.networks.losses import CRITERIA, Metric, cross_entropy
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import layout_of, parameters_of
from minima_volume.pipeline.minima import training_fingerprint
from minima_volume.pipeline.random_perturbs import ray_fingerprint
from minima_volume.pipeline.study import SCALES, Repeat, Study
from minima_volume.sampling.bennett import chain_status
from minima_volume.sampling.elliptical import EllipticalSettings, elliptical_slice_path
from minima_volume.sampling.tethered import TetheredSettings, tethered_hmc
from minima_volume.storage.archives import FORMAT, fingerprint, read_arrays, read_json, read_tensors
from minima_volume.storage.layout import (
    CUTOFF_COLUMNS,
    ROOT,
    SLICE_COLUMNS,
    VOLUME_COLUMNS,
    block_path,
    checkpoint_path,
    failure_path,
    minimum_path,
    repeat_folder,
    study_folder,
)
from minima_volume.storage.tables import read_table
from minima_volume.testing.bodies import linear_model
from minima_volume.training.datasets import LOADERS, load_digits
from minima_volume.training.interventions import DEPENDS_ON_LARGEST_LEVEL, INTERVENTIONS
from minima_volume.training.models import MODELS, initial_parameters
from minima_volume.training.recipe import Recipe
from minima_volume.training.trainer import Job, train
from tests import project

STORED, PAPER = project.ROOT / "tests" / "stored", project.ROOT / "results" / "paper"
STUDIES: dict[str, Study] = {
    name: study
    for path in sorted(project.ROOT.glob("*/config.py"))
    for name, study in runpy.run_path(str(path))["STUDIES"].items()
}
RECORDS = sorted(PAPER.glob("*/run.json"))
TABLES = sorted([*PAPER.glob("*.csv"), *PAPER.glob("*/*.csv")])
HEADERS = {
    "volumes.csv": "study data model repeat level landscape threshold metric status n_params n_directions n_crossed "
    "n_recrossed log_volume log_volume_se verdict effective_size largest_share doubling pareto_k typical_log_volume "
    "typical_log_volume_se log_volume_grid grid_directions loss_at_zero train_loss test_loss test_accuracy "
    "train_accuracy unseen_accuracy",
    "slices.csv": "repeat level n_train radius_1 radius_2 seen_loss unseen_loss",
    "cutoffs.csv": "study data model repeat level threshold cutoff n_samples final_mean_loss",
    "orderings.csv": "study repeat level threshold estimator sigma value error verdict",
    "confidences.csv": "study repeat estimator sigma order confidence falling",
    "comparison.csv": "study level landscape threshold ours_repeats ours_without_volume ours_log_volume_grid ours_spread "
    "published_repeats published_without_volume published_log_volume_grid published_spread relative_difference "
    "grid_steps standard_errors within ours_loss_at_zero published_loss_at_zero ours_test_loss published_test_loss "
    "test_loss_standard_errors ours_test_accuracy published_test_accuracy",
    "comparison_trends.csv": "study quantity held threshold against values ours_repeats ours_slope ours_slope_se "
    "ours_direction published_repeats published_slope published_slope_se published_direction direction "
    "standard_errors ours_solved_slope ours_solved_slope_se",
}


def test_fields_that_are_stored_keep_their_names() -> None:
    for kind, names in (
        (Crossings, "coefficients recrossed at_zero evaluations"),
        (Volume, "status n_directions n_crossed n_recrossed log_volume log_volume_se typical_log_volume "
                 "typical_log_volume_se log_volume_grid grid_directions"),
        (Verdict, "word sentence n_directions effective_size bulk_size largest_share doubling pareto_k n_censored "
                  "n_recrossed"),
        (Profile, "points"),
        (ProfilePoint, "sigma log_gamma log_gamma_se log_gamma_upper verdict"),
        (Measurement, "n_params n_samples seed metric threshold value_at_minimum volume log_volume_se verdict profile "
                      "log_radii censored log_determinant layers"),
    ):  # fmt: skip
        assert " ".join(field.name for field in fields(kind)) == names


def test_settings_that_fingerprints_cover_keep_names_and_defaults() -> None:
    recipe = {"epochs": 7, "lr": 1e-3, "weight_decay": 0.01, "batch_size": None, "sam_rho": None, "sam_adaptive": False}
    study = {
        "name": "n", "title": "t", "data": "d", "model": "m", "intervention": "i", "base": 1, "levels": (0, 2),
        "recipe": recipe, "thresholds": (0.1,), "n_directions": 3, "level_means": "extra", "landscapes": "base",
        "accuracies": (), "grid_directions": None, "normalise": True, "model_seed": 0, "data_seed": 10,
        "direction_seed": 0, "later_levels": (), "quick": {},
    }  # fmt: skip
    gold = {"replicas": 8, "chains": 4, "burn": 30, "keep": 60, "finish": 4, "stride": 1.0, "rank": None}
    annealed = {
        "replicas": 8, "chains": 8, "trials": 256, "burn": 20, "keep": 60, "stride": 0.7, "rank": 100, "fits": 4,
    }  # fmt: skip
    plain = Study("n", "t", "d", "m", "i", 1, (0, 2), Recipe(7), (0.1,), 3)
    made: list[Any] = [Recipe(7), plain, TetheredSettings(), EllipticalSettings()]
    wanted: list[dict[str, Any]] = [recipe, study, gold, annealed]
    for own, expected in zip(made, wanted, strict=True):
        assert list(asdict(own).items()) == list(expected.items())


def test_words_that_are_stored_stay() -> None:
    assert (FORMAT, KIND, SCALES) == (1, "minima_volume.measurement/1", ("quick", "paper"))
    assert set(CRITERIA) == {"cross_entropy", "binary_cross_entropy", "one_hot_squared_error"}
    assert set(LOADERS) == {"cifar10", "digits", "swiss_roll", "modulo", "mnist"}
    assert set(INTERVENTIONS) == {"data", "poison", "noise", "imbalanced_base", "imbalanced_extra"}
    assert DEPENDS_ON_LARGEST_LEVEL == ("imbalanced_extra",)
    assert {name: sum(tensor.numel() for tensor in make().parameters()) for name, make in MODELS.items()} == {
        "swiss_x5": 4353, "swiss_x6": 5409, "digits_mlp": 6570, "mnist_mlp": 235146, "mnist_mlp_large": 300938,
        "mnist_cnn": 421642, "cifar_mlp": 1707274, "cifar_cnn": 1276234, "modulo_mlp": 73097,
    }  # fmt: skip
    assert get_args(Word) == ("converged", "max-dominated", "censored", "unconverged")
    assert get_args(Metric) == ("loss", "accuracy")
    assert get_args(get_type_hints(Study)["level_means"]) == ("extra", "batch_size", "epochs")
    assert get_args(get_type_hints(Study)["landscapes"]) == ("base", "nested")
    volumes = [
        estimate_volume(np.full(2, c), np.ones(2), 3, recrossed=np.zeros(2, dtype=bool)) for c in (0.5, 0.0, math.nan)
    ]
    assert [volume.status for volume in volumes] == ["ok", "unconverged", "censored"]
    cases = [("thin", True, 1, 0), ("disagree", False, 4, 0), ("drift", False, 1, 7), ("ok", False, 1, 0)]
    assert all(chain_status(thin=thin, spread=s, within=1.0, drift=drift) == word for word, thin, s, drift in cases)
    rows = read_table(PAPER / "swiss_data_x5" / "orderings.csv", ["estimator"])
    assert {row["estimator"] for row in rows} == {"grid", "log_volume", "typical", "gamma", "gold"}


def test_columns_of_tables_stay() -> None:
    made = (VOLUME_COLUMNS, SLICE_COLUMNS, CUTOFF_COLUMNS, published.COLUMNS, trends.COLUMNS)
    assert len(RECORDS) >= 24 and len(TABLES) >= 60  # each is a test below
    own = ("volumes.csv", "slices.csv", "cutoffs.csv", "comparison.csv", "comparison_trends.csv")
    assert [" ".join(columns) for columns in made] == [HEADERS[name] for name in own]


def test_files_of_a_run_keep_their_places(finished: Path) -> None:
    assert study_folder("paper", "s") == ROOT / "paper" / "s"
    folder = repeat_folder("quick", "s", 3)
    paths = [make(folder, 20) for make in (minimum_path, checkpoint_path, failure_path)] + [block_path(folder, 25, 50)]
    assert [str(path.relative_to(ROOT / "quick" / "s" / "repeat_3")) for path in paths] == [
        "minima/level_20.safetensors", "minima/level_20.unfinished.safetensors", "minima/level_20.failed.json",
        "rays/directions_00025_00050.npz",
    ]  # fmt: skip
    own = {"minima.json", "rays.json", "cutoffs.csv", "cutoffs.json", "volumes.csv", "volumes.json"}
    own |= {f"minima/level_{level}.safetensors" for level in (0, 16)}
    own |= {f"rays/directions_{span}.npz" for span in ("00000_00025", "00025_00030")}
    expected = {"run.json", "cutoffs.csv", "volumes.csv"} | {f"repeat_{i}/{name}" for i in (0, 1) for name in own}
    found = {path.relative_to(finished) for path in finished.rglob("*") if path.is_file()}
    assert {str(path) for path in found if not path.name.startswith(".")} == expected
    record = read_json(finished / "run.json")
    assert " ".join(sorted(record)) == (
        "command data_checksums device failed git scale seeds settings tables task_seconds versions written"
    )


class Seen(Exception):
    """Carries the first random points out of a sampler."""


class Watching:
    """A potential in three dimensions that is 0 at 0 and raises the first other points that it is asked for."""

    n_params = 3

    def values(self, points: Tensor) -> Tensor:
        if points.any():
            raise Seen(points.tolist())
        return torch.zeros(len(points))


def test_samplers_start_at_the_same_draws() -> None:
    potential: Any = Watching()
    with pytest.raises(Seen) as gold:
        tethered_hmc(potential, 1.0, [1.3], seed=0, settings=TetheredSettings(replicas=1, chains=1))
    assert gold.value.args[0] == [[0.06497681140899658, 1.4764646291732788, -0.030930910259485245]]
    with pytest.raises(Seen) as annealed:
        elliptical_slice_path(potential, 1.0, [1.0], seed=0, settings=EllipticalSettings(trials=4))
    assert annealed.value.args[0] == [[-1.816630244255066, 0.7664197683334351, -1.7755179405212402]]


def test_directions_and_orders_are_the_same_draws() -> None:
    g = [0.3485037386417389, 0.9026674032211304, 0.5270156264305115, 0.6987887620925903]
    assert draw_directions(0, [3], 4).tolist() == [g]
    eight = Samples(torch.zeros(8, 1), torch.arange(8), cross_entropy)
    assert eight.shuffled().targets.tolist() == [2, 5, 1, 0, 7, 4, 6, 3]
    inputs, targets = linear_model(2, 3).data
    assert inputs[:2].flatten().tolist() == pytest.approx([-0.6890332, 0.4877652, 0.5958871, -1.6337715], rel=1e-6)
    assert targets.flatten().tolist() == pytest.approx([-0.9545598, -0.3829544, -1.9284437], rel=1e-6)
    assert initial_parameters("swiss_x5", 0)["1.bias"][:2].tolist() == [0.3881818354129791, -0.0892491564154625]


def test_batches_come_in_the_same_order() -> None:
    """Seen through the targets that the criterion is given, over two epochs."""
    model, order = nn.Sequential(nn.Linear(1, 1, bias=False)), []

    def criterion(outputs: Tensor, targets: Tensor) -> Tensor:
        order.extend(targets.tolist())
        return outputs.squeeze(-1).square()

    job = Job(parameters_of(model), torch.ones(8, 1), torch.arange(8), 0)
    list(train(model, [job], Recipe(epochs=2, batch_size=3), criterion))
    assert order == [0, 7, 6, 4, 5, 3, 2, 1, 0, 1, 5, 7, 4, 2, 6, 3]


def test_signs_of_the_curvature_are_the_same_draws() -> None:
    model = nn.Linear(1, 2, bias=False)
    parameters = parameters_of(model)
    minimum = Minimum.of(parameters, layout_of(parameters), normalise=False)
    samples = Samples(torch.ones(4, 1), torch.zeros(4), lambda outputs, _: outputs.square().sum(dim=-1))
    rows = gauss_newton_rows(model, minimum, samples, draws=2, seed=0).sign().int()
    assert rows.tolist() == [[1, 1], [1, 1], [1, 1], [-1, 1], [1, -1], [-1, 1], [-1, 1], [1, 1]]


def test_interventions_choose_the_same_samples() -> None:
    """No fingerprint covers this choice, so another one would go with old minima."""
    digits, plain = load_digits(Path(), 0), [1207, 153, 1043, 672]
    for name, indices, targets in (
        ("data", plain, [2, 8, 8, 1]), ("poison", plain, [1, 0, 7, 8]), ("noise", [-1] * 4, [0, 5, 2, 5]),
        ("imbalanced_base", [577, 8, 427, 17], [9, 2, 2, 5]), ("imbalanced_extra", [248, 855, 744, 481], [0] * 4),
    ):  # fmt: skip
        pool = INTERVENTIONS[name](digits, 5, 4, 10)
        assert (pool.indices[5:].tolist(), pool.targets[5:].tolist()) == (indices, targets)


def test_fingerprints_stay() -> None:
    assert fingerprint([1, "a", 0.5, None, True]) == "be9d7ef321f39c36"
    assert fingerprint("a", {"b": (1, 2)}) == "cb050fc9b2ad9a46"
    for name, level, trained, crossed in (
        ("swiss_data_x5", 0, "4b7518b1c0cb318c", "93cdc326ef3ad811"),
        ("swiss_data_x5", 780, "56f4997bcbd49e89", "65dc81052499fda3"),
        ("digits_poison", 0, "b3562a96388c2d79", "be75574a153d2ad1"),
        ("modulo_data", 0, "c149b41e9797694b", "118ebab3642abc45"),
    ):
        repeat = Repeat(STUDIES[name].at_scale("paper"), 0)
        assert (training_fingerprint(repeat, level), ray_fingerprint(repeat, level)) == (trained, crossed)


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
    assert again.read_bytes() == path.read_bytes()
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


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parent.name)
def test_a_committed_record_is_its_study(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields that came later, with defaults, are missing in older records; a title is for people and may change."""
    record = read_json(path)
    assert {"cutoffs.csv", "volumes.csv"} <= set(record["tables"])
    settings = record["settings"]
    rebuilt = Study(**settings | {"recipe": Recipe(**settings["recipe"])})
    assert asdict(rebuilt) == {**asdict(rebuilt), **settings}
    for word in record["command"].split()[4:]:  # DIRECTIONS=1000 and LEVELS=5
        monkeypatch.setenv(*word.split("="))
    configured = json.loads(json.dumps(asdict(STUDIES[path.parent.name].at_scale("paper"))))
    assert configured == {**configured, **settings, "title": configured["title"]}
