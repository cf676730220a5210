"""Private copies of somebody's model, whose parameters are overwritten while the original stays as it is."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from minima_volume.errors import UserError, is_memory_error
from minima_volume.networks.minimum import Minimum
from minima_volume.networks.precision import device_for
from minima_volume.networks.reads import storage_of

# Numbers that move at a time.
PART = 2**20


def copy_model(model: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Copy a model to a device and convert its floating-point and complex tensors.

    Functional calls and `PrivateCopy` replace the tensors of a module while they run. With a copy, neither the caller nor
    another thread sees that. Locks, generators and whatever else cannot be copied is shared with the original.

    Args:
        model: Any module; it is not changed.
        device: Device of the copy.
        dtype: Real precision. Complex tensors get the matching complex precision.

    Returns:
        The copy.

    Raises:
        UserError: The model cannot be copied.
    """

    def convert(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(device, dtype.to_complex())
        return tensor.to(device, dtype if tensor.is_floating_point() else None)

    # Module.to(dtype) would drop the imaginary part of complex buffers.
    copy = _deepcopy(model)
    mine = {storage_of(tensor) for tensor in model.parameters()}
    if copy is model or any(storage_of(tensor) in mine for tensor in copy.parameters()):
        raise UserError(
            "Expected a model that can be copied, got one whose copy has its own parameters: remove its __deepcopy__."
        )
    moved: nn.Module = copy._apply(convert)
    return moved


def _deepcopy(model: nn.Module) -> nn.Module:
    """Return a deep copy; tensors that were computed with gradients are copied without them."""
    try:
        return deepcopy(model, _detached(model))
    except Exception as error:  # somebody's class may raise anything: what cannot be copied is shared, and tried again
        if is_memory_error(error):
            raise
        shared = {id(value): value for value in _attributes(model) if not _can_be_copied(value)}
    try:
        return deepcopy(model, {**_detached(model), **shared})
    except Exception as error:  # again anything: its first line becomes part of the sentence
        if is_memory_error(error):
            raise
        raise UserError(
            f"Expected a model that can be copied, got '{str(error).splitlines()[0] if str(error) else error!r}': remove "
            "the attribute that cannot be copied, or make pruning or normalisation of weights permanent "
            "(torch.nn.utils.prune.remove, remove_weight_norm, remove_spectral_norm)."
        ) from error


def _attributes(model: nn.Module) -> list[Any]:
    """Return the attributes of all modules that are not parameters, buffers or modules."""
    own = {"_parameters", "_buffers", "_modules"}
    return [value for part in model.modules() for name, value in vars(part).items() if name not in own]


def _detached(model: nn.Module) -> dict[int, Any]:
    """Return what deepcopy is to use for tensors with a graph, which it refuses to copy, by their ids."""
    tensors = [*tree_leaves(_attributes(model)), *model.buffers()]
    graph = [value for value in tensors if isinstance(value, Tensor) and value.grad_fn is not None]
    return {id(value): value.detach().clone() for value in graph}


def _can_be_copied(value: Any) -> bool:
    """Return whether deepcopy takes a value."""
    try:
        deepcopy(value)
    except Exception as error:  # whatever its class raises: locks, generators, streams
        if is_memory_error(error):
            raise
        return False
    return True


class PrivateCopy:
    """A copy of a model, moved from point to point by writing θ* + c·(s∘g) into its parameters.

    Every reference to a parameter inside the copy, whether an alias, a list or a view, sees the new values. That is why
    this is the reference which faster evaluations are compared with.

    Args:
        model: Network.
        device: Device of the copy.
        dtype: Precision of the copy; `convert` changes it.

    Attributes:
        module: The copy.
        dtype: Its precision.
    """

    _at: Minimum | None

    def __init__(self, model: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        self.home, self.dtype, self._at = device, dtype, None
        self.module = copy_model(model, self.device, dtype).requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """Device of the copy: the CPU for float64 where its own device has none."""
        return device_for(self.dtype, self.home)

    def convert(self, dtype: torch.dtype) -> None:
        """Change the precision in place, tensor by tensor, so that only one copy exists at a time."""
        if dtype != self.dtype:
            self.dtype, self._at = dtype, None
            self.module._apply(lambda tensor: tensor.to(self.device, _like(tensor, dtype)))

    def renew(self, model: nn.Module) -> None:
        """Copy the model again, with nothing left of earlier calls."""
        del self.module  # so that two copies never exist
        self._at = None
        self.module = copy_model(model, self.device, self.dtype).requires_grad_(False)

    @torch.no_grad()
    def move(self, minimum: Minimum, direction: Tensor, c: float) -> None:
        """Write θ* + c·(s∘g) into the parameters.

        Args:
            minimum: θ*, s and the layout of what moves.
            direction: g (n,).
            c: Coefficient.
        """
        named = dict(self.module.named_parameters())
        if self._at is not minimum:
            for name, value in minimum.parameters.items():
                named[name].copy_(value)
            self._at = minimum
        scales, steps = minimum.layout.split(minimum.scales), minimum.layout.split(direction)
        for name, step in steps.items():
            where = named[name].copy_(minimum.parameters[name])
            tensors = (where, step, scales[name])
            # addcmul_ converts its factors to the precision of the sum, part by part so that they take no memory. Products
            # of float32 numbers are exact in float64.
            flat = where.is_contiguous()
            parts = [tensor.view(-1).split(PART) if flat else (tensor,) for tensor in tensors]
            for place, *factors in zip(*parts, strict=True):
                place.addcmul_(*(factor.to(self.device) for factor in factors), value=c)


def _like(tensor: Tensor, dtype: torch.dtype) -> torch.dtype:
    """Return the precision of a tensor after a conversion of real numbers to `dtype`."""
    if tensor.is_complex():
        return dtype.to_complex()
    return dtype if tensor.is_floating_point() else tensor.dtype
