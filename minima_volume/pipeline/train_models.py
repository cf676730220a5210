"""Training the minima of a study and finding them again: the tasks of stage 1.

A minimum that is stored with the fingerprint of its settings is never trained again, so a run that was stopped goes on
where it was, and a changed setting retrains just the minima that depend on it.
"""

import math
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from minima_volume.errors import NumericsError
from minima_volume.networks.parameters import Parameters
from minima_volume.pipeline import cli, settings
from minima_volume.pipeline.checkpoint import Checkpoint
from minima_volume.pipeline.cost import print_estimate
from minima_volume.pipeline.minima import folder_of, load_failure, load_minimum, training_fingerprint
from minima_volume.pipeline.settings import device
from minima_volume.pipeline.study import Repeat
from minima_volume.storage import archives, layout
from minima_volume.training.models import initial_parameters
from minima_volume.training.trainer import Job, evaluate, train

ENSEMBLE_PARAMS = 20_000  # networks up to this size train faster side by side than one after the other


def training_groups(repeats: Sequence[Repeat], scale: str) -> list[list[tuple[Repeat, int]]]:
    """Groups of (repeat, level) that train together: one run's checkpoints, a small network's repeats, or one alone."""
    missing = [(r, level) for r in repeats for level in r.study.levels if load_minimum(r, scale, level) is None]
    if not missing:
        return []
    for repeat, level in missing:
        if (path := layout.minimum_path(folder_of(repeat, scale), level)).exists():
            print(f"{path} does not fit the study's present settings: training it again.", flush=True)
    study = missing[0][0].study
    if study.level_means == "epochs":
        return [group for r in repeats if (group := [pair for pair in missing if pair[0] is r])]
    n_params = sum(p.numel() for p in repeats[0].model.parameters())
    small = n_params <= ENSEMBLE_PARAMS and study.recipe.batch_size is None and study.level_means == "extra"
    # Largest first, so that no worker starts the longest job when the others are done.
    levels = sorted({level for _, level in missing}, reverse=True)
    # Networks side by side add in another order than one alone: the same company, whatever is stored, gives the same bits.
    if small:
        return [[(repeat, level) for repeat in repeats] for level in levels]
    return [[pair] for level in levels for pair in missing if pair[1] == level]


def train_group(group: Sequence[tuple[Repeat, int]], initial: dict[int, Parameters], scale: str) -> list[str]:
    """Train a group and store its minima; the sentences returned name those whose numbers went wrong.

    A group that was stopped goes on where it stood: its steps are those of one that was not.
    """
    repeat, study = group[0][0], group[0][0].study
    along = study.level_means == "epochs"  # the levels are epochs of one run
    networks = [(repeat, max(study.levels))] if along else group
    recipe = study.recipe_at(networks[0][1])
    jobs = [_job(own, study.n_train(level), initial) for own, level in networks]
    unfinished = _unfinished(networks, scale)
    start = unfinished.progress([level for _, level in group] if along else [recipe.epochs])
    said = []
    for epoch, found in train(
        repeat.model, jobs, recipe, repeat.criterion,
        checkpoints=study.levels if along else (), start=start, keep=unfinished.keep,
    ):  # fmt: skip
        seconds = unfinished.lap() / len(found)
        trained = [(repeat, epoch)] if along else group
        for (own, level), parameters in zip(trained, found, strict=True):
            said.append(_store(own, level, parameters, seconds, scale))
    unfinished.done()
    return [sentence for sentence in said if sentence]


def _unfinished(networks: Sequence[tuple[Repeat, int]], scale: str) -> Checkpoint:
    """Where the progress of networks that train together is kept."""
    (repeat, level), prints = networks[0], [training_fingerprint(*network) for network in networks]
    return Checkpoint(layout.checkpoint_path(folder_of(repeat, scale), level), archives.fingerprint(prints))


def _job(repeat: Repeat, n_train: int, initial: dict[int, Parameters]) -> Job:
    start = {name: tensor.to(device()) for name, tensor in initial[repeat.model_seed].items()}
    return Job(start, repeat.samples.inputs[:n_train], repeat.samples.targets[:n_train], repeat.model_seed)


