"""Stage 1: train the minima of a study.

A minimum that is stored with the fingerprint of its settings is not trained again. An interrupted run continues where it
stopped, and a changed setting retrains only the minima that depend on it.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from minima_volume.errors import NumericsError
from minima_volume.networks.parameters import Parameters
from minima_volume.pipeline import cli
from minima_volume.pipeline.checkpoint import Checkpoint
from minima_volume.pipeline.cost import print_estimate
from minima_volume.pipeline.minima import folder_of, load_failure, load_minimum, training_fingerprint
from minima_volume.pipeline.study import Repeat
from minima_volume.storage import archives, layout
from minima_volume.training.models import initial_parameters
from minima_volume.training.trainer import Job, evaluate, train

ENSEMBLE_PARAMS = 20_000  # networks of at most this size train faster stacked than one after the other
# Repeats in a stack. The sums of a network depend in their last bits on how many others are in its stack, so the stack of a
# repeat follows from its number alone. Three, because the committed results of small networks have three repeats.
STACK = 3

Networks = list[tuple[Repeat, int]]  # repeats and levels


@dataclass(frozen=True)
class Group:
    """Networks that train together.

    Attributes:
        networks: What is trained.
        minima: What is stored of it: not the company of repeats that nobody asked for.
    """

    networks: Networks
    minima: Networks

    @property
    def first(self) -> tuple[Repeat, int]:
        """The repeat and level whose folder has the checkpoint; its repeat is locked by this process."""
        return self.minima[0][0], self.networks[0][1]


def train_models(run: cli.StageRun) -> None:
    """Run stage 1: train every missing minimum, and write minima/level_*.safetensors and minima.json.

    Raises:
        NumericsError: No minimum of a repeat has a finite training loss.
    """
    groups = training_groups(run.repeats, run.scale)
    networks = [network for group in groups for network in group.networks]
    print_estimate(run.label, run.repeats, networks, run.settings.workers)
    initial = initial_weights(networks)
    failures = run.each([partial(train_group, group, initial, run.scale) for group in groups], "groups")
    finish_training(run.repeats, run.scale, [sentence for group in failures for sentence in group])


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
        return [Group([(part[0][0], max(study.levels))], part) for part in parts if part]
    # Largest first, so that no worker starts the longest job when the others are done.
    levels = sorted({level for _, level in missing}, reverse=True)
    if _stacks(repeats[0]):
        stacks = [_stack(repeats, first) for first in sorted({r.number // STACK * STACK for r, _ in missing})]
        groups = [
            Group(
                [(r, level) for r in stack],
                [(r, own) for r, own in missing if own == level and any(r is one for one in stack)],
            )
            for level in levels
            for stack in stacks
        ]
        return [group for group in groups if group.minima]
    return [Group([pair], [pair]) for level in levels for pair in missing if pair[1] == level]


def _stacks(repeat: Repeat) -> bool:
    """Whether repeats of a study train together: its networks are small and take the same full-batch steps."""
    study, n_params = repeat.study, sum(parameter.numel() for parameter in repeat.model.parameters())
    same_steps = study.recipe.batch_size is None and study.recipe.stop_loss is None and study.level_means == "extra"
    return n_params <= ENSEMBLE_PARAMS and same_steps


def _stack(repeats: Sequence[Repeat], first: int) -> list[Repeat]:
    """Return the repeats of one stack: those that were asked for, and the others as their company."""
    asked = {repeat.number: repeat for repeat in repeats}
    return [asked.get(n) or replace(repeats[0], number=n) for n in range(first, first + STACK)]


def train_group(group: Group, initial: dict[int, Parameters], scale: str) -> list[str]:
    """Train a group from its checkpoint, if there is one, and store its minima.

    Args:
        group: What trains together.
        initial: Initial weights by model seed.
        scale: `quick` or `paper`.

    Returns:
        One sentence for every minimum whose training loss is not finite.
    """
    repeat, study = group.first[0], group.first[0].study
    one_run = study.level_means == "epochs"
    recipe = study.recipe_at(group.networks[0][1])
    jobs = [_job(own, level, initial) for own, level in group.networks]
    checkpoint = _checkpoint(group, scale)
    start = checkpoint.progress([level for _, level in group.minima] if one_run else [recipe.epochs])
    failures = []
    for epoch, trained in train(
        repeat.model, jobs, recipe, repeat.criterion,
        checkpoints=study.levels if one_run else (), start=start, keep=checkpoint.keep,
    ):  # fmt: skip
        seconds = checkpoint.lap() / (1 if one_run else len(group.minima))
        pairs = [(repeat, epoch)] if one_run else group.networks
        for (own, level), parameters in zip(pairs, trained, strict=True):
            if any(own is kept for kept, _ in group.minima):
                failures.append(_store(own, level, parameters, seconds, scale, epoch))
    checkpoint.done()
    return [sentence for sentence in failures if sentence]


def _checkpoint(group: Group, scale: str) -> Checkpoint:
    """Return the checkpoint of networks that train together; it is kept beside the first minimum to store."""
    repeat, level = group.first
    prints = [training_fingerprint(*network) for network in group.networks]
    path = layout.checkpoint_path(folder_of(repeat, scale), level)
    return Checkpoint(path, archives.fingerprint(prints), repeat.device)


def _job(repeat: Repeat, level: int, initial: dict[int, Parameters]) -> Job:
    """Return the training job of a level on its samples, the first ones of the pool."""
    n_train, seed = repeat.study.n_train(level), repeat.model_seed_at(level)
    start = {name: tensor.to(repeat.device) for name, tensor in initial[seed].items()}
    return Job(start, repeat.samples.inputs[:n_train], repeat.samples.targets[:n_train], seed)


def initial_weights(networks: Networks) -> dict[int, Parameters]:
    """Return the initial weights of networks by model seed.

    Call it before the workers start: torch's global generator is not thread-safe.
    """
    seeds = {repeat.model_seed_at(level) for repeat, level in networks}
    return {seed: initial_parameters(networks[0][0].study.model, seed) for seed in sorted(seeds)}


def _store(repeat: Repeat, level: int, parameters: Parameters, seconds: float, scale: str, epoch: int) -> str | None:
    """Store a trained minimum that is not stored yet; return a sentence instead if its training loss is not finite."""
    if load_minimum(repeat, scale, level):
        return None
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
    failed = layout.failure_path(folder_of(repeat, scale), level)
    failed.unlink(missing_ok=True)
    if not math.isfinite(info["train_loss"]):
        sentence = (
            f"Expected a finite training loss in study {repeat.study.name}, level {level}, model seed "
            f"{info['model_seed']}, data seed {repeat.data_seed}, got {info['train_loss']}: lower the learning rate in its "
            "recipe."
        )
        archives.write_record(
            failed, {"fingerprint": info["fingerprint"], "seconds": info["seconds"], "failed": sentence}
        )
        return sentence
    tensors = {layout.parameter_key(name): tensor.cpu() for name, tensor in parameters.items()}
    tensors |= {"indices": repeat.pool.indices[:n_train].clone(), "targets": repeat.pool.targets[:n_train].clone()}
    archives.write_tensors(layout.minimum_path(folder_of(repeat, scale), level), info, tensors)
    return None


def _unseen_accuracy(repeat: Repeat, n_train: int, test_errors: torch.Tensor) -> dict[str, float]:
    """Return the accuracy on samples outside the training set if the test set is the whole data set; else nothing."""
    if repeat.dataset.test_inputs is not repeat.dataset.inputs:
        return {}
    unseen = torch.ones(len(test_errors), dtype=torch.bool)
    unseen[repeat.pool.indices[:n_train]] = False
    return {"unseen_accuracy": 1 - test_errors[unseen].double().mean().item()}


def finish_training(repeats: Sequence[Repeat], scale: str, failures: Sequence[str]) -> None:
    """Write minima.json of every repeat that is complete, and print the failures.

    Args:
        repeats: The repeats that were trained.
        scale: `quick` or `paper`.
        failures: One sentence for every minimum that diverged.

    Raises:
        NumericsError: A repeat has no minimum at all.
    """
    for repeat in repeats:
        found = {}
        for level in repeat.study.levels:
            content = load_minimum(repeat, scale, level)
            found[str(level)] = content[0] if content else load_failure(repeat, scale, level)
        if all(info is None or "failed" in info for info in found.values()):
            raise NumericsError("\n".join(failures))
        if None not in found.values():
            archives.write_record(folder_of(repeat, scale) / layout.MINIMA_RECORD, found)
    for sentence in failures:
        print(f"{sentence} The other minima are measured.", file=sys.stderr, flush=True)
