"""Data sets whose first L samples are the landscape of size L, minima in filter-normalised coordinates, and their rays.

Data sets are nested: one pass over the largest gives the mean loss of every smaller one. Sums run in float64 and are
divided once.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from minima_volume.networks.directions import generator
from minima_volume.networks.losses import Criterion
from minima_volume.networks.parameters import Layout, Parameters, filter_scales


@dataclass(frozen=True)
class Samples:
    """A data set and the loss that its landscapes average."""

    inputs: Tensor
    targets: Tensor
    criterion: Criterion

    def __len__(self) -> int:
        return len(self.inputs)

    def part(self, start: int, stop: int) -> "Samples":
        """The samples start:stop as views."""
        return replace(self, inputs=self.inputs[start:stop], targets=self.targets[start:stop])

    def shuffled(self) -> "Samples":
        """The same samples in an order that is always the same."""
        order = torch.randperm(len(self), generator=generator("samples", 0)).to(self.inputs.device)
        return replace(self, inputs=self.inputs[order], targets=self.targets[order])

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> "Samples":
        """The same samples on a device, floating-point inputs in another precision if one is given."""
        inputs = self.inputs.to(device, dtype if self.inputs.is_floating_point() else None)
        return replace(self, inputs=inputs, targets=self.targets.to(device))


@dataclass(frozen=True)
class Minimum:
    """Trained parameters, and the scale of every perturbed coordinate."""

    parameters: Parameters
    layout: Layout
    scales: Tensor

    @classmethod
    def of(cls, parameters: Parameters, layout: Layout, *, normalise: bool = True) -> "Minimum":
        """A minimum in filter-normalised coordinates, or in raw ones if not `normalise`."""
        return cls(parameters, layout, filter_scales(parameters, layout, normalise=normalise))

    def moved(self, step: Tensor) -> Parameters:
        """All parameters at θ* + s∘step, differentiable in `step` (n,)."""
        steps = self.layout.split(self.scales * step)
        return {name: value + steps[name] if name in steps else value for name, value in self.parameters.items()}

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Minimum":
        """Copy on another device or in another precision."""
        parameters = {
            name: tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)
            for name, tensor in self.parameters.items()
        }
        return Minimum(parameters, self.layout, self.scales.to(device, dtype))
