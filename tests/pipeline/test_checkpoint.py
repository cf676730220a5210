"""Interrupted training that resumes from a checkpoint gives the same bits as uninterrupted training."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from minima_volume.networks.losses import CRITERIA
from minima_volume.networks.parameters import parameters_of
from minima_volume.pipeline import checkpoint
from minima_volume.pipeline.study import Study
from minima_volume.storage import archives
from minima_volume.training.models import mlp
from minima_volume.training.recipe import Recipe
from minima_volume.training.trainer import Job, TrainingState, train
from tests.study_runs import TINY, Stages, run

GROKKING = replace(
    TINY, intervention="data", level_means="epochs", levels=(20, 50, 80), landscapes="base", thresholds=(1.0,),
    n_directions=2,
)  # fmt: skip


def conv() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))


@pytest.mark.parametrize("build", [lambda: mlp(16, 8, 3), conv], ids=["dense", "conv"])
@pytest.mark.parametrize(
    "recipe",
    [Recipe(9), Recipe(9, batch_size=5), Recipe(9, sam_rho=0.05), Recipe(9, sam_rho=0.05, sam_adaptive=True, batch_size=5)],
    ids=["full batch", "mini-batches", "SAM", "adaptive SAM in mini-batches"],
)  # fmt: skip
def test_training_continues_with_the_same_steps(build: Callable[[], nn.Module], recipe: Recipe) -> None:
    torch.manual_seed(0)
    model, inputs, targets = build(), torch.randn(12, 1, 4, 4), torch.randint(3, (12,))
    inputs = inputs.flatten(1) if isinstance(model[0], nn.Linear) else inputs
    jobs = [Job(parameters_of(model), inputs, targets, seed) for seed in ((0,) if recipe.batch_size else (0, 1))]
    kept: dict[int, TrainingState] = {}

    def keep(progress: TrainingState) -> None:
        moments = {name: tensor.clone() for name, tensor in progress.moments.items()}
        kept[progress.epoch] = TrainingState(progress.epoch, progress.flat.clone(), moments)

    criterion = CRITERIA["cross_entropy"]
    whole = list(train(model, jobs, recipe, criterion, checkpoints=(3, 6), keep=keep))
    later = list(train(model, jobs, recipe, criterion, checkpoints=(3, 6), start=kept[4]))
    assert [epoch for epoch, _ in later] == [6, 9]
    for (_, found), (_, wanted) in zip(later, whole[1:], strict=True):
        for own, other in zip(found, wanted, strict=True):
            assert all(torch.equal(own[name], other[name]) for name in other)
    assert not torch.equal(kept[4].flat, kept[9].flat)


class Stopped(Exception):
    """Raised in place of a kill."""


@pytest.fixture
def every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)


def stop_after(epoch: int, patch: pytest.MonkeyPatch) -> None:
    """Stop the training once an epoch is in the checkpoint."""
    write = checkpoint.Checkpoint.write

    def until(self: checkpoint.Checkpoint, progress: checkpoint.Progress) -> None:
        write(self, progress)
        if progress.state.epoch == epoch:
            raise Stopped

    patch.setattr(checkpoint.Checkpoint, "write", until)


def trained(stages: Stages, root: Path, study: Study, *, stop: int | None = None) -> tuple[Path, int]:
    """Train the first repeat of a study, killed after epoch `stop` if given; return its minima and the number of pauses."""
    epochs: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        if stop is not None:
            stop_after(stop, patch)
        write = checkpoint.Checkpoint.write
        patch.setattr(checkpoint.Checkpoint, "write", lambda self, at: (epochs.append(at.state.epoch), write(self, at)))
        with pytest.raises(SystemExit) if stop else nullcontext():
            run(stages, root, study, repeats=(0,), THREADS="1")
    return root / "paper" / "tiny" / "repeat_0" / "minima", len(epochs)


def minima(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {path.name: archives.read_tensors(path)[1] for path in sorted(folder.glob("*.safetensors"))}


def alike(one: dict[str, dict[str, torch.Tensor]], other: dict[str, dict[str, torch.Tensor]]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[a][b], other[a][b]) for a in one for b in one[a])


@pytest.mark.usefixtures("every_epoch")
@pytest.mark.parametrize(
    ("study", "stop", "left", "epochs"),
    [
        (replace(TINY, levels=(0,)), 30, ["level_0.unfinished.safetensors"], 49),
        (GROKKING, 30, ["level_20.safetensors", "level_80.unfinished.safetensors"], 49),
    ],
    ids=["one minimum", "checkpoints of one run"],
)
def test_killed_training_resumes(
    study: Study, stop: int, left: list[str], epochs: int, stages: Stages, tmp_path: Path
) -> None:
    wanted, n_all = trained(stages, tmp_path / "whole", study)
    assert n_all == 79  # after every epoch but the last
    killed, _ = trained(stages, tmp_path / "killed", study, stop=stop)
    assert sorted(path.name for path in killed.glob("*.safetensors")) == left
    again, n_later = trained(stages, tmp_path / "killed", study)
    assert n_later == epochs and alike(minima(again), minima(wanted))
    assert not list(again.glob("*unfinished*"))


@pytest.mark.usefixtures("every_epoch")
@pytest.mark.parametrize("how", ["another recipe", "damaged", "a checkpoint is gone"])
def test_a_checkpoint_that_does_not_fit_is_ignored(how: str, stages: Stages, tmp_path: Path) -> None:
    folder, _ = trained(stages, tmp_path, GROKKING, stop=30)
    (path,) = folder.glob("*unfinished*")
    study = GROKKING
    if how == "another recipe":
        study = replace(study, recipe=replace(study.recipe, lr=1e-3))
    elif how == "damaged":
        path.write_bytes(path.read_bytes()[:-50])
    else:
        (folder / "level_20.safetensors").unlink()
    wanted, _ = trained(stages, tmp_path / "whole", study)
    again, epochs = trained(stages, tmp_path, study)
    assert epochs == 79 and alike(minima(again), minima(wanted))


@pytest.mark.usefixtures("every_epoch")
def test_seconds_before_a_stop_are_counted(stages: Stages, tmp_path: Path) -> None:
    folder, _ = trained(stages, tmp_path, replace(TINY, levels=(0,)), stop=30)
    (path,) = folder.glob("*unfinished*")
    info, tensors = archives.read_tensors(path)
    archives.write_tensors(path, info | {"seconds": 1000.0}, tensors)
    folder, _ = trained(stages, tmp_path, replace(TINY, levels=(0,)))
    assert 1000 < archives.read_tensors(folder / "level_0.safetensors")[0]["seconds"] < 1100


def test_short_training_writes_no_checkpoint(stages: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    write = archives.write_tensors
    monkeypatch.setattr(archives, "write_tensors", lambda path, *rest: (written.append(path), write(path, *rest)))
    trained(stages, tmp_path, replace(TINY, levels=(0,)))
    assert [path.name for path in written] == [
        "level_0.safetensors"
    ]  # training takes seconds, and checkpoints are written once a minute
