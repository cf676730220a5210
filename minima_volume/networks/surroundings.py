"""The surroundings of a measurement: full precision, fixed random numbers, and none of the caller's modes."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from threading import RLock

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from minima_volume.networks.float64 import CALLERS_DEVICE
from minima_volume.networks.precision import full_float32

# Random state, precision and kernels belong to the whole process, so threads measure one after another.
_ONE_AT_A_TIME = RLock()


@contextmanager
def plain_surroundings(model: nn.Module) -> Iterator[None]:
    """Measure in full precision without autocast, inference mode or a default device, and restore them afterwards.

    Args:
        model: The model; the random state of its device is restored too.
    """
    with _ONE_AT_A_TIME, np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"), _without_modes(model):
        yield


@contextmanager
def _without_modes(model: nn.Module) -> Iterator[None]:
    """Leave torch's modes."""
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    token = CALLERS_DEVICE.set(torch.get_default_device())
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng(devices=[device] if device.type == "cuda" else []))
            stack.enter_context(torch.inference_mode(False))
            for kind in {"cpu", device.type} & {"cpu", "cuda", "mps", "xpu"}:
                stack.enter_context(torch.autocast(kind, enabled=False))
            if torch.get_default_device().type != "cpu":  # the context costs microseconds in every operation
                stack.enter_context(torch.device("cpu"))
            stack.enter_context(unfused_attention())
            stack.enter_context(full_float32())
            yield
    finally:
        CALLERS_DEVICE.reset(token)


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
