"""Numerical precision by device: where float64 is available, and full-precision float32 (no TF32)."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from minima_volume.errors import UserError

# Backends that can compute float32 products in TF32 or bfloat16. cuDNN convolutions do so by default.
_BACKENDS: tuple[Any, ...] = tuple(
    attrgetter(name)(torch.backends)
    for name in ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")
)


def device_for(dtype: torch.dtype, device: torch.device) -> torch.device:
    """Return `device` if it supports `dtype`, else the CPU: Apple GPUs have no float64."""
    return torch.device("cpu") if device.type == "mps" and dtype == torch.float64 else device


def to_float64(values: Tensor) -> Tensor:
    """Convert to float64, on the CPU if the device has no float64."""
    return values.to(device_for(torch.float64, values.device), torch.float64)


def copy_model(model: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Copy a model to a device and convert its floating-point and complex tensors.

    Functional calls replace the tensors of a module while they run. With a copy, neither the caller nor another thread
    sees that.

    Args:
        model: Any module; it is not changed.
        device: Device of the copy.
        dtype: Real precision. Complex tensors get the matching complex precision.

    Returns:
        The copy.

    Raises:
        UserError: The model holds a tensor that was computed with gradients, which cannot be copied.
    """
    try:
        copy = deepcopy(model)
    except RuntimeError as error:
        if "deepcopy" not in str(error):
            raise
        raise UserError(
            f"Expected a model that can be copied, got '{str(error).split('.')[0]}' for a tensor that was computed with "
            "gradients: call the model once under torch.no_grad(), or make pruning or normalisation of weights permanent "
            "(torch.nn.utils.prune.remove, remove_weight_norm, remove_spectral_norm)."
        ) from error

    def convert(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(device, dtype.to_complex())
        return tensor.to(device, dtype if tensor.is_floating_point() else None)

    # Module.to(dtype) would drop the imaginary part of complex buffers.
    moved: nn.Module = copy._apply(convert)
    return moved


@contextmanager
def full_float32() -> Iterator[None]:
    """Disable TF32 within the context: its ten bits of mantissa are too few for a radius."""
    before = [backend.fp32_precision for backend in _BACKENDS]
    use_full_float32()
    try:
        yield
    finally:
        for backend, precision in zip(_BACKENDS, before, strict=True):
            backend.fp32_precision = precision


def use_full_float32() -> None:
    """Disable TF32 from now on."""
    for backend in _BACKENDS:
        backend.fp32_precision = "ieee"
