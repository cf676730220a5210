"""What users do wrong, and how to do it here: a trigger is called with an empty folder and with a patch to undo."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import minima_volume as __init__
from minima_volume.networks import curvature, parameters
from minima_volume.networks.losses import cross_entropy
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.pipeline import cli, minima, random_perturbs, train_models, volume_estimation
from minima_volume.pipeline.settings import device
from minima_volume.pipeline.study import Repeat, Study
from minima_volume.sampling import elliptical
from minima_volume.storage import archives, layout, tables
from minima_volume.testing import ellipsoid
from minima_volume.training import datasets, interventions, models, trainer
from minima_volume.training.recipe import Recipe

TINY = Study(
    name="tiny", title="Tiny", data="digits", model="digits_mlp", intervention="poison", base=48, levels=(0, 16),
    recipe=Recipe(epochs=2), thresholds=(0.1,), n_directions=4,
)  # fmt: skip
DIGITS = datasets.load_digits(Path(), 0)
HEADER = {"fingerprint": "0123456789abcdef"}
Trigger = Callable[[Path, pytest.MonkeyPatch], object]


def command(*arguments: str, work: Callable[[cli.StageRun], None] = lambda run: None) -> Trigger:
    """A stage called with these arguments, its error caught before it is told."""

    def call(folder: Path, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(layout, "ROOT", folder)
        patch.setattr(sys, "argv", ["stage.py", *arguments])
        cli._run({"tiny": TINY}, work)

    return call


def at(setting: str, value: str, call: Callable[[], object]) -> Trigger:
    """A call with one setting in the environment."""

    def trigger(folder: Path, patch: pytest.MonkeyPatch) -> object:
        patch.setenv(setting, value)
        return call()

    return trigger


def written(name: str, content: bytes | None, read: Callable[[Path], object]) -> Trigger:
    """Reading a file that holds this content, or that is not there."""

    def trigger(folder: Path, patch: pytest.MonkeyPatch) -> object:
        if content is not None:
            (folder / name).write_bytes(content)
        return read(folder / name)

    return trigger


def without_a_gpu(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("torch.backends.mps.is_available", lambda: False)
    patch.setenv("DEVICE", "mps")
    device()


def flipped_arrays(folder: Path, patch: pytest.MonkeyPatch) -> None:
    archives.write_arrays(folder / "a.npz", {}, {"x": np.zeros(3)})
    info, arrays = archives.read_arrays(folder / "a.npz")
    patch.setattr(archives, "_checksum", lambda *_: "another")
    archives.write_arrays(folder / "a.npz", info, arrays)
    patch.undo()
    archives.read_arrays(folder / "a.npz")


def into_a_file(folder: Path, patch: pytest.MonkeyPatch) -> None:
    (folder / "file").touch()
    archives.write_json(folder / "file" / "run.json", {})


def table_of_another_record(folder: Path, patch: pytest.MonkeyPatch) -> None:
    table = folder / "volumes.csv"
    tables.write_tables(folder / "run.json", {table: "study\ntiny\n"}, {})
    table.write_text("study\ntony\n")
    tables.read_table(table, ["study"])


def table_of_a_damaged_record(folder: Path, patch: pytest.MonkeyPatch) -> None:
    tables.write_tables(folder / "run.json", {folder / "volumes.csv": "study\ntiny\n"}, {})
    (folder / "run.json").write_text("{")
    tables.read_table(folder / "volumes.csv", ["study"])


def wrong_archives(folder: Path, patch: pytest.MonkeyPatch) -> None:
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in datasets.IDX_FILES:
        (raw / name).write_bytes(b"no digits")
    datasets.LOADERS["mnist"](folder, 0)


def no_connection(folder: Path, patch: pytest.MonkeyPatch) -> None:
    class Unreachable:
        mirrors = ("https://example.org/",)

        def __init__(self, *_: object, **__: object) -> None:
            raise RuntimeError

    patch.setattr("torchvision.datasets.MNIST", Unreachable)
    datasets.LOADERS["mnist"](folder, 0)


def untrained(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(layout, "ROOT", folder)
    minima.load_minima(Repeat(TINY, 0), "quick")


def unmeasured(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(layout, "ROOT", folder)
    repeat = Repeat(TINY, 0)
    for group in train_models.training_groups([repeat], "quick"):
        train_models.train_group(group, train_models.initial_weights([repeat]), "quick")
    random_perturbs.load_crossings(repeat, minima.load_minima(repeat, "quick"), "quick")


def diverged(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(layout, "ROOT", folder)
    repeat = Repeat(replace(TINY, recipe=Recipe(epochs=200, lr=1e3)), 0)
    groups = train_models.training_groups([repeat], "quick")
    said = [train_models.train_group(group, train_models.initial_weights([repeat]), "quick") for group in groups]
    train_models.finish_training([repeat], "quick", [sentence for group in said for sentence in group])


def gathered_too_early(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(layout, "ROOT", folder)
    volume_estimation.gather_tables([Repeat(TINY, 0)], "quick")


def of_other_settings(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(layout, "ROOT", folder)
    for name in ("minima.json", "rays.json"):
        archives.write_json(layout.repeat_folder("quick", "tiny", 0) / name, {"0": HEADER, "16": HEADER})
    volume_estimation.gather_tables([Repeat(TINY, 0)], "quick")


def too_many_samples(run: cli.StageRun) -> None:
    interventions.more_data(DIGITS, 48, 5000, 0)


def two_batched_jobs(folder: Path, patch: pytest.MonkeyPatch) -> None:
    job = trainer.Job(models.initial_parameters("digits_mlp", 0), DIGITS.inputs[:4], DIGITS.targets[:4], 0)
    list(trainer.train(models.build_model("digits_mlp"), [job, job], Recipe(1, batch_size=2), cross_entropy))


SINGLE = partial(functional.cross_entropy, reduction="none")
DATA = (torch.eye(4)[:, :2], torch.tensor([0, 1, 0, 1]))


def measured(model: nn.Module | None = None, loss: Any = SINGLE, data: Any = DATA, **options: Any) -> Trigger:
    """The volume of a linear layer, with what is wrong about it."""

    def call(folder: Path, patch: pytest.MonkeyPatch) -> object:
        given = {"threshold": 9.0, "n_directions": 2} | options
        return __init__.measure_volume(model or nn.Linear(2, 2), loss, data, **given)

    return call


class Pair(nn.Linear):
    """Returns its outputs twice."""

    def forward(self, inputs: torch.Tensor) -> Any:
        return super().forward(inputs), super().forward(inputs)


class Keeping(nn.Linear):
    """Keeps what it computed last."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.last = super().forward(torch.ones(1, inputs))


