"""Checks of somebody's model at its minimum, on a private copy: each raises a sentence that says what to do."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from minima_volume.errors import NumericsError, UserError, is_memory_error
from minima_volume.networks import adapters, reads
from minima_volume.networks.directions import draw_directions
from minima_volume.networks.losses import Kind, Metric
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.objective import ClosureObjective, Objective, SampleObjective
from minima_volume.networks.private_copy import PrivateCopy

# Samples in one forward pass of the checks.
CHECK_BATCH = 256
# Where copies are compared, the first at which the model runs: far enough that every parameter counts, close enough that
# losses stay finite.
PROBES = (0.05, 1e-3, 1e-5)


def all_losses(objective: Objective, copy: PrivateCopy, metric: Metric) -> Tensor:
    """Return the losses of all samples (N,); errors for an accuracy."""
    kind: Kind = "error_rate" if metric == "accuracy" else "loss"
    return torch.cat(list(objective.losses(copy, [objective.n_samples], kind))).cpu()


def call(function: Callable[[], Any]) -> Any:
    """Call somebody's code, whose errors at the minimum become a sentence."""
    try:
        return function()
    except UserError:
        raise
    except Exception as error:  # somebody's code may raise anything: its words become part of the sentence
        if is_memory_error(error):
            raise
        text = " ".join(str(error).split()) or "no message"
        raise UserError(
            f"Expected a model and a loss that run on the data, got {type(error).__name__}: {text[:300]}: check that "
            "loss_fn(model(inputs), targets), or closure(model, batch), runs."
        ) from error


def check_mode(model: nn.Module) -> None:
    """Raise UserError for a model whose layers mix the samples of a batch."""
    training = [name for name, part in model.named_modules() if part.training and hasattr(part, "running_mean")]
    if training:
        raise UserError(
            f"Expected a model in evaluation mode, got '{training[0]}' in training mode: call model.eval()."
        )


def check_reads(model: nn.Module, copy: PrivateCopy, seen: reads.ReadRecorder, minimum: Minimum) -> None:
    """Raise UserError unless the parameters that move, and no others, decide the losses."""
    named = dict(copy.module.named_parameters())
    outside = [name for name, tensor in model.named_parameters() if seen.saw(tensor)]
    stale = [tensor for tensor in reads.loose_tensors(model) if seen.saw(tensor)]
    if outside or stale:
        what = f"the parameter '{outside[0]}'" if outside else f"a tensor {tuple(stale[0].shape)}"
        raise UserError(
            f"Expected a loss that depends on the model only through its arguments, got one that reads {what} of the model "
            "that was passed: write it as a closure (model, batch) -> losses that uses its own `model`, and no reference to "
            "the model inside forward but self."
        )
    hidden = [tensor for tensor in reads.loose_tensors(copy.module) if tensor.requires_grad and seen.saw(tensor)]
    if hidden:
        raise UserError(
            f"Expected all trainable tensors in model.parameters(), got one shaped {tuple(hidden[0].shape)} that the model "
            "reads but does not list: register it with nn.Parameter, nn.ParameterList or nn.ModuleList."
        )
    unread = seen.unread({name: named[name] for name, _ in minimum.layout.shapes})
    if unread:
        count = sum(named[name].numel() for name in unread)
        raise UserError(
            f"Expected the model to read every parameter that moves, got {len(unread)} ({count:,} numbers) that it does "
            f"not, '{unread[0]}' first: leave out unused ones with only=…, and remove caches of weights."
        )


def note_on_outsiders(model: nn.Module, copy: PrivateCopy, seen: reads.ReadRecorder) -> list[str]:
    """Return a note on parameters with gradients that are read, but belong to no part of the model."""
    own = {reads.storage_of(tensor) for part in (model, copy.module) for tensor in part.parameters()}
    outside = [shape for storage, shape in seen.trainable.items() if storage not in own]
    if not outside:
        return []
    return [
        f"The loss reads {len(outside)} parameters with gradients that the model does not hold, shaped {outside[0]} first. "
        "They stay as they are: make their layer an attribute of the model if it should move."
    ]


def check_losses(losses: Tensor, metric: Metric) -> None:
    """Raise an error unless losses are finite and at least 0 on average."""
    if not losses.isfinite().all():
        raise NumericsError(
            f"Expected finite losses at the minimum, got {int((~losses.isfinite()).sum())} of {len(losses)} that are NaN or "
            "infinite: check the inputs, the targets and the weights."
        )
    if losses.mean() < 0 and metric == "loss":
        raise UserError(
            f"Expected a mean loss of at least 0, got {float(losses.mean()):.4g}: add a constant to loss and threshold."
        )


def check_repeats(first: Tensor, again: Tensor) -> None:
    """Raise UserError unless the losses came out twice."""
    if len(first) == len(again) and torch.allclose(first, again, rtol=1e-3, atol=1e-5):
        return
    worst = int((first - again).abs().argmax()) if len(first) == len(again) else 0
    raise UserError(
        f"Expected the same loss twice, got {float(first[worst]):.6g} and {float(again[worst]):.6g} for sample {worst}: "
        "call model.eval() if the model is random or mixes the samples of a batch, give outputs and targets the same shape, "
        "and pass a loader that returns the same batches each time."
    )


