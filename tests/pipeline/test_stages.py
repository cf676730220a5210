"""The four stages on a tiny study against plain loops, and what they refuse."""

import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from minima_volume.errors import UserError
from minima_volume.networks.directions import draw_directions
from minima_volume.networks.losses import cross_entropy
from minima_volume.networks.parameters import layout_of, parameters_of
from minima_volume.pipeline import cli, minima
from minima_volume.pipeline.repeat import Repeat
from minima_volume.storage import archives, layout
from minima_volume.training.datasets import load_digits, load_modulo
from minima_volume.training.interventions import Pool, more_data, poison
from minima_volume.training.models import build_model, initial_parameters
from minima_volume.training.recipe import Recipe
from minima_volume.training.trainer import Job, train
from tests import reference as tests_reference
from tests.study_runs import TINY, Stages, rows, run

N_PARAMS = 6570


def pool_of(repeat: int) -> Pool:
    return poison(load_digits(Path(), 0), 48, 16, 10 + repeat)


def stored(folder: Path, repeat: int, level: int) -> dict[str, Tensor]:
    return load_file(folder / f"repeat_{repeat}" / "minima" / f"level_{level}.safetensors")


def minimum(folder: Path, repeat: int, level: int) -> torch.nn.Module:
    """Return a stored network in float64."""
    model = build_model("digits_mlp")
    prefix = "parameters."
    tensors = stored(folder, repeat, level).items()
    model.load_state_dict({name.removeprefix(prefix): t for name, t in tensors if name.startswith(prefix)})
    return model.double()


