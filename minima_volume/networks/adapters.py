"""Adapters from a user's loss function and data to criteria and samples."""

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from minima_volume.errors import DataError, UserError
from minima_volume.networks.float64 import evaluation
from minima_volume.networks.losses import Criterion

# (outputs (N, …), targets (N, …)) of one network -> losses (N,) or (N, …); or a torch loss module that averages them.
LossFunction = Callable[[Any, Any], Any]
Data = tuple[Tensor, Tensor] | Iterable[Any]
# Samples that are read at a time from a data set.
READ = 256
# Loss modules whose mean weighs targets by class and leaves some out.
WEIGHING = (nn.CrossEntropyLoss, nn.NLLLoss)


def per_sample(loss_fn: LossFunction, targets: Tensor | None = None, n_samples: int | None = None) -> Criterion:
    """Convert a loss function to a criterion that returns one loss per sample for many networks at once.

    Args:
        loss_fn: A function (outputs (N, …), targets (N, …)) -> losses (N, …), or a torch loss module. Modules with
            `reduction="mean"`, such as `nn.CrossEntropyLoss()`, are copied with `reduction="none"`. Losses with further
            axes, such as one per token, are averaged over them.
        targets: All targets, for modules that weigh classes or ignore a target: their losses are then scaled so that the
            plain mean over all samples is the module's weighted mean.
        n_samples: Number of samples, where their targets have different shapes and `targets` is all of them in a row.

    Returns:
        A function (outputs (rays, N, …), targets (N, …)) -> losses (rays, N), computed in the precision of the outputs.

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
    single, scale = _unreduced(loss_fn), None if targets is None else _weight_scale(loss_fn, targets, n_samples)

    def criterion(outputs: Tensor, targets: Tensor) -> Tensor:
        wanted = targets.to(outputs.dtype) if targets.is_floating_point() else targets
        # The loss treats samples separately, so one call can take the samples of all networks.
        repeated = wanted.expand(len(outputs), *wanted.shape).flatten(0, 1)
        with evaluation(outputs.dtype, grad=torch.is_grad_enabled()):
            values = _values(single, outputs.flatten(0, 1), repeated)
        if values.ndim > 1:
            # A sample with more targets that count has a larger part of a weighted mean.
            values = values.flatten(1).mean(dim=1) if scale is None else values.flatten(1).sum(dim=1)
        return (values if scale is None else scale * values).view(outputs.shape[:2])

    return criterion


def _unreduced(loss_fn: LossFunction) -> LossFunction:
    """Return a loss function as it is, and a loss module as a copy that does not average."""
    if isinstance(loss_fn, type):
        raise UserError(f"Expected a loss function, got the class {loss_fn.__name__}: pass {loss_fn.__name__}().")
    if not isinstance(loss_fn, nn.Module):
        return loss_fn
    # Always a copy, because its weights will be converted to the precision of the outputs.
    copy, reduction = deepcopy(loss_fn), getattr(loss_fn, "reduction", None)
    if reduction not in (None, "none", "mean"):
        raise UserError(f"Expected a loss with reduction 'mean' or 'none', got '{reduction}': build it with 'none'.")
    if reduction == "mean":
        setattr(copy, "reduction", "none")  # noqa: B010 - torch types every attribute of a module as a tensor or module
    return copy


def has_weights(loss_fn: LossFunction | None, targets: Tensor) -> bool:
    """Return whether targets count by different weights in the mean of a loss module."""
    return loss_fn is not None and _weight_scale(loss_fn, targets, None) is not None


def _weight_scale(loss_fn: LossFunction, targets: Tensor, n_samples: int | None) -> float | None:
    """Return the number of samples over the sum of all weights, by which the summed losses of a sample are multiplied.

    None if the mean of its losses is the same: the module does not weigh, or all weights are 1 and all samples alike.
    """
    if not isinstance(loss_fn, WEIGHING) or loss_fn.reduction != "mean" or targets.is_floating_point():
        return None
    targets = targets.cpu()  # where every device has float64
    counted = targets != loss_fn.ignore_index
    weights = counted.double()
    if loss_fn.weight is not None:
        weights = weights * loss_fn.weight.detach().cpu().double()[targets.where(counted, 0).long()]
    total = float(weights.sum())
    if not total > 0:
        raise DataError("Expected at least one target that counts, got none: check ignore_index and the weights.")
    return None if n_samples is None and total == targets.numel() else (n_samples or len(targets)) / total


def _values(single: LossFunction, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the losses (N, …) of samples, in the precision of the outputs."""
    if isinstance(single, nn.Module):
        single = single.to(outputs.device, outputs.dtype)
    values = single(outputs, targets)
    if not isinstance(values, Tensor) or values.is_complex() or values.ndim == 0 or len(values) != len(targets):
        shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise UserError(
            f"Expected one loss per sample, shaped ({len(targets)},), got {shape}: pass a loss with reduction='none', for "
            "example nn.CrossEntropyLoss() or functools.partial(torch.nn.functional.cross_entropy, reduction='none')."
        )
    # Of mistakes, which are bools, and of losses in half precision.
    return values if values.dtype == torch.float64 else values.to(outputs.dtype)


