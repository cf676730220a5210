"""Which digits a device gives: float64 beside the data or on the CPU, and float32 with all of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

# Whatever may compute float32 products in TF32 or bfloat16, if asked to; cuDNN's convolutions do so unasked.
_SHORTENED: tuple[Any, ...] = tuple(
    attrgetter(name)(torch.backends)
    for name in ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")
)


def device_for(dtype: torch.dtype, device: torch.device) -> torch.device:
    """Where tensors of a precision live that go with data on `device`: Apple's GPUs have no float64."""
    return torch.device("cpu") if device.type == "mps" and dtype == torch.float64 else device


def doubled(values: Tensor) -> Tensor:
    """The values in float64."""
    return values.to(device_for(torch.float64, values.device), torch.float64)


@contextmanager
def whole_float32() -> Iterator[None]:
    """No shortened products inside: TF32 keeps ten bits of the mantissa, far fewer than a radius needs."""
    before = [backend.fp32_precision for backend in _SHORTENED]
    shorten_nothing()
    try:
        yield
    finally:
        for backend, precision in zip(_SHORTENED, before, strict=True):
            backend.fp32_precision = precision


def shorten_nothing() -> None:
    """No shortened products from here on."""
    for backend in _SHORTENED:
        backend.fp32_precision = "ieee"
