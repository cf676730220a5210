"""The contract of what is stored: names, words, seeds and fingerprints that must not change."""

import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minima_volume.analysis import published, trends
from minima_volume.crossings.sweep import STORED
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
from minima_volume.pipeline.repeat import Repeat
from minima_volume.pipeline.settings import SCALES
from minima_volume.pipeline.study import Study
from minima_volume.sampling.bennett import chain_status
from minima_volume.sampling.elliptical import EllipticalSettings, elliptical_slice_path
from minima_volume.sampling.tethered import TetheredSettings, tethered_hmc
from minima_volume.storage.archives import FORMAT, fingerprint, read_json
from minima_volume.storage.layout import (
    CUTOFF_COLUMNS,
    PROFILE_COLUMNS,
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
from tests.contract.committed import HEADERS, PAPER, RECORDS, STUDIES, TABLES


def test_fields_that_are_stored_keep_their_names() -> None:
    for kind, names in (
        (Volume, "status n_directions n_crossed n_recrossed log_volume log_volume_se typical_log_volume "
                 "typical_log_volume_se log_volume_grid grid_directions"),
        (Verdict, "word sentence n_directions effective_size bulk_size largest_share doubling pareto_k n_censored "
                  "n_recrossed"),
        (Profile, "points"),
        (ProfilePoint, "sigma log_gamma log_gamma_se log_gamma_upper verdict"),
        (Measurement, "n_params n_samples seed metric threshold value_at_minimum volume log_volume_se verdict profile "
                      "log_radii censored log_determinant layers notes coordinates"),
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
    stored = asdict(plain) | {"recipe": plain.recipe.record()}
    made = [Recipe(7).record(), stored, asdict(TetheredSettings()), asdict(EllipticalSettings())]
    wanted: list[dict[str, Any]] = [recipe, study, gold, annealed]
    for own, expected in zip(made, wanted, strict=True):
        assert list(own.items()) == list(expected.items())
    assert Recipe(7, stop_loss=0.1).record() == recipe | {"stop_loss": 0.1}


def test_arrays_that_are_stored_keep_their_names() -> None:
    assert " ".join(STORED) == "coefficients recrossed at_zero evaluations"


def test_words_that_are_stored_stay() -> None:
    assert (FORMAT, KIND, SCALES) == (1, "minima_volume.measurement/1", ("quick", "paper"))
    assert set(CRITERIA) == {"cross_entropy", "binary_cross_entropy", "one_hot_squared_error"}
    assert set(LOADERS) == {"cifar10", "digits", "swiss_roll", "modulo", "mnist"}
    assert set(INTERVENTIONS) == {"data", "poison", "noise", "duplicates", "imbalanced_base", "imbalanced_extra"}
    assert DEPENDS_ON_LARGEST_LEVEL == ("imbalanced_extra",)
    assert {name: sum(tensor.numel() for tensor in make().parameters()) for name, make in MODELS.items()} == {
        "swiss_x5": 4353, "swiss_x6": 5409, "digits_mlp": 6570, "mnist_mlp": 235146, "mnist_mlp_large": 300938,
        "mnist_cnn": 421642, "cifar_mlp": 1707274, "cifar_cnn": 1276234, "modulo_mlp": 73097,
    }  # fmt: skip
    assert get_args(Word) == ("converged", "max-dominated", "censored", "unconverged")
    assert get_args(Metric) == ("loss", "accuracy", "kl")
    assert get_args(get_type_hints(Study)["level_means"]) == (
        "extra", "batch_size", "epochs", "batch_size_equal_steps", "model_seed"
    )  # fmt: skip
    assert get_args(get_type_hints(Study)["landscapes"]) == ("base", "nested", "beyond")
    volumes = [
        estimate_volume(np.full(2, c), np.ones(2), 3, recrossed=np.zeros(2, dtype=bool)) for c in (0.5, 0.0, math.nan)
    ]
    assert [volume.status for volume in volumes] == ["ok", "unconverged", "censored"]
    cases = [("thin", True, 1, 0), ("disagree", False, 4, 0), ("drift", False, 1, 7), ("ok", False, 1, 0)]
    assert all(chain_status(thin=thin, spread=s, within=1.0, drift=drift) == word for word, thin, s, drift in cases)
    rows = read_table(PAPER / "swiss_data_x5" / "orderings.csv", ["estimator"])
    assert {row["estimator"] for row in rows} == {"grid", "log_volume", "typical", "gamma", "gold"}


def test_columns_of_tables_stay() -> None:
    made = (VOLUME_COLUMNS, SLICE_COLUMNS, PROFILE_COLUMNS, CUTOFF_COLUMNS, published.COLUMNS, trends.COLUMNS)
    assert len(RECORDS) >= 24 and len(TABLES) >= 60  # each is a test below
    own = ("volumes.csv", "slices.csv", "profiles.csv", "cutoffs.csv", "comparison.csv", "comparison_trends.csv")
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
        "command data_checksums device failed git package scale seeds settings tables task_seconds versions written"
    )


class Seen(Exception):
    """Carries the first random points out of a sampler."""


class Watching:
    """A potential in three dimensions that is 0 at 0 and raises the first other points that it is asked for."""

    n_params = 3

    def values(self, points: Tensor, ceiling: float = math.inf) -> Tensor:
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