def check_mean(objective: Objective, samples: Samples, loss_fn: nn.Module, copy: PrivateCopy) -> None:
    """Raise UserError if a loss module does not return the mean of the losses per sample on the first samples."""
    part = samples.part(0, CHECK_BATCH)
    outputs = SampleObjective(part, CHECK_BATCH, objective.grad).outputs(copy, part.inputs)
    wanted = part.targets.to(outputs.dtype) if part.targets.is_floating_point() else part.targets
    returned = call(lambda: adapters.as_returned(loss_fn, outputs, wanted))
    criterion = adapters.per_sample(loss_fn, part.targets)
    mean = call(lambda: criterion(outputs[None], part.targets).mean())
    if not torch.allclose(returned, mean, rtol=1e-3, atol=1e-6, equal_nan=True):
        raise UserError(
            f"Expected the loss {float(returned):.6g} to be the mean of the samples' losses, got {float(mean):.6g}: pass a "
            "loss with reduction='none'."
        )


def check_classes(outputs: Tensor, targets: Tensor) -> None:
    """Raise UserError unless outputs are scores of classes and targets are class numbers."""
    if outputs.ndim != 2 or targets.ndim != 1 or (targets != targets.long()).any():
        raise UserError(
            f"Expected scores (N, classes) and whole class numbers (N,) for an accuracy, got outputs {tuple(outputs.shape)} "
            f"and {targets.dtype} targets {tuple(targets.shape)}: reshape them."
        )
    classes = max(2, outputs.shape[1])
    if targets.min() < 0 or targets.max() >= classes:
        raise UserError(
            f"Expected class numbers 0 to {classes - 1} for an accuracy, got {int(targets.min())} to {int(targets.max())}: "
            "renumber them, and leave out samples without a class."
        )
    if outputs.shape[1] == 1 and ((outputs >= 0) & (outputs <= 1)).all():
        raise UserError("Expected logits, above 0 for class 1, got only numbers between 0 and 1: remove the sigmoid.")


def check_cache(model: nn.Module, objective: Objective, used: PrivateCopy, minimum: Minimum, metric: Metric) -> None:
    """Raise UserError if the losses of a copy depend on what was evaluated before.

    Three evaluations are compared at one point: of a copy that was used elsewhere, of a fresh one, and of that one again.
    Two batches of samples show a cache as well as all do.
    """
    if isinstance(objective, SampleObjective):
        few = objective.samples.part(0, 2 * CHECK_BATCH)
        objective = replace(objective, samples=few, tile=min(objective.tile, CHECK_BATCH))
    direction = draw_directions(0, [0], minimum.layout.n_params)[0]

    def evaluate(c: float) -> list[Tensor]:
        found = []
        for renewed in (False, True, False):
            if renewed:
                used.renew(model)
            used.move(minimum, direction, c)
            _check_counts(objective, used)
            found.append(all_losses(objective, used, metric))
        return found

    for c in PROBES:
        try:
            found = evaluate(c)
            break
        except UserError:
            raise
        except Exception as error:  # this far from the minimum the model need not run, so a nearer point is tried
            if is_memory_error(error):
                raise
    else:
        return
    if not all(torch.allclose(found[1], losses, rtol=1e-6, equal_nan=True) for losses in found):
        raise UserError(
            "Expected a model that computes everything anew, got one whose losses depend on earlier calls: remove caches of "
            "weights or outputs, random numbers, and state that changes in evaluation mode."
        )


def _check_counts(objective: Objective, moved: PrivateCopy) -> None:
    """Raise UserError if the samples or weights of a closure depend on the model."""
    if not isinstance(objective, ClosureObjective):
        return
    there = objective.counted(moved)
    if there.n_samples != objective.n_samples or not math.isclose(there.scale, objective.scale, rel_tol=1e-6):
        raise UserError(
            "Expected a closure whose samples and weights do not depend on the model, got others at another point: keep all "
            "samples, and take weights from the batch."
        )


def notes_on(minimum: Minimum, objective: Objective, samples: Samples | None, loss_fn: Any) -> list[str]:
    """Return what a reader of the result has to know about a model and its data."""
    notes = []
    still = int((minimum.scales == 0).sum())
    if still:
        notes.append(
            f"{still:,} of {minimum.layout.n_params:,} parameters lie in filters of norm 0 and cannot move; they count in n."
        )
    leaves_out = isinstance(loss_fn, adapters.WEIGHING) and loss_fn.reduction == "mean"
    plain = not leaves_out and samples is not None and not samples.targets.is_floating_point()
    ignored = int((samples.targets == -100).sum()) if plain and samples is not None else 0
    if ignored and samples is not None:
        notes.append(
            f"{ignored:,} of {samples.targets.numel():,} targets are -100, and count in the mean as the loss function "
            "returns them: pass nn.CrossEntropyLoss(), or a closure with weights, to leave them out."
        )
    pairs = objective.batches if isinstance(objective, ClosureObjective) and objective.errors is not None else ()
    if len({targets.shape[1:] for _, targets in pairs}) > 1 and not isinstance(loss_fn, adapters.WEIGHING):
        notes.append("Batches have targets of different shapes: every sample counts the same, however many it has.")
    return notes
