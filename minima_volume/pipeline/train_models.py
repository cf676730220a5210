"""Stage 1: train the minima of a study.

A minimum that is stored with the fingerprint of its settings is not trained again. An interrupted run continues where it
stopped, and a changed setting retrains only the minima that depend on it.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

from minima_volume.cluster.task import Task
from minima_volume.errors import NumericsError
from minima_volume.networks.parameters import Parameters
from minima_volume.pipeline import cli
from minima_volume.pipeline.checkpoint import Checkpoint, Paused, Progress, Stopwatch
from minima_volume.pipeline.cost import print_estimate
from minima_volume.pipeline.minima import folder_of, load_failure, load_minimum, training_fingerprint
from minima_volume.pipeline.repeat import Repeat
from minima_volume.storage import archives, layout
from minima_volume.training.models import initial_parameters
from minima_volume.training.recipe import Recipe
from minima_volume.training.trainer import Job, evaluate, train

ENSEMBLE_PARAMS = 20_000  # networks of at most this size train faster stacked than one after the other
# Repeats in a stack. The sums of a network depend in their last bits on how many others are in its stack, so the stack of a
# repeat follows from its number alone. Three, because the committed results of small networks have three repeats.
STACK = 3

Networks = list[tuple[Repeat, int]]  # repeats and levels


class Trained(NamedTuple):
    """What a part of a training comes to.

    Attributes:
        minima: Header and tensors of every minimum that it reached.
        progress: What the next part starts from, or None if there is none.
    """

    minima: list[tuple[dict[str, Any], dict[str, torch.Tensor]]]
    progress: Progress | None


@dataclass(frozen=True, kw_only=True)
class Group(Task[Trained]):
    """Networks that train together, for a minute at a time.

    Attributes:
        networks: What is trained.
        minima: What is stored of it: not the company of repeats that nobody asked for.
        scale: `quick` or `paper`.
        start: Where an earlier part of the training stopped, or None.
    """

    networks: Networks
    minima: Networks
    scale: str
    start: Progress | None = None

    @property
    def first(self) -> tuple[Repeat, int]:
        """The repeat and level whose folder has the checkpoint; its repeat is locked by this process."""
        return self.minima[0][0], self.networks[0][1]

    @property
    def name(self) -> str:
        """What the task is called in messages."""
        repeat, level = self.first
        return f"training of {repeat.study.name}, repeat {repeat.number}, level {level}"

    @property
    def one_run(self) -> bool:
        """Whether the minima are checkpoints of one run."""
        return self.first[0].study.level_means == "epochs"

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint, which is kept beside the first minimum to store."""
        repeat, level = self.first
        prints = [training_fingerprint(*network) for network in self.networks]
        return Checkpoint(layout.checkpoint_path(folder_of(repeat, self.scale), level), archives.fingerprint(prints))

    @property
    def recipe(self) -> Recipe:
        """How the networks are trained."""
        return self.first[0].study.recipe_at(self.networks[0][1])

    def resumed(self) -> "Group":
        """Return the group with what its checkpoint holds."""
        epochs = [level for _, level in self.minima] if self.one_run else [self.recipe.epochs]
        return replace(self, start=self.checkpoint.read(epochs))

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return self.first[0].device

    def compute(self, shared: None) -> Trained:
        """Train until the networks are trained, or for a minute."""
        repeat, recipe, start = self.first[0], self.recipe, self.start
        watch, found = Stopwatch(repeat.device, start.seconds if start else 0.0), Trained([], None)
        try:
            for epoch, trained in train(
                repeat.model, [_job(*network) for network in self.networks], recipe, repeat.criterion,
                checkpoints=repeat.study.levels if self.one_run else (),
                start=start.state.to(repeat.device) if start else None, keep=watch.pause,
            ):  # fmt: skip
                seconds = watch.lap() / (1 if self.one_run else len(self.minima))
                pairs = [(repeat, epoch)] if self.one_run else self.networks
                for (own, level), parameters in zip(pairs, trained, strict=True):
                    if any(own is kept and level == wanted for kept, wanted in self.minima):
                        found.minima.append(_content(own, level, parameters, seconds, epoch))
                if not self.one_run or epoch == recipe.epochs:
                    break
        except Paused as pause:
            return found._replace(progress=pause.progress)
        return found

    def write(self, result: Trained) -> "Group | None":
        """Store the minima, and the checkpoint if the training is not finished."""
        for content in result.minima:
            _store(*content, self.scale)
        if result.progress is None:
            self.checkpoint.remove()
            return None
        self.checkpoint.write(result.progress)
        return replace(self, start=result.progress)


