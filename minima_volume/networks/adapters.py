"""Adapters from a user's model, loss function and data to the types that the engine uses, with checks of all three."""

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

# (outputs (N, …), targets (N, …)) of one network -> losses (N,) or (N, …); or a torch loss module that averages them.
LossFunction = Callable[[Any, Any], Tensor]
Data = tuple[Tensor, Tensor] | Iterable[Any]
# Samples in one forward pass of the checks.
CHECK_BATCH = 256


def per_sample(loss_fn: LossFunction) -> Criterion:
    """Convert a loss function to a criterion that returns one loss per sample for many networks at once.

    Args:
        loss_fn: A function (outputs (N, …), targets (N, …)) -> losses (N, …), or a torch loss module. Modules with
            `reduction="mean"`, such as `nn.CrossEntropyLoss()`, are copied with `reduction="none"`. Losses with further
            axes, such as one per token, are averaged over them.

    Returns:
        A function (outputs (rays, N, …), targets (N, …)) -> losses (rays, N).

    Raises:
        UserError: `loss_fn` has another reduction such as "sum". The returned function raises it if `loss_fn` returns
            a scalar.

    Example:
        >>> import torch
        >>> criterion = per_sample(torch.nn.MSELoss())
        >>> outputs = torch.tensor([[[1.0], [2.0]], [[1.0], [0.0]]])  # two networks, two samples
        >>> criterion(outputs, torch.tensor([[0.0], [0.0]]))
        tensor([[1., 4.],
                [1., 0.]])
    """
    single = _unreduced(loss_fn)

    def criterion(outputs: Tensor, targets: Tensor) -> Tensor:
        wanted = targets.to(outputs.dtype) if targets.is_floating_point() else targets
        # The loss treats samples separately, so one call can take the samples of all networks.
        repeated = wanted.expand(len(outputs), *wanted.shape).flatten(0, 1)
        return _values(single, outputs.flatten(0, 1), repeated).view(outputs.shape[:2])

    return criterion


def _unreduced(loss_fn: LossFunction) -> LossFunction:
    """Return a loss function as it is, and a loss module as a copy that does not average."""
    if not isinstance(loss_fn, nn.Module):
        return loss_fn
    # Always a copy, because its weights will be converted to the precision of the outputs.
    copy, reduction = deepcopy(loss_fn), getattr(loss_fn, "reduction", None)
    if reduction not in (None, "none", "mean"):
        raise UserError(f"Expected a loss with reduction 'mean' or 'none', got '{reduction}': build it with 'none'.")
    if reduction == "mean":
        setattr(copy, "reduction", "none")  # noqa: B010 - torch types every attribute of a module as a tensor or module
    return copy


