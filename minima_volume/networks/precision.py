"""Numerical precision by device: where float64 is available, and full-precision float32 (no TF32)."""

from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

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
