"""Which digits a device gives: float64 beside the data or on the CPU, and float32 with all of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from minima_volume.errors import UserError

# Whatever may compute float32 products in TF32 or bfloat16, if asked to; cuDNN's convolutions do so unasked.
_SHORTENED: tuple[Any, ...] = tuple(
    attrgetter(name)(torch.backends)
    for name in ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")
)


def device_for(dtype: torch.dtype, device: torch.device) -> torch.device:
    """Where tensors of a precision live that go with data on `device`: Apple's GPUs have no float64."""
    return torch.device("cpu") if device.type == "mps" and dtype == torch.float64 else device


def to_float64(values: Tensor) -> Tensor:
    """The values in float64."""
    return values.to(device_for(torch.float64, values.device), torch.float64)


def copy_model(model: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """A copy of a model on a device, its real and complex numbers in a precision.

    Functional calls swap a module's tensors for a moment, which neither the caller nor another thread must see. Raises
    UserError for a model that holds tensors with a history of operations, which cannot be copied.
    """
    try:
        copy = deepcopy(model)
    except RuntimeError as error:
        if "deepcopy" not in str(error):
            raise
        raise UserError(
            f"Expected a model that can be copied, got '{str(error).split('.')[0]}': it keeps a tensor that was computed "
            "with gradients; call it once under torch.no_grad(), or make pruning or normalisation of weights permanent "
            "(torch.nn.utils.prune.remove, remove_weight_norm, remove_spectral_norm)."
        ) from error

    def converted(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(device, dtype.to_complex())
        return tensor.to(device, dtype if tensor.is_floating_point() else None)

    # Module.to(dtype) would drop the imaginary part of complex buffers.
    moved: nn.Module = copy._apply(converted)
    return moved


@contextmanager
def full_float32() -> Iterator[None]:
    """No shortened products inside: TF32 keeps ten bits of the mantissa, far fewer than a radius needs."""
    before = [backend.fp32_precision for backend in _SHORTENED]
    use_full_float32()
    try:
        yield
    finally:
        for backend, precision in zip(_SHORTENED, before, strict=True):
            backend.fp32_precision = precision


def use_full_float32() -> None:
    """No shortened products from here on."""
    for backend in _SHORTENED:
        backend.fp32_precision = "ieee"
