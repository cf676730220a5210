"""Convolutions on the CPU: channels last in memory, and few samples at a time, so that maps stay in the cache."""

import torch
from torch import nn

from minima_volume.errors import is_memory_error
from minima_volume.networks.objective import Objective, SampleObjective
from minima_volume.networks.private_copy import PrivateCopy
from minima_volume.networks.sequential import IMAGES

# Numbers in the widest map of one tile.
MAP_NUMBERS = 2**20
# Largest relative difference of outputs in another layout, which sum in another order.
RTOL = {torch.float64: 1e-9, torch.float32: 1e-3}


def arrange(copy: PrivateCopy, objective: Objective) -> int | None:
    """Bring a float64 copy of a model with convolutions into the layout in which they are fastest.

    A model that reads the layout of its maps, for example with `view`, keeps its own.

    Args:
        copy: The copy that will be moved, in the highest precision that it runs in.
        objective: Its data.

    Returns:
        Samples in a tile; None for models without convolutions on the CPU.
    """
    if copy.device.type != "cpu" or not isinstance(objective, SampleObjective):
        return None
    if not any(isinstance(part, nn.Conv2d) for part in copy.module.modules()):
        return None
    widths = [1]
    hooks = [
        part.register_forward_hook(lambda _, __, out: widths.append(out[0].numel()))
        for part in copy.module.modules()
        if isinstance(part, nn.Conv2d)
    ]
    objective.outputs(copy, objective.samples.inputs[:2])
    for hook in hooks:
        hook.remove()
    tile = max(1, min(objective.tile, MAP_NUMBERS // max(widths)))
    inputs = objective.samples.inputs[:tile]  # kernels depend on the number of samples
    wanted = objective.outputs(copy, inputs)
    own = copy.dtype
    _set_layout(copy.module, torch.channels_last)
    for dtype in {own, torch.float32}:  # kernels of each precision return layouts of their own
        copy.convert(dtype)
        if not _same(copy, objective, inputs, wanted):
            _set_layout(copy.module, torch.contiguous_format)
    copy.convert(own)
    return tile


def _set_layout(module: nn.Module, layout: torch.memory_format) -> None:
    """Change the memory layout of all parameters with four axes."""
    for parameter in module.parameters():
        if parameter.ndim == IMAGES:
            parameter.data = parameter.data.contiguous(memory_format=layout)


def _same(copy: PrivateCopy, objective: SampleObjective, inputs: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Return whether a copy gives the same outputs in its present layout."""
    try:
        found = objective.outputs(copy, inputs)
    except Exception as error:  # somebody's model may insist on its own layout: it keeps that
        if is_memory_error(error):
            raise
        return False
    rtol = RTOL[copy.dtype]
    return torch.allclose(found.to(wanted), wanted, rtol=rtol, atol=rtol * float(wanted.abs().max()))
