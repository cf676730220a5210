"""Somebody's model with its loss and data: checked on a private copy, and evaluated in the precision that it needs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from minima_volume.errors import DataError, UserError, is_memory_error
from minima_volume.networks import adapters, reads
from minima_volume.networks import model_checks as checks
from minima_volume.networks.float64 import evaluation
from minima_volume.networks.losses import Criterion, Metric, kl_divergence, zero_one_loss
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.objective import (
    Closure,
    ClosureObjective,
    DataObjective,
    SampleObjective,
    as_tensor,
    fresh_tensors,
)
from minima_volume.networks.private_copy import PrivateCopy

# Numbers in the widest result of one forward pass: larger tiles gain nothing.
TILE_NUMBERS = 2**24
# Bytes of a float64 number, and tensors of that width that a forward pass holds at a time.
BYTES, WIDE_TENSORS = 8, 4
# Float32 scans a landscape if its mean at the minimum is this close to that of float64, as a share of the threshold.
FLOAT32_SHARE = 0.01


@dataclass(frozen=True)
class UserModel:
    """Somebody's model with its loss and data.

    Attributes:
        model: The model itself.
        objective: What the landscape averages.
        samples: Inputs and targets if they are tensors of equal shapes, for fast evaluations; else None.
        loss: Mean loss or divergence at the minimum, or error rate for an accuracy, in float64.
        dtype: Precision of the scan along rays.
        final_dtype: Precision in which radii are finished.
        notes: What a reader of the result has to know.
    """

    model: nn.Module
    objective: DataObjective
    samples: Samples | None
    loss: float
    dtype: torch.dtype
    final_dtype: torch.dtype
    notes: tuple[str, ...] = ()

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return next(self.model.parameters()).device


@torch.no_grad()
def check_user_model(
    model: nn.Module,
    loss_fn: adapters.LossFunction | None,
    data: adapters.Data,
    minimum: Minimum,
    *,
    metric: Metric = "loss",
    threshold: float,
    memory: int,
    shuffle: bool = True,
) -> UserModel:
    """Check on a private copy that a model, its loss and its data can be measured.

    Args:
        model: Trained network.
        loss_fn: (outputs, targets) -> losses, a torch loss module, or a closure (model, batch) -> losses.
        data: The data.
        minimum: The model's parameters and those that move.
        metric: What bounds the basin.
        threshold: The smallest threshold, to which float32 is compared.
        memory: Bytes that activations may take; data may take as much.
        shuffle: Whether samples are brought into a random order, so that the first ones are like the others. Nested
            landscapes need the caller's order.

    Returns:
        The model with its objective.

    Raises:
        UserError: The model is not a deterministic function of each sample, does not read a parameter that moves, or reads
            its parameters other than through the module; the loss is negative or not one number per sample.
        DataError: There are no samples, or the data do not fit the loss.
        NumericsError: Some losses are not finite.
    """
    device = next(iter(minimum.parameters.values())).device
    wide = any(minimum.parameters[name].dtype == torch.float64 for name, _ in minimum.layout.shapes)
    checks.check_mode(model)
    copy = PrivateCopy(model, device, torch.float64 if wide else torch.float32)
    objective, samples = _objective(loss_fn, adapters.read_batches(data, device, memory), copy, metric, shuffle)
    objective, first, seen = _first_pass(objective, copy, metric, memory)
    checks.check_reads(model, copy, seen, minimum)
    checks.check_losses(first, metric)
    other = replace(objective, tile=_other_tile(objective)) if isinstance(objective, SampleObjective) else objective
    checks.check_repeats(first, checks.call(lambda: checks.all_losses(other, copy, metric)))
    if samples is not None and isinstance(loss_fn, nn.Module) and getattr(loss_fn, "reduction", None) == "mean":
        checks.check_mean(objective, samples, loss_fn, copy)
    notes = [*checks.notes_on(minimum, objective, samples, loss_fn), *checks.note_on_outsiders(model, copy, seen)]
    final, exact = _in_float64(objective, copy, metric, notes)
    checks.check_cache(model, objective, copy, minimum, metric)
    loss, rough = float(exact.mean()), float(first.double().mean())
    if abs(rough - loss) > FLOAT32_SHARE * threshold:
        wide = final == torch.float64
    return UserModel(model, objective, samples, loss, torch.float64 if wide else torch.float32, final, tuple(notes))


# --- loss and data ----------------------------------------------------------------------------------------------------


def _objective(
    loss_fn: adapters.LossFunction | None, batches: Any, copy: PrivateCopy, metric: Metric, shuffle: bool
) -> tuple[DataObjective, Samples | None]:
    """Return what is averaged, and the samples if they are pairs of tensors of equal shapes."""
    pairs = adapters.as_pairs(batches)
    closure = _as_closure(loss_fn, copy, batches, pairs) if metric == "loss" else None
    if closure is not None:
        return ClosureObjective(closure, batches), None
    if pairs is None:
        first = next(iter(batches))
        parts = f" of {', '.join(type(part).__name__ for part in first)}" if isinstance(first, tuple | list) else ""
        raise DataError(
            f"Expected (inputs, targets) as two tensors, got {type(first).__name__}{parts}: map the loader to such pairs, "
            "or pass a closure (model, batch) -> losses."
        )
    joined = adapters.join_pairs(pairs)
    targets = joined[1] if joined else torch.cat([targets.flatten() for _, targets in pairs])
    n_samples = None if joined else sum(len(wanted) for _, wanted in pairs)
    criterion: Criterion = zero_one_loss if loss_fn is None else adapters.per_sample(loss_fn, targets, n_samples)
    if metric == "kl":
        before = copy.dtype
        copy.convert(torch.float64)
        pairs = [(inputs, _outputs(copy, inputs)) for inputs, _ in pairs]
        copy.convert(before)
        joined, criterion = adapters.join_pairs(pairs), adapters.per_sample(kl_divergence)
    if metric == "accuracy":
        for inputs, wanted in pairs:
            checks.check_classes(_outputs(copy, inputs), wanted)
    if joined is not None:
        samples = Samples(*joined, criterion)
        samples = samples.shuffled() if shuffle else samples
        return SampleObjective(samples, checks.CHECK_BATCH), samples

    def along(criterion: Criterion) -> Callable[[Any, Any], Tensor]:
        return lambda model, batch: criterion(as_tensor(model(batch[0]))[None], batch[1])[0]

    return ClosureObjective(along(criterion), pairs, errors=along(zero_one_loss)), None


def _as_closure(
    loss_fn: Any, copy: PrivateCopy, batches: Iterable[Any], pairs: list[tuple[Tensor, Tensor]] | None
) -> Closure | None:
    """Return a loss function as a closure of a model and a batch, or None if it takes tensors of outputs and targets."""
    if isinstance(loss_fn, nn.Module | type):
        return None
    if pairs is None:
        closure: Closure = loss_fn
        return closure
    few = tuple(part[:2] for part in pairs[0])

    def on_outputs(model: Any, batch: Any) -> Any:
        return loss_fn(model(batch[0]), batch[1])

    with evaluation(copy.dtype, grad=True):
        if _runs(lambda: on_outputs(copy.module, fresh_tensors(few, copy))):
            # Outputs that are not one tensor go to the loss function as they are.
            return None if isinstance(copy.module(fresh_tensors(few, copy)[0]), Tensor) else on_outputs
        whole = next(iter(batches))  # whose type and size the closure may count on
        return loss_fn if _runs(lambda: loss_fn(copy.module, fresh_tensors(whole, copy))) else None


def _runs(call: Callable[[], Any]) -> bool:
    """Return whether a call returns."""
    try:
        call()
    except Exception as error:  # somebody's code, called with arguments that it may not take
        if is_memory_error(error):
            raise
        return False
    return True


def _outputs(copy: PrivateCopy, inputs: Tensor) -> Tensor:
    """Return the outputs of a copy for all inputs."""
    objective = SampleObjective(Samples(inputs, inputs, zero_one_loss), checks.CHECK_BATCH)
    parts = inputs.split(checks.CHECK_BATCH)
    return torch.cat([checks.call(partial(objective.outputs, copy, part)) for part in parts])


def _tiled(objective: SampleObjective, copy: PrivateCopy, memory: int) -> SampleObjective:
    """Return an objective whose tiles fit the memory, from the widest result of two samples."""
    with reads.ReadRecorder() as seen, evaluation(copy.dtype, grad=objective.grad):
        objective.outputs(copy, objective.samples.inputs[:2])
    widest = max(1, seen.widest // 2)
    tile = min(TILE_NUMBERS, memory // (BYTES * WIDE_TENSORS)) // widest
    return replace(objective, tile=max(1, min(len(objective.samples), tile)))


def _other_tile(objective: SampleObjective) -> int:
    """Return another size of tiles, which gives the same losses unless the samples of a batch are mixed."""
    return max(1, min(checks.CHECK_BATCH, objective.tile, len(objective.samples)) // 2)


def _first_pass(
    objective: DataObjective, copy: PrivateCopy, metric: Metric, memory: int
) -> tuple[DataObjective, Tensor, reads.ReadRecorder]:
    """Evaluate all samples once; gradients are enabled if the model asks for them."""

    def run(objective: DataObjective) -> tuple[DataObjective, Tensor, reads.ReadRecorder]:
        objective = (
            objective.counted(copy) if isinstance(objective, ClosureObjective) else _tiled(objective, copy, memory)
        )
        with reads.ReadRecorder() as seen:
            return objective, checks.all_losses(objective, copy, metric), seen

    try:
        return run(objective)
    except Exception as error:  # a model that differentiates inside asks for gradients; others fail again below
        asks = isinstance(error, RuntimeError) and "grad" in str(error)
    return checks.call(lambda: run(objective.with_gradients() if asks else objective))


def _in_float64(
    objective: DataObjective, copy: PrivateCopy, metric: Metric, notes: list[str]
) -> tuple[torch.dtype, Tensor]:
    """Return the precision that radii can be finished in, and the losses in it."""
    before = copy.dtype
    copy.convert(torch.float64)
    try:
        losses = checks.all_losses(objective, copy, metric)
    except Exception as error:  # somebody's code, which may insist on float32; the note says what it raised
        if is_memory_error(error):
            raise
        text = " ".join(str(error).split())
        notes.append(
            f"The model does not run in float64 ({type(error).__name__}: {text[:120]}), so radii are float32's."
        )
        copy.convert(before)
        return before, checks.all_losses(objective, copy, metric)
    return torch.float64, losses


def plain_module(model: Any) -> nn.Module:
    """Return a model without the wrapper of torch.compile.

    Raises:
        UserError: It is not a module, or a wrapped one.
    """
    model = getattr(model, "_orig_mod", model)
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel | torch.jit.ScriptModule):
        raise UserError(f"Expected a plain module, got {type(model).__name__}: pass the original module.")
    if not isinstance(model, nn.Module):
        what = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        advice = "load it into a model" if isinstance(model, Mapping) else "pass the trained module"
        raise UserError(f"Expected a torch module, got {what}: {advice}.")
    for name, part in model.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            raise UserError(f"Expected plain modules, got a scripted one in '{name}': pass the original module.")
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if isinstance(tensor, nn.Parameter) and tensor.layout != torch.strided:
            raise UserError(
                f"Expected dense parameters, got '{name}' in layout {tensor.layout}: call to_dense() on it."
            )
        if tensor.device.type == "meta":
            raise UserError(
                f"Expected parameters with numbers, got '{name}' on the meta device: load the weights first."
            )
    if any(isinstance(parameter, UninitializedParameter) for parameter in model.parameters()):
        raise UserError("Expected a trained model, got a lazy one that was never called: call it once on some inputs.")
    return model