class Switched(nn.Linear):
    """Doubles its outputs from the sixth call on, whichever copy is called."""

    calls = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        Switched.calls += 1
        return super().forward(inputs) * (1 if Switched.calls < 6 else 2)


def switched(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Switched, "calls", 0)
    measured(Switched(2, 2))(folder, patch)


def falling(folder: Path, patch: pytest.MonkeyPatch) -> None:
    flat = nn.Linear(2, 1)
    nn.init.zeros_(flat.weight)
    nn.init.zeros_(flat.bias)
    measured(flat, loss=lambda outputs, targets: 1 - (9 * outputs[:, 0]).clamp(-9, 9) ** 2)(folder, patch)


def data_in_a_file(folder: Path, patch: pytest.MonkeyPatch) -> None:
    (folder / "data").touch()
    datasets.LOADERS["mnist"](folder / "data", 0)


def wide(folder: Path, patch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(2, curvature.MOST_OUTPUTS + 1)
    found = parameters.parameters_of(model)
    minimum, samples = Minimum.of(found, parameters.layout_of(found)), Samples(*DATA, cross_entropy)
    curvature.gauss_newton_rows(model, minimum, samples)


class Above(ellipsoid.Ellipsoid):
    """An ellipsoid's loss lifted by 1."""

    def values(self, points: torch.Tensor) -> torch.Tensor:
        return 1 + super().values(points)


above = Above(np.ones(3))


def few_trials(*_: object) -> None:
    settings = elliptical.EllipticalSettings(replicas=2, chains=2, trials=2, burn=1, keep=2, rank=1, fits=0)
    elliptical.elliptical_slice_path(
        ellipsoid.Ellipsoid(np.geomspace(1, 1e6, 50)), 0.1, [1.0], seed=0, settings=settings
    )
