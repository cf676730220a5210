"""Mean losses along filter-normalised rays θ* + c·(s∘g), for many rays at once and any model.

Two paths with one interface, chosen by the model's structure: `StackedRays` for `nn.Sequential` stacks, and `ModuleRays`
for any other `nn.Module`, one functional call per point, batched with vmap where the network is small. Neither touches
the caller's model.
"""

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from minima_volume.parameters import Layout
from minima_volume.points import Minimum, Rays, Samples
from minima_volume.precision import copied, device_for
from minima_volume.stacked import Stack, StackedRays, stackable


class ModuleRays(Rays):
    """Rays through any module: functional calls on θ* + c·(s∘g)."""

    VMAP_PARAMS = 20_000  # beyond this, copies of the weights no longer fit the cache and one call per point is faster

    def __init__(self, model: nn.Module, samples: Samples, block: Tensor, minimum: Minimum) -> None:
        super().__init__(samples, len(block))
        self.model, self.block, self.minimum = model, block, minimum
        small = len(block) > 1 and block.shape[1] <= self.VMAP_PARAMS
        self.batched = small and self._takes_vmap()

    @torch.no_grad()
    def _takes_vmap(self) -> bool:
        """Whether networks can be evaluated side by side: not with recurrent layers, or branches on values."""
        try:
            vmap(self._one, in_dims=(0, None))(self.block[:2] * 0, self.samples.inputs[:1])
        except RuntimeError:
            return False
        return True

    def _one(self, step: Tensor, inputs: Tensor) -> Tensor:
        out: Tensor = functional_call(self.model, self.minimum.moved(step), (inputs,))
        return out

    @cached_property
    def _widest(self) -> int:
        first = self.samples.inputs[:1]
        # A functional call, because an earlier one may have left its tensors in a module that shares weights.
        with torch.no_grad():
            outputs = functional_call(self.model, self.minimum.parameters, (first,))
        return max(64, 4 * first.numel(), 2 * outputs.numel())

    def width(self) -> int:
        """A guess from the sizes of an input and an output; a module does not tell its activations beforehand."""
        return self._widest

    def at(self, rays: Tensor, coefficients: Tensor) -> Callable[[int, int], Tensor]:
        steps = self.block[rays] * coefficients.to(self.block.device, self.block.dtype).unsqueeze(1)
        inputs = self.samples.inputs
        if len(rays) > 1 and self.batched:
            return lambda start, stop: _widened(vmap(self._one, in_dims=(0, None))(steps, inputs[start:stop]))
        return lambda start, stop: _widened(torch.stack([self._one(step, inputs[start:stop]) for step in steps]))


def _widened(outputs: Tensor) -> Tensor:
    """Outputs in float64 where the device has it: a float32 criterion sees no loss below 10⁻⁷."""
    return outputs if outputs.device.type == "mps" else outputs.double()


class Bundle:
    """A block of directions over one data set in one precision; gives the rays of any minimum along them."""

    def __init__(self, model: nn.Module, layout: Layout, samples: Samples, block: Tensor, dtype: torch.dtype) -> None:
        device = device_for(dtype, samples.inputs.device)
        self.model, self.layout, self.dtype = copied(model, device, dtype), layout, dtype
        self.samples, self.block = samples.to(device, dtype), block.to(device, dtype)
        self.stack: Stack | None = None
        if isinstance(self.model, nn.Sequential) and stackable(model, samples.inputs.ndim):
            self.stack = Stack(self.model, layout, self.samples, self.block)

    def rays(self, minimum: Minimum, n_samples: int | None = None, shared: Tensor | None = None) -> Rays:
        """The rays that start at `minimum`; `n_samples` says how many of the samples they will be asked for.

        `shared`: `Rays.shared` of the same minimum, samples and precision along another block of directions.
        """
        here = minimum.to(self.block.device, self.dtype)
        return (
            StackedRays(self.stack, here, n_samples, shared)
            if self.stack
            else ModuleRays(self.model, self.samples, self.block, here)
        )


def ray_bytes(model: nn.Module, layout: Layout, samples: Samples) -> int:
    """Bytes that one ray keeps in float32: its direction, its scaled copy, and its first-layer product where shared."""
    first = next((layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)), None)
    shared = stackable(model, samples.inputs.ndim) and isinstance(first, nn.Linear)
    product = len(samples) * first.out_features if shared and isinstance(first, nn.Linear) else 0
    return 4 * (2 * layout.n_params + product)
