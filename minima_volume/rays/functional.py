"""Rays of any `nn.Module` by functional calls, batched with vmap if the network is small."""

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from minima_volume.networks.float64 import evaluation
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.rays.base import TiledRays


class FunctionalRays(TiledRays):
    """Rays of any module, evaluated by functional calls at θ* + c·(s∘g).

    Args:
        model: Network in the precision of the minimum.
        samples: Data set and criterion.
        block: Directions g (rays, n).
        minimum: Origin of the rays.
    """

    VMAP_PARAMS = 20_000  # above this the copies of the weights do not fit the cache, and one call per point is faster

    def __init__(self, model: nn.Module, samples: Samples, block: Tensor, minimum: Minimum) -> None:
        super().__init__(samples, len(block))
        self.model, self.block, self.minimum = model, block, minimum
        small = len(block) > 1 and block.shape[1] <= self.VMAP_PARAMS
        self.batched = small and self._takes_vmap()

    @torch.no_grad()
    def _takes_vmap(self) -> bool:
        """Return whether vmap can batch the networks; it cannot if they have recurrent layers or branch on values."""
        try:
            vmap(self._one, in_dims=(0, None))(self.block[:2] * 0, self.samples.inputs[:1])
        except RuntimeError:
            return False
        return True

    def _one(self, step: Tensor, inputs: Tensor) -> Tensor:
        """Return the outputs of the network at θ* + s∘step."""
        # A copy of the inputs, because the model may write into them.
        out: Tensor = functional_call(self.model, self.minimum.moved(step), (inputs.clone(),))
        return out

    @cached_property
    def _widest(self) -> int:
        """A guess from the sizes of an input and an output, because a module does not declare its activations."""
        first = self.samples.inputs[:1]
        # Not self.model(first): an earlier functional call may have left its tensors in a module that shares weights.
        with torch.no_grad():
            outputs = functional_call(self.model, self.minimum.parameters, (first,))
        return max(64, 4 * first.numel(), 2 * outputs.numel())

    def width(self) -> int:
        """Return the estimated number of values that are held per sample and ray."""
        return self._widest

    def at(self, rays: Tensor, coefficients: Tensor) -> Callable[[int, int], Tensor]:
        """Return the networks at the points (rays[i], coefficients[i]); see `Rays.at`."""
        steps = self.block[rays] * coefficients.to(self.block.device, self.block.dtype).unsqueeze(1)
        inputs = self.samples.inputs

        def outputs(start: int, stop: int) -> Tensor:
            with evaluation(self.block.dtype):
                if len(rays) > 1 and self.batched:
                    out = vmap(self._one, in_dims=(0, None))(steps, inputs[start:stop])
                else:
                    out = torch.stack([self._one(step, inputs[start:stop]) for step in steps])
            return _to_float64(out)

        return outputs


def _to_float64(outputs: Tensor) -> Tensor:
    """Convert outputs to float64 if the device has it: a float32 criterion cannot resolve losses below 10⁻⁷."""
    return outputs if outputs.device.type == "mps" else outputs.double()