def _values(single: LossFunction, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return one loss per sample (N,)."""
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
    """Collect samples on a device.

    Args:
        data: A pair (inputs, targets) of tensors, or a loader that yields such pairs. Loaders are read once and kept in
            memory. Integer targets are converted to int64.
        criterion: Loss per sample, for example from `per_sample`.
        device: Device of the samples.

    Returns:
        All samples, in the order of the data.

    Raises:
        DataError: There are no samples, or the data are not pairs of equally long tensors.

    Example:
        >>> import torch
        >>> from minima_volume.networks.losses import cross_entropy
        >>> batches = [(torch.zeros(3, 2), torch.tensor([0, 1, 0])), (torch.ones(1, 2), torch.tensor([1]))]
        >>> samples = as_samples(batches, cross_entropy, torch.device("cpu"))
        >>> len(samples), samples.targets
        (4, tensor([0, 1, 0, 1]))
    """
    if data is None or isinstance(data, torch.utils.data.Dataset):
        raise DataError(f"Expected (inputs, targets) tensors or a loader, got {type(data).__name__}: use a DataLoader.")
    pairs: list[Any] = [data] if _is_pair(data) else list(data)
    if not pairs:
        raise DataError("Expected at least one sample, got an empty loader: check the data.")
    wrong = next((pair for pair in pairs if not _is_pair(pair)), None)
    if wrong is not None:
        parts = f" of {', '.join(type(part).__name__ for part in wrong)}" if isinstance(wrong, tuple | list) else ""
        raise DataError(
            f"Expected (inputs, targets) as two tensors, got {type(wrong).__name__}{parts}: map the loader to such pairs."
        )
    inputs, targets = (torch.cat([pair[i].detach() for pair in pairs]).to(device) for i in (0, 1))
    if not len(inputs) or len(inputs) != len(targets):
        raise DataError(
            f"Expected as many targets as inputs and at least one, got {len(targets)} and {len(inputs)}: check the data."
        )
    whole = not (targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool)
    return Samples(inputs, targets.long() if whole else targets, criterion)


def _is_pair(data: Any) -> bool:
    """Return whether data is a pair of tensors."""
    return isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(part, Tensor) for part in data)


@torch.no_grad()
def check_model(
    model: nn.Module, samples: Samples, loss_fn: LossFunction | None = None, *, classes: bool = False
) -> float:
    """Check on a copy of a model that its losses are finite, deterministic and independent between samples.

    Args:
        model: Trained network.
        samples: Data set and criterion.
        loss_fn: The user's loss, whose mean must agree with the mean of the losses per sample.
        classes: Whether outputs must be scores of classes, as an accuracy needs.

    Returns:
        The mean loss at the minimum.

    Raises:
        UserError: The model is not a deterministic function of each sample (dropout, or batch normalisation in training
            mode), does not return a tensor or scores of classes, or is wrapped; the mean loss is negative; or the user's
            loss is not a plain mean (class weights, ignored targets).
        NumericsError: Some losses are not finite.
    """
    dtype = torch.promote_types(next(model.parameters()).dtype, torch.float32)
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel | torch.jit.ScriptModule):
        raise UserError(f"Expected a plain module, got {type(model).__name__}: pass the original module.")
    copy, samples = copy_model(model, samples.inputs.device, dtype), samples.to(samples.inputs.device, dtype)
    training = [name for name, part in copy.named_modules() if part.training and hasattr(part, "running_mean")]
    if training:
        raise UserError(
            f"Expected a model in evaluation mode, got '{training[0]}' in training mode: call model.eval()."
        )
    if classes:
        _check_classes(copy, samples)
    first = _losses(copy, samples, CHECK_BATCH)
    if not first.isfinite().all():
        raise NumericsError(
            f"Expected finite losses at the minimum, got {int((~first.isfinite()).sum())} of {len(first)} that are NaN or "
            "infinite: check the inputs, the targets and the weights."
        )
    if first.mean() < 0:
        raise UserError(
            f"Expected a mean loss of at least 0, got {float(first.mean()):.4g}: add a constant to loss and threshold."
        )
    again = _losses(copy, samples, max(1, min(CHECK_BATCH, len(samples)) // 2))
    if not torch.allclose(first, again, rtol=1e-3, atol=1e-5):
        worst = int((first - again).abs().argmax())
        raise UserError(
            f"Expected the same loss twice, got {first[worst]:.6g} and {again[worst]:.6g} for sample {worst}: call "
            "model.eval() if the model is random or mixes the samples of a batch, and give outputs and targets the same "
            "shape."
        )
    if isinstance(loss_fn, nn.Module) and getattr(loss_fn, "reduction", None) == "mean":
        for start in range(0, len(samples), CHECK_BATCH):
            _check_mean(copy, samples.part(start, start + CHECK_BATCH), deepcopy(loss_fn))
    return float(to_float64(first).mean())


def _check_classes(model: nn.Module, samples: Samples) -> None:
    """Raise UserError unless outputs are scores of classes and targets are class numbers."""
    outputs, targets = _tensor(model(samples.inputs[:CHECK_BATCH])), samples.targets
    if outputs.ndim != 2 or targets.ndim != 1 or (targets != targets.long()).any():
        raise UserError(
            f"Expected scores (N, classes) and whole class numbers (N,) for an accuracy, got outputs {tuple(outputs.shape)} "
            f"and {targets.dtype} targets {tuple(targets.shape)}: reshape them."
        )
    if outputs.shape[1] == 1 and ((outputs >= 0) & (outputs <= 1)).all():
        raise UserError("Expected logits, above 0 for class 1, got only numbers between 0 and 1: remove the sigmoid.")


def _losses(model: nn.Module, samples: Samples, batch: int) -> Tensor:
    """Return the losses (N,), computed in batches."""
    parts = [samples.part(i, i + batch) for i in range(0, len(samples), batch)]
    outputs = ((model(part.inputs), part) for part in parts)
    return torch.cat([samples.criterion(_tensor(out)[None], part.targets)[0] for out, part in outputs])


def _tensor(out: object) -> Tensor:
    """Return the output of a model; raise UserError if it is not a tensor."""
    if not isinstance(out, Tensor):
        raise UserError(
            f"Expected the model to return a tensor, got {type(out).__name__}: wrap it in a module that returns its logits."
        )
    return out


def _check_mean(model: nn.Module, part: Samples, loss_fn: nn.Module) -> None:
    """Raise UserError if the loss module does not return the mean of the losses per sample."""
    outputs = model(part.inputs)
    wanted = part.targets.to(outputs.dtype) if part.targets.is_floating_point() else part.targets
    returned, mean = loss_fn.to(outputs.dtype)(outputs, wanted), part.criterion(outputs[None], part.targets).mean()
    if not torch.allclose(returned, mean, rtol=1e-3, atol=1e-6):
        raise UserError(
            f"Expected the loss {float(returned):.6g} to be the mean of the samples' losses, got {float(mean):.6g}: pass a "
            "loss with reduction='none' if yours weighs classes or ignores targets."
        )


@contextmanager
def unfused_attention() -> Iterator[None]:
    """Disable the fused attention kernels that cannot evaluate a batch of networks."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        # On a GPU the other kernels have batching rules.
        with sdpa_kernel([SDPBackend.MATH]) if not torch.cuda.is_available() else nullcontext():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
