"""A user's model, loss function and data as the engine wants them: repeatable, one value per sample, tensors held whole."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from minima_volume.errors import DataError, NumericsError, UserError
from minima_volume.networks.losses import Criterion
from minima_volume.networks.minimum import Samples
from minima_volume.networks.precision import copy_model, to_float64

# One network's outputs (N, …) and targets (N, …) -> values (N,) or (N, …); or a torch loss module that averages them.
LossFunction = Callable[[Any, Any], Tensor]
Data = tuple[Tensor, Tensor] | Iterable[Any]
# Samples in one forward pass of the checks.
CHUNK = 256


def per_sample(loss_fn: LossFunction) -> Criterion:
    """The engine's criterion (rays, N, …), (N, …) -> (rays, N) of a loss on one network's outputs.

    A loss module that averages, such as `nn.CrossEntropyLoss()`, is copied with `reduction="none"`; values with further
    axes, such as one per token, are averaged over them. Raises UserError for other reductions, such as "sum", and for
    functions that return a scalar.
    """
    single = _unreduced(loss_fn)

    def criterion(outputs: Tensor, targets: Tensor) -> Tensor:
        wanted = targets.to(outputs.dtype) if targets.is_floating_point() else targets
        # Samples do not mix, so those of all rays go through the loss at once.
        repeated = wanted.expand(len(outputs), *wanted.shape).flatten(0, 1)
        return _values(single, outputs.flatten(0, 1), repeated).view(outputs.shape[:2])

    return criterion


def _unreduced(loss_fn: LossFunction) -> LossFunction:
    if not isinstance(loss_fn, nn.Module):
        return loss_fn
    # A copy in any case: its weights follow the precision of the outputs.
    copy, reduction = deepcopy(loss_fn), getattr(loss_fn, "reduction", None)
    if reduction not in (None, "none", "mean"):
        raise UserError(f"Expected a loss with reduction 'mean' or 'none', got '{reduction}': build it with 'none'.")
    if reduction == "mean":
        setattr(copy, "reduction", "none")  # noqa: B010 - torch's stubs take every attribute for a tensor
    return copy


def _values(single: LossFunction, outputs: Tensor, targets: Tensor) -> Tensor:
    """Values (N,) of one network."""
    if isinstance(single, nn.Module):
        single = single.to(outputs.device, outputs.dtype)
    values = single(outputs, targets)
    if not isinstance(values, Tensor) or values.ndim == 0 or len(values) != len(targets):
        shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise UserError(
            f"Expected one loss per sample, shaped ({len(targets)},), got {shape}: pass a loss with reduction='none', for "
            "example nn.CrossEntropyLoss() or functools.partial(torch.nn.functional.cross_entropy, reduction='none')."
        )
    return values if values.ndim == 1 else values.flatten(1).mean(dim=1)


def as_samples(data: Data, criterion: Criterion, device: torch.device) -> Samples:
    """Samples on a device from (inputs, targets) tensors, or from a loader that yields such pairs.

    Raises DataError where there are no samples, or anything but pairs of equally long tensors.
    """
    if data is None or isinstance(data, torch.utils.data.Dataset):
        raise DataError(f"Expected (inputs, targets) tensors or a loader, got {type(data).__name__}: use a DataLoader.")
    pairs: list[Any] = [data] if _is_pair(data) else list(data)
    if not pairs:
        raise DataError("Expected at least one sample, got an empty loader.")
    wrong = next((pair for pair in pairs if not _is_pair(pair)), None)
    if wrong is not None:
        parts = f" of {', '.join(type(part).__name__ for part in wrong)}" if isinstance(wrong, tuple | list) else ""
        raise DataError(
            f"Expected (inputs, targets) as two tensors, got {type(wrong).__name__}{parts}: map the loader to such pairs."
        )
    inputs, targets = (torch.cat([pair[i].detach() for pair in pairs]).to(device) for i in (0, 1))
    if not len(inputs) or len(inputs) != len(targets):
        raise DataError(f"Expected as many targets as inputs and at least one, got {len(targets)} and {len(inputs)}.")
    whole = not (targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool)
    return Samples(inputs, targets.long() if whole else targets, criterion)


def _is_pair(data: Any) -> bool:
    """Whether data is (inputs, targets)."""
    return isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(part, Tensor) for part in data)


@torch.no_grad()
def check_model(
    model: nn.Module, samples: Samples, loss_fn: LossFunction | None = None, *, classes: bool = False
) -> float:
    """The mean loss at the minimum, from a copy of the model; its losses must be finite, repeatable and what the user means.

    Raises UserError for models that are not deterministic functions of a sample (dropout, or batch normalisation in
    training mode), or whose average is not the mean of the per-sample losses (class weights, ignored targets), or that do
    not return a tensor; NumericsError for losses that are not finite.
    """
    dtype = torch.promote_types(next(model.parameters()).dtype, torch.float32)
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel | torch.jit.ScriptModule):
        raise UserError(
            f"Expected a plain module, got {type(model).__name__}: pass the model that it wraps or was made of."
        )
    copy, samples = copy_model(model, samples.inputs.device, dtype), samples.to(samples.inputs.device, dtype)
    training = [name for name, part in copy.named_modules() if part.training and hasattr(part, "running_mean")]
    if training:
        raise UserError(
            f"Expected a model in evaluation mode, got '{training[0]}' in training mode: call model.eval()."
        )
    if classes:
        _check_classes(copy, samples)
    first = _losses(copy, samples, CHUNK)
    if not first.isfinite().all():
        raise NumericsError(
            f"Expected finite losses at the minimum, got {int((~first.isfinite()).sum())} of {len(first)} that are NaN or "
            "infinite: check the inputs, the targets and the weights."
        )
    if first.mean() < 0:
        raise UserError(
            f"Expected a mean loss of at least 0, got {float(first.mean()):.4g}: add a constant to it and to the threshold."
        )
    again = _losses(copy, samples, max(1, min(CHUNK, len(samples)) // 2))
    if not torch.allclose(first, again, rtol=1e-3, atol=1e-5):
        worst = int((first - again).abs().argmax())
        raise UserError(
            f"Expected the same loss twice, got {first[worst]:.6g} and {again[worst]:.6g} for sample {worst}: the model is "
            "random or mixes samples of a batch, or the loss pairs every output with every target; call model.eval(), or "
            "give outputs and targets the same shape."
        )
    if isinstance(loss_fn, nn.Module) and getattr(loss_fn, "reduction", None) == "mean":
        for start in range(0, len(samples), CHUNK):
            _check_mean(copy, samples.part(start, start + CHUNK), deepcopy(loss_fn))
    return float(to_float64(first).mean())


def _check_classes(model: nn.Module, samples: Samples) -> None:
    """Raise UserError where outputs and targets do not say which class is right."""
    outputs, targets = _tensor(model(samples.inputs[:CHUNK])), samples.targets
    if outputs.ndim != 2 or targets.ndim != 1 or (targets != targets.long()).any():
        raise UserError(
            f"Expected scores (N, classes) and whole class numbers (N,) for an accuracy, got outputs {tuple(outputs.shape)} "
            f"and {targets.dtype} targets {tuple(targets.shape)}: reshape them."
        )
    if outputs.shape[1] == 1 and ((outputs >= 0) & (outputs <= 1)).all():
        raise UserError(
            "Expected logits, above 0 for class 1, got only numbers between 0 and 1: leave the sigmoid away."
        )


def _losses(model: nn.Module, samples: Samples, chunk: int) -> Tensor:
    parts = [samples.part(i, i + chunk) for i in range(0, len(samples), chunk)]
    outputs = ((model(part.inputs), part) for part in parts)
    return torch.cat([samples.criterion(_tensor(out)[None], part.targets)[0] for out, part in outputs])


def _tensor(out: object) -> Tensor:
    if not isinstance(out, Tensor):
        raise UserError(
            f"Expected the model to return a tensor, got {type(out).__name__}: wrap it in a module that returns its logits."
        )
    return out


def _check_mean(model: nn.Module, part: Samples, loss_fn: nn.Module) -> None:
    outputs = model(part.inputs)
    wanted = part.targets.to(outputs.dtype) if part.targets.is_floating_point() else part.targets
    said, ours = loss_fn.to(outputs.dtype)(outputs, wanted), part.criterion(outputs[None], part.targets).mean()
    if not torch.allclose(said, ours, rtol=1e-3, atol=1e-6):
        raise UserError(
            f"Expected the loss {float(said):.6g} to be the mean of the samples' losses, got {float(ours):.6g}: it weighs "
            "classes or ignores targets; pass a loss with reduction='none' that says what each sample counts."
        )


@contextmanager
def unfused_attention() -> Iterator[None]:
    """Without the fused kernels of attention that cannot take a batch of networks: the encoder layer's, and the CPU's."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        # On a GPU the others have batching rules, and PyTorch picks among them.
        with sdpa_kernel([SDPBackend.MATH]) if not torch.cuda.is_available() else nullcontext():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
