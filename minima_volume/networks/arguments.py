"""A user's parameters as the engine takes them: which of them move, layer by layer, in full precision."""

from collections.abc import Callable

import torch

from minima_volume.networks.parameters import Layout, Parameters


def widen_half_precision(parameters: Parameters) -> Parameters:
    """Parameters with half precision widened to float32, so that filter norms and steps keep their digits."""
    half = (torch.float16, torch.bfloat16)
    return {name: value.float() if value.dtype in half else value for name, value in parameters.items()}


def name_filter(only: Callable[[str], bool] | str | None) -> Callable[[str], bool]:
    """A function that tells by name which parameters move."""
    if only is None:
        return lambda name: True
    return (lambda name: only in name) if isinstance(only, str) else only


def split_by_layer(layout: Layout) -> dict[str, Layout]:
    """The layout of each module that owns parameters, by the module's name, and of each parameter outside of one."""
    owners = {name: name.rpartition(".")[0] or name for name, _ in layout.shapes}
    return {
        owner: Layout(tuple((name, shape) for name, shape in layout.shapes if owners[name] == owner))
        for owner in sorted(set(owners.values()))
    }
