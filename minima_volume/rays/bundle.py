"""Rays θ* + c·(s∘g) of any model, evaluated by the fastest path that its structure allows.

There are three paths with one interface: `StackedRays` for `nn.Sequential` stacks, `FunctionalRays` for other modules that
a functional call moves, and `ModuleRays` for whatever somebody brings. All work on a copy of the model.
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import Layout
from minima_volume.networks.precision import device_for
from minima_volume.networks.private_copy import copy_model
from minima_volume.networks.sequential import is_stack
from minima_volume.rays.base import Rays, TiledRays
from minima_volume.rays.functional import FunctionalRays
from minima_volume.rays.stacked import Stack, StackedRays


class Bundle(Protocol):
    """A block of directions over one data set in one precision."""

    block: Tensor

    def rays(self, minimum: Minimum, n_samples: int | None = None, shared: Tensor | None = None) -> Rays:
        """Return the rays that start at a minimum; see `RayBundle.rays`."""


class RayBundle:
    """A block of directions over one data set in one precision, from which the rays of any minimum are made.

    Args:
        model: Network; it is copied.
        layout: The perturbed parameters, n coordinates.
        samples: Data set and criterion.
        block: Directions g (rays, n).
        dtype: Precision of the parameters and activations.
    """

    def __init__(self, model: nn.Module, layout: Layout, samples: Samples, block: Tensor, dtype: torch.dtype) -> None:
        device = device_for(dtype, samples.inputs.device)
        self.model, self.layout, self.dtype = copy_model(model, device, dtype), layout, dtype
        self.samples, self.block = samples.to(device, dtype), block.to(device, dtype)
        self.stack: Stack | None = None
        if isinstance(self.model, nn.Sequential) and is_stack(model, samples.inputs.ndim):
            self.stack = Stack(self.model, layout, self.samples, self.block)

    def rays(self, minimum: Minimum, n_samples: int | None = None, shared: Tensor | None = None) -> TiledRays:
        """Return the rays that start at a minimum.

        Args:
            minimum: Origin of the rays.
            n_samples: Number of samples, from the first on, that the rays will be evaluated for. The default is all.
            shared: `Rays.shared` of the same minimum, samples and precision along another block of directions.
        """
        here = minimum.to(self.block.device, self.dtype)
        return (
            StackedRays(self.stack, here, n_samples, shared)
            if self.stack
            else FunctionalRays(self.model, self.samples, self.block, here)
        )


def bytes_per_ray(model: nn.Module, layout: Layout, samples: Samples) -> int:
    """Return the memory of one ray in bytes: its direction, the scaled copy, and the product of the first layer.

    Args:
        model: Network.
        layout: The perturbed parameters.
        samples: Data set; every sample has its own product.
    """
    first = next((layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)), None)
    shared = is_stack(model, samples.inputs.ndim) and isinstance(first, nn.Linear)
    product = len(samples) * first.out_features if shared and isinstance(first, nn.Linear) else 0
    return 4 * (2 * layout.n_params + product)