def initial_weights(repeats: Sequence[Repeat]) -> dict[int, Parameters]:
    """Initial weights of every repeat by model seed; drawn here because torch's global generator is not thread-safe."""
    return {repeat.model_seed: initial_parameters(repeat.study.model, repeat.model_seed) for repeat in repeats}


def _store(repeat: Repeat, level: int, parameters: Parameters, seconds: float, scale: str) -> str | None:
    """Write a trained minimum with what it was trained on; a sentence instead if its losses are not numbers.

    A minimum that is stored already stays as it is.
    """
    if load_minimum(repeat, scale, level):
        return None
    n_train = repeat.study.n_train(level)
    samples, data = repeat.samples.part(0, n_train), repeat.dataset
    train_losses, train_errors = evaluate(repeat.model, parameters, samples.inputs, samples.targets, repeat.criterion)
    test_inputs, test_targets = data.test_inputs.to(device()), data.test_targets.to(device())
    test_losses, test_errors = evaluate(repeat.model, parameters, test_inputs, test_targets, repeat.criterion)
    info: dict[str, Any] = {
        "study": repeat.study.name, "data": data.name, "model": repeat.study.model, "repeat": repeat.number, "level": level,
        "n_train": n_train, "model_seed": repeat.model_seed, "data_seed": repeat.data_seed,
        "fingerprint": training_fingerprint(repeat, level), "seconds": round(seconds, 3),
        "train_loss": train_losses.double().mean().item(), "train_accuracy": 1 - train_errors.double().mean().item(),
        "test_loss": test_losses.double().mean().item(), "test_accuracy": 1 - test_errors.double().mean().item(),
    }  # fmt: skip
    info |= _unseen_accuracy(repeat, n_train, test_errors)
    failed = layout.failure_path(folder_of(repeat, scale), level)
    failed.unlink(missing_ok=True)
    if not math.isfinite(info["train_loss"]):
        said = (
            f"Expected a finite training loss in study {repeat.study.name}, level {level}, model seed {repeat.model_seed}, "
            f"data seed {repeat.data_seed}, got {info['train_loss']}: lower the learning rate in its recipe."
        )
        archives.write_json(failed, {"fingerprint": info["fingerprint"], "seconds": info["seconds"], "failed": said})
        return said
    tensors = {f"parameters.{name}": tensor.cpu() for name, tensor in parameters.items()}
    tensors |= {"indices": repeat.pool.indices[:n_train].clone(), "targets": repeat.pool.targets[:n_train].clone()}
    archives.write_tensors(layout.minimum_path(folder_of(repeat, scale), level), info, tensors)
    return None


def _unseen_accuracy(repeat: Repeat, n_train: int, test_errors: torch.Tensor) -> dict[str, float]:
    """Accuracy on test samples that were not trained on, where the test set is the whole table; else nothing."""
    if repeat.dataset.test_inputs is not repeat.dataset.inputs:
        return {}
    unseen = torch.ones(len(test_errors), dtype=torch.bool)
    unseen[repeat.pool.indices[:n_train]] = False
    return {"unseen_accuracy": 1 - test_errors[unseen].double().mean().item()}


def finish_training(repeats: Sequence[Repeat], scale: str, failures: Sequence[str]) -> None:
    """Write each repeat's list of minima with those that failed, and name these; NumericsError if nothing is left."""
    for repeat in repeats:
        found = {}
        for level in repeat.study.levels:
            content = load_minimum(repeat, scale, level)
            found[str(level)] = content[0] if content else load_failure(repeat, scale, level)
        if all(info is None or "failed" in info for info in found.values()):
            raise NumericsError("\n".join(failures))
        if None not in found.values():
            archives.write_json(folder_of(repeat, scale) / "minima.json", found)
    for sentence in failures:
        print(f"{sentence} The other minima go on.", file=sys.stderr, flush=True)


def train_models(run: cli.StageRun) -> None:
    """Data and recipe of each level -> minima/level_*.safetensors with what they were trained on."""
    groups = training_groups(run.repeats, run.scale)
    print_estimate(run.label, run.repeats, [pair for group in groups for pair in group], settings.workers())
    initial = initial_weights(run.repeats)
    said = run.each([partial(train_group, group, initial, run.scale) for group in groups], "groups")
    finish_training(run.repeats, run.scale, [sentence for group in said for sentence in group])
