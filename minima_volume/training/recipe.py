"""Sharpness-aware minimisation: the gradient is taken at the worst nearby point.

Reference: Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", 2021; the adaptive
variant is Kwon et al., "ASAM", 2021.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from minima_volume.networks.parameters import Parameters


@dataclass(frozen=True)
class Recipe:
    """How one minimum is trained: AdamW without schedule, optionally on SAM gradients."""

    epochs: int
    lr: float = 1e-3
    weight_decay: float = 0.01
    batch_size: int | None = None  # None trains on the full batch
    sam_rho: float | None = None  # None trains without SAM
    sam_adaptive: bool = False


def sam_perturbation(
    parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor], rho: float, adaptive: bool
) -> Parameters:
    """The point ε = ρ g/‖g‖ away, network by network; tensors are stacked (networks, …).

    Adaptive SAM measures the step in units of |θ|: ε = ρ θ²g/‖θ g‖.
    """
    sizes = {name: parameters[name].abs() if adaptive else torch.ones_like(parameters[name]) for name in parameters}
    squares = [(sizes[name] * gradient).flatten(1).square().sum(dim=1) for name, gradient in gradients.items()]
    norm = torch.stack(squares).sum(dim=0).sqrt()
    # A zero gradient leaves the point where it is instead of dividing by zero.
    step = rho / norm.clamp_min(torch.finfo(norm.dtype).tiny)
    return {
        name: tensor + step.view(-1, *[1] * (tensor.ndim - 1)) * sizes[name].square() * gradients[name]
        for name, tensor in parameters.items()
    }