def train_models(run: cli.StageRun) -> None:
    """Run stage 1: train every missing minimum, and write minima/level_*.safetensors and minima.json.

    Raises:
        NumericsError: No minimum of a repeat has a finite training loss.
    """
    groups = training_groups(run.repeats, run.scale)
    networks = [network for group in groups for network in group.networks]
    print_estimate(run.label, run.repeats, networks, run.engine)
    run.each([group.resumed() for group in groups], "groups")
    finish_training(run.repeats, run.scale)


def training_groups(repeats: Sequence[Repeat], scale: str) -> list[Group]:
    """Return what trains together, and print which stored minima are outdated.

    A group holds the checkpoints of one run, three repeats of a small network at one level, or a single minimum.
    """
    missing = [(r, level) for r in repeats for level in r.study.levels if load_minimum(r, scale, level) is None]
    if not missing:
        return []
    for repeat, level in missing:
        if (path := layout.minimum_path(folder_of(repeat, scale), level)).exists():
            print(f"{path} does not fit the study's present settings: training it again.", flush=True)
    study = missing[0][0].study
    if study.level_means == "epochs":
        parts = [[pair for pair in missing if pair[0] is r] for r in repeats]
        return [Group(networks=[(part[0][0], max(study.levels))], minima=part, scale=scale) for part in parts if part]
    # Largest first, so that no worker starts the longest job when the others are done.
    levels = sorted({level for _, level in missing}, reverse=True)
    if _stacks(repeats[0]):
        stacks = [_stack(repeats, first) for first in sorted({r.number // STACK * STACK for r, _ in missing})]
        groups = [
            Group(
                networks=[(r, level) for r in stack],
                minima=[(r, own) for r, own in missing if own == level and any(r is one for one in stack)],
                scale=scale,
            )
            for level in levels
            for stack in stacks
        ]
        return [group for group in groups if group.minima]
    return [
        Group(networks=[pair], minima=[pair], scale=scale) for level in levels for pair in missing if pair[1] == level
    ]


def _stacks(repeat: Repeat) -> bool:
    """Whether repeats of a study train together: its networks are small and take the same full-batch steps."""
    study, n_params = repeat.study, sum(parameter.numel() for parameter in repeat.model.parameters())
    same_steps = study.recipe.batch_size is None and study.recipe.stop_loss is None and study.level_means == "extra"
    return n_params <= ENSEMBLE_PARAMS and same_steps


def _stack(repeats: Sequence[Repeat], first: int) -> list[Repeat]:
    """Return the repeats of one stack: those that were asked for, and the others as their company."""
    asked = {repeat.number: repeat for repeat in repeats}
    return [asked.get(n) or replace(repeats[0], number=n) for n in range(first, first + STACK)]


def _job(repeat: Repeat, level: int) -> Job:
    """Return the training job of a level on its samples, the first ones of the pool."""
    n_train, seed = repeat.study.n_train(level), repeat.model_seed_at(level)
    drawn = initial_parameters(repeat.study.model, seed)
    start = {name: tensor.to(repeat.device) for name, tensor in drawn.items()}
    return Job(start, repeat.samples.inputs[:n_train], repeat.samples.targets[:n_train], seed)


def _content(
    repeat: Repeat, level: int, parameters: Parameters, seconds: float, epoch: int
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return header and tensors of a trained minimum."""
    n_train = repeat.study.n_train(level)
    samples, data = repeat.samples.part(0, n_train), repeat.dataset
    train_losses, train_errors = evaluate(repeat.model, parameters, samples.inputs, samples.targets, repeat.criterion)
    test_inputs, test_targets = data.test_inputs.to(repeat.device), data.test_targets.to(repeat.device)
    test_losses, test_errors = evaluate(repeat.model, parameters, test_inputs, test_targets, repeat.criterion)
    info: dict[str, Any] = {
        "study": repeat.study.name, "data": data.name, "model": repeat.study.model, "repeat": repeat.number, "level": level,
        "n_train": n_train, "model_seed": repeat.model_seed_at(level), "data_seed": repeat.data_seed,
        "fingerprint": training_fingerprint(repeat, level), "seconds": round(seconds, 3),
        "train_loss": train_losses.double().mean().item(), "train_accuracy": 1 - train_errors.double().mean().item(),
        "test_loss": test_losses.double().mean().item(), "test_accuracy": 1 - test_errors.double().mean().item(),
    }  # fmt: skip
    if repeat.study.recipe.stop_loss is not None:
        info["epochs"] = epoch
    info |= _unseen_accuracy(repeat, n_train, test_errors)
    tensors = {layout.parameter_key(name): tensor.cpu() for name, tensor in parameters.items()}
    tensors |= {"indices": repeat.pool.indices[:n_train].clone(), "targets": repeat.pool.targets[:n_train].clone()}
    return info, tensors


def _store(info: dict[str, Any], tensors: dict[str, torch.Tensor], scale: str) -> None:
    """Store a trained minimum, or why there is none if its training loss is not finite."""
    level, folder = info["level"], layout.repeat_folder(scale, info["study"], info["repeat"])
    failed = layout.failure_path(folder, level)
    failed.unlink(missing_ok=True)
    if math.isfinite(info["train_loss"]):
        archives.write_tensors(layout.minimum_path(folder, level), info, tensors)
        return
    sentence = (
        f"Expected a finite training loss in study {info['study']}, level {level}, model seed {info['model_seed']}, data "
        f"seed {info['data_seed']}, got {info['train_loss']}: lower the learning rate in its recipe."
    )
    archives.write_record(failed, {"fingerprint": info["fingerprint"], "seconds": info["seconds"], "failed": sentence})


def _unseen_accuracy(repeat: Repeat, n_train: int, test_errors: torch.Tensor) -> dict[str, float]:
    """Return the accuracy on samples outside the training set if the test set is the whole data set; else nothing."""
    if repeat.dataset.test_inputs is not repeat.dataset.inputs:
        return {}
    unseen = torch.ones(len(test_errors), dtype=torch.bool)
    unseen[repeat.pool.indices[:n_train]] = False
    return {"unseen_accuracy": 1 - test_errors[unseen].double().mean().item()}


def finish_training(repeats: Sequence[Repeat], scale: str) -> None:
    """Write minima.json of every repeat that is complete, and print a sentence for every minimum that diverged.

    Args:
        repeats: The repeats that were trained.
        scale: `quick` or `paper`.

    Raises:
        NumericsError: A repeat has no minimum at all.
    """
    failures = []
    for repeat in repeats:
        found = {}
        for level in repeat.study.levels:
            content = load_minimum(repeat, scale, level)
            found[str(level)] = content[0] if content else load_failure(repeat, scale, level)
        failures += [info["failed"] for info in found.values() if info is not None and "failed" in info]
        if all(info is None or "failed" in info for info in found.values()):
            raise NumericsError("\n".join(failures))
        if None not in found.values():
            archives.write_record(folder_of(repeat, scale) / layout.MINIMA_RECORD, found)
    for sentence in failures:
        print(f"{sentence} The other minima are measured.", file=sys.stderr, flush=True)
