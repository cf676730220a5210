"""Networks of studies with the parameters of a minimum, and the threads on which they are evaluated."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import nn

from minima_volume.networks.parameters import Parameters


def with_parameters(model: nn.Module, parameters: Parameters) -> nn.Module:
    """Return a copy of a network with other parameters."""
    copy = deepcopy(model)
    copy.load_state_dict(dict(parameters), strict=False)
    return copy


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use some threads, and restore their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