def test_a_stored_minimum_has_the_layout_of_the_trained_one(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Direction i must be the same step for a minimum from training and from its file."""
    monkeypatch.setattr(layout, "ROOT", finished.parent.parent)
    _, read_back = minima.load_minima(Repeat(TINY, 0), "paper")[0]
    assert read_back.layout == layout_of(parameters_of(build_model("digits_mlp")))


@pytest.mark.parametrize("repeat", [0, 1])
@pytest.mark.parametrize("level", [0, 16])
def test_minima_are_those_of_plain_training(repeat: int, level: int, finished: Path) -> None:
    pool, found = pool_of(repeat), stored(finished, repeat, level)
    assert torch.equal(found["indices"], pool.indices[: 48 + level])
    assert torch.equal(found["targets"], pool.targets[: 48 + level])
    job = Job(initial_parameters("digits_mlp", repeat), pool.inputs[: 48 + level], pool.targets[: 48 + level], repeat)
    *_, (_, (expected,)) = train(build_model("digits_mlp"), [job], TINY.recipe, cross_entropy)
    for name, tensor in expected.items():
        # Stacked float32 sums differ by 10⁻⁷ in another order, which grows in 80 steps of Adam of length 3·10⁻³.
        torch.testing.assert_close(found[f"parameters.{name}"], tensor, rtol=0, atol=1e-3)


def reference(folder: Path, repeat: int, level: int, landscape: int) -> Iterator[dict[str, object]]:
    """Yield one row per threshold, computed by loops in float64."""
    model, pool, data = minimum(folder, repeat, level), pool_of(repeat), load_digits(Path(), 0)
    inputs, targets = pool.inputs[: 48 + landscape], pool.targets[: 48 + landscape]
    found: dict[float, list[tuple[float, float, float]]] = {threshold: [] for threshold in TINY.thresholds}
    order = [name for name, _ in layout_of(parameters_of(model)).shapes]
    for index in range(30):
        g = draw_directions(0, [index], N_PARAMS)[0].double()
        height = cache(tests_reference.along(model, tests_reference.step(model, g, order), inputs, targets))
        norm = math.sqrt(math.fsum(x * x for x in g.tolist()))
        for threshold in TINY.thresholds:
            found[threshold].append((*tests_reference.crossing(height, threshold), norm))
    with torch.no_grad():
        test = model(data.test_inputs.double())
        train_ = model(pool.inputs[: 48 + level].double())
    common = {
        "loss_at_zero": height(0.0),
        "test_loss": float(functional.cross_entropy(test, data.test_targets)),
        "test_accuracy": float((test.argmax(dim=1) == data.test_targets).double().mean()),
        "train_loss": float(functional.cross_entropy(train_, pool.targets[: 48 + level])),
        "train_accuracy": float((train_.argmax(dim=1) == pool.targets[: 48 + level]).double().mean()),
    }
    for threshold, each in found.items():
        logs = [N_PARAMS * math.log((1.0 if math.isnan(c) else c) * norm) for c, _, norm in each if c != 0]
        grid = [N_PARAMS * math.log(c * norm) for _, c, norm in each[:20] if c > 0]
        crossed = sum(c > 0 for c, _, _ in each)
        outside = not logs
        typical = math.nan if outside else math.fsum(logs) / 30
        yield common | {
            "threshold": threshold,
            "status": "unconverged" if outside else "ok" if crossed == 30 else "censored",
            "n_crossed": crossed,
            "log_volume": math.nan if outside else tests_reference.log_mean_exp(logs),
            "typical_log_volume": typical,
            "typical_log_volume_se": math.nan if outside else float(np.std(logs, ddof=1)) / math.sqrt(30),
            "log_volume_grid": tests_reference.log_mean_exp(grid) if grid else math.nan,
        }


# Volumes in nats: 30 radii, each solved to 0.002 nats. Losses: evaluated in float32, 10⁻⁵.
CLOSE = {
    "log_volume": 0.02, "typical_log_volume": 0.02, "typical_log_volume_se": 0.02, "log_volume_grid": 0.02,
    "loss_at_zero": 1e-5, "test_loss": 1e-4, "train_loss": 1e-5, "test_accuracy": 1e-9, "train_accuracy": 1e-9,
}  # fmt: skip


@pytest.mark.parametrize(("level", "landscape"), [(0, 0), (16, 0), (16, 16)])
@pytest.mark.parametrize("repeat", [0, 1])
def test_volumes_against_a_plain_loop(repeat: int, level: int, landscape: int, finished: Path) -> None:
    here = {"repeat": str(repeat), "level": str(level), "landscape": str(landscape)}
    found = {float(row["threshold"]): row for row in rows(finished) if here.items() <= row.items()}
    assert sorted(found) == sorted(TINY.thresholds)
    for expected in reference(finished, repeat, level, landscape):
        row = found[float(str(expected["threshold"]))]
        assert row["status"] == expected["status"] and int(row["n_crossed"]) == expected["n_crossed"]
        for name, tolerance in CLOSE.items():
            value = float(row[name]) if row[name] else math.nan
            assert value == pytest.approx(expected[name], abs=tolerance, nan_ok=True), (name, row["threshold"])


def test_the_table_is_complete(finished: Path) -> None:
    found = rows(finished)
    assert len(found) == 2 * 3 * 4 and tuple(found[0]) == layout.VOLUME_COLUMNS
    fixed = {"study": "tiny", "model": "digits_mlp", "metric": "loss", "n_params": "6570", "n_directions": "30"}
    assert all(fixed.items() <= row.items() and row["grid_directions"] == "20" for row in found)
    assert {row["status"] for row in found} == {"ok", "censored", "unconverged"}  # the thresholds cover every case
    assert all("digits" in row["data"] and "MNIST" not in row["data"] for row in found)
    joined = [row for repeat in (0, 1) for row in rows(finished / f"repeat_{repeat}")]
    assert found == joined


def test_cutoffs_against_a_plain_loop(finished: Path) -> None:
    found = rows(finished, "cutoffs.csv")
    assert len(found) == 2 * 2 * 4
    for row in found:
        repeat, threshold = int(row["repeat"]), float(row["threshold"])
        model, pool = minimum(finished, repeat, int(row["level"])), pool_of(repeat)
        with torch.no_grad():
            outputs = model(pool.inputs.double())
        losses = functional.cross_entropy(outputs, pool.targets, reduction="none").tolist()
        means = [math.fsum(losses[:k]) / k for k in range(1, 65)]
        expected = next((str(k) for k in range(48, 65) if means[k - 1] > threshold), "")
        assert row["cutoff"] == expected and row["n_samples"] == "64"
        # Float32 losses of poisoned samples, some ten nats each.
        assert float(row["final_mean_loss"]) == pytest.approx(means[-1], rel=1e-5)


def test_run_json_records_the_provenance(finished: Path) -> None:
    record = archives.read_json(finished / "run.json")
    assert record["settings"]["levels"] == [0, 16] and record["settings"]["n_directions"] == 30
    assert record["seeds"]["1"] == {"model": 1, "data": 11, "directions": 0}
    assert record["data_checksums"]["0"] == load_digits(Path(), 0).checksums
    assert {"torch", "numpy", "scipy", "python"} <= set(record["versions"])
    assert {"command", "git", "device", "written"} <= set(record)


@pytest.mark.parametrize(("means", "levels"), [("epochs", (3, 8)), ("batch_size", (10, 48))])
def test_levels_may_be_epochs_or_batch_sizes(
    means: str, levels: tuple[int, int], stages: Stages, tmp_path: Path
) -> None:
    study = replace(
        TINY, intervention="data", level_means=means, levels=levels, recipe=Recipe(epochs=8), landscapes="base",
        thresholds=(3.0,), n_directions=2,
    )  # fmt: skip
    folder, pool = run(stages, tmp_path, study, repeats=(0,)), more_data(load_digits(Path(), 0), 48, 0, 10)
    for level in levels:
        recipe = Recipe(epochs=level) if means == "epochs" else Recipe(epochs=8, batch_size=level)
        job = Job(initial_parameters("digits_mlp", 0), pool.inputs, pool.targets, 0)
        *_, (_, (expected,)) = train(build_model("digits_mlp"), [job], recipe, cross_entropy)
        found = stored(folder, 0, level)
        # A separate run takes the same steps in the same order, which gives the same bits.
        assert all(torch.equal(found[f"parameters.{name}"], tensor) for name, tensor in expected.items())
    assert {(row["level"], row["landscape"]) for row in rows(folder)} == {(str(level), "0") for level in levels}


def test_levels_may_be_seeds_on_the_same_samples(stages: Stages, tmp_path: Path) -> None:
    study = replace(
        TINY, intervention="data", level_means="model_seed", levels=(0, 3), recipe=Recipe(epochs=8), landscapes="base",
        thresholds=(3.0,), n_directions=2,
    )  # fmt: skip
    folder, pool = run(stages, tmp_path, study, repeats=(1,)), more_data(load_digits(Path(), 1), 48, 0, 11)
    for level in study.levels:
        job = Job(initial_parameters("digits_mlp", 1 + level), pool.inputs, pool.targets, 1 + level)
        *_, (_, (expected,)) = train(build_model("digits_mlp"), [job], study.recipe, cross_entropy)
        found = stored(folder, 1, level)
        assert all(torch.equal(found[f"parameters.{name}"], tensor) for name, tensor in expected.items())
        assert torch.equal(found["indices"], pool.indices)


def test_minima_of_one_loss_say_how_long_they_trained(stages: Stages, tmp_path: Path) -> None:
    study = replace(TINY, recipe=Recipe(epochs=400, lr=3e-3, stop_loss=0.2), thresholds=(1.0,), n_directions=2)
    folder = run(stages, tmp_path, study, repeats=(0,))
    record = archives.read_json(folder / "repeat_0" / "minima.json")
    for info in record.values():
        assert 0.1 < info["train_loss"] <= 0.2 and 1 < info["epochs"] < 400


def test_unseen_accuracy_excludes_the_training_pairs(stages: Stages, tmp_path: Path) -> None:
    study = replace(
        TINY, data="modulo", model="modulo_mlp", intervention="data", base=3000, levels=(0,), thresholds=(0.02,),
        recipe=Recipe(epochs=30, lr=0.01), n_directions=2,
    )  # fmt: skip
    folder, table = run(stages, tmp_path, study, repeats=(0,)), load_modulo(Path(), 0)
    (row,) = rows(folder)
    found = stored(folder, 0, 0)
    model = build_model("modulo_mlp")
    model.load_state_dict({name.removeprefix("parameters."): t for name, t in found.items() if "parameters" in name})
    with torch.no_grad():
        right = (model(table.inputs).argmax(dim=1) == table.targets).tolist()
    trained = set(found["indices"].tolist())
    unseen = [hit for i, hit in enumerate(right) if i not in trained]
    assert len(trained) == 3000 and len(unseen) == 9409 - 3000
    assert float(row["unseen_accuracy"]) == pytest.approx(sum(unseen) / len(unseen), abs=1e-7)
    assert float(row["test_accuracy"]) == pytest.approx(
        sum(right) / 9409, abs=1e-7
    )  # the published accuracy counts all pairs
    assert float(row["train_accuracy"]) > float(row["test_accuracy"]) > float(row["unseen_accuracy"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"levels": (16, 0)}, "ascending order"),
        ({"levels": ()}, "at least one level"),
        ({"base": 0}, "at least one sample"),
        ({"thresholds": (0.1, 0.0)}, "thresholds above 0"),
        ({"model": "digits_mpl"}, "digits_mlp"),
        ({"intervention": "poisson"}, "poison"),
        ({"data": "mnits"}, "mnist"),
        ({"n_directions": 0}, "at least one direction"),
        ({"recipe": Recipe(epochs=5, stop_loss=0.0)}, "a loss to stop at above 0"),
        (
            {
                "recipe": Recipe(epochs=5, stop_loss=0.1),
                "level_means": "epochs",
                "levels": (2, 5),
                "landscapes": "base",
            },
            "none where levels are epochs",
        ),
        (
            {
                "recipe": Recipe(epochs=7),
                "level_means": "batch_size_equal_steps",
                "levels": (10, 48),
                "landscapes": "base",
            },
            "batch sizes that divide the base",
        ),
        ({"base": 1290, "levels": (0, 16)}, "1297"),
    ],
    ids=str,
)
def test_invalid_rows_are_refused(change: dict[str, object], said: str, stages: Stages, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        run(stages, tmp_path, replace(TINY, **change))
    message = str(caught.value.code)
    assert message.startswith("error: Expected") and said in message and "got" in message and "\n" not in message


def test_scale_is_one_of_two() -> None:
    with pytest.raises(UserError, match="Expected SCALE to be one of quick, paper, got 'papr'"):
        TINY.at_scale("papr")
    quick = replace(TINY, quick={"n_directions": 5, "levels": (0, 4)})
    assert (quick.at_scale("quick").n_directions, quick.at_scale("paper").n_directions) == (5, 30)


@pytest.mark.parametrize("asked", [1, 2, 9])
def test_first_levels_only(asked: int) -> None:
    whole = replace(TINY, levels=(0, 16, 24)).at_scale("paper")
    study = replace(TINY, levels=(0, 16, 24)).at_scale("paper", levels=asked)
    assert study.levels == whole.levels[:asked] and study.levels + study.later_levels == whole.levels
    assert study.n_extra == whole.n_extra == 24  # one pool, however many levels are run
    with pytest.raises(UserError, match="ascending order"):
        replace(TINY, levels=(0, 24, 16)).at_scale("paper")


def test_stages_before_training_say_what_to_run(
    stages: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "ROOT", tmp_path)
    for script in ("random_perturbs", "volume_estimation"):
        monkeypatch.setattr(sys, "argv", [f"{script}.py", "tiny", "--repeats", "0"])
        with pytest.raises(SystemExit, match=r"error: Expected trained minima .*got none: run train_models\.py first"):
            cli.main({"tiny": TINY}, stages[script])