def as_returned(loss_fn: nn.Module, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return what a loss module itself returns, in the precision of the outputs."""
    with evaluation(outputs.dtype):
        returned: Tensor = deepcopy(loss_fn).to(outputs.device, outputs.dtype)(outputs, targets)
    return returned


# --- data -------------------------------------------------------------------------------------------------------------


def read_batches(data: Data, device: torch.device, limit: int) -> Iterable[Any]:
    """Read data as batches on a device.

    Args:
        data: Tensors in a tuple or dictionary, which are one batch; a data set; a list of samples or of batches; or a
            loader. Loaders are read once and kept in memory up to the limit, beyond which they are read again each time.
        device: Device of the batches.
        limit: Bytes that may be kept.

    Returns:
        The batches, which can be read again.

    Raises:
        DataError: There are none, or more than fit that can be read only once.
    """
    if isinstance(data, Dataset):
        data = DataLoader(data, batch_size=None if isinstance(data, IterableDataset) else READ)
    if isinstance(data, Tensor | Mapping) or (isinstance(data, tuple) and _is_batch(data)) or _is_pair(data):
        return [_move(data, device)]
    if data is None or not isinstance(data, Iterable):
        raise DataError(f"Expected (inputs, targets) tensors or a loader, got {type(data).__name__}: use a DataLoader.")
    if isinstance(data, list) and data and _is_sample(data[0]):
        try:
            return [_move(default_collate(data), device)]
        except RuntimeError as error:
            raise DataError(f"Expected samples of equal shapes, got '{error}': pad them, or pass batches.") from error
    kept: list[Any] = []
    for batch in data:
        kept.append(_move(batch, device))
        limit -= sum(leaf.nbytes for leaf in tree_leaves(batch) if isinstance(leaf, Tensor))
        if limit < 0 and iter(data) is not data and not isinstance(data, list | tuple):
            return _Stream(data, device)
    if not kept:
        raise DataError("Expected at least one sample, got an empty loader: check the data.")
    return kept


class _Stream:
    """A loader that is read again each time, because its batches do not fit into memory."""

    def __init__(self, loader: Iterable[Any], device: torch.device) -> None:
        self.loader, self.device = loader, device

    def __iter__(self) -> Any:
        return (_move(batch, self.device) for batch in self.loader)


def _move(batch: Any, device: torch.device) -> Any:
    """Return a batch with its tensors on a device, without gradients."""
    return tree_map(lambda leaf: leaf.detach().to(device) if isinstance(leaf, Tensor) else leaf, batch)


def _is_batch(data: tuple[Any, ...]) -> bool:
    """Return whether a tuple holds tensors rather than batches."""
    return any(isinstance(part, Tensor | Mapping) for part in data)


def _is_sample(item: Any) -> bool:
    """Return whether an item of a list is one sample (input, target) whose target has no axis of samples."""
    if not isinstance(item, tuple | list) or len(item) != 2:
        return False
    inputs, target = item
    single = isinstance(target, int | float) or (isinstance(target, Tensor) and target.ndim == 0)
    return isinstance(inputs, Tensor) and single


def as_pairs(batches: Iterable[Any]) -> list[tuple[Tensor, Tensor]] | None:
    """Return batches as pairs of tensors (inputs, targets) of equal length, with integer targets as int64.

    Returns:
        The pairs, or None if the batches are something else or are read again each time.

    Raises:
        DataError: Pairs of different lengths, without samples, or sparse ones.
    """
    if not isinstance(batches, list) or not all(_is_pair(batch) for batch in batches):
        return None
    if any(part.layout != torch.strided for batch in batches for part in batch):
        raise DataError(
            "Expected dense inputs and targets, got sparse ones: call to_dense() on them, or pass a closure."
        )
    for inputs, targets in batches:
        if inputs.ndim == 0 or targets.ndim == 0 or not len(inputs) or len(inputs) != len(targets):
            raise DataError(
                f"Expected as many targets as inputs and at least one, got shapes {tuple(targets.shape)} and "
                f"{tuple(inputs.shape)}: check the data."
            )
    return [(inputs, _as_targets(targets)) for inputs, targets in batches]


def join_pairs(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor] | None:
    """Return all inputs and all targets as two tensors, or None if batches differ in shape."""
    shapes = {(inputs.shape[1:], targets.shape[1:], inputs.dtype, targets.dtype) for inputs, targets in pairs}
    if len(shapes) > 1:
        return None
    inputs, targets = zip(*pairs, strict=True)
    return torch.cat(inputs), torch.cat(targets)


def _is_pair(data: Any) -> bool:
    """Return whether data is a pair of tensors."""
    return isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(part, Tensor) for part in data)


def _as_targets(targets: Tensor) -> Tensor:
    """Return targets with whole numbers as int64."""
    whole = not (targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool)
    return targets.long() if whole else targets
