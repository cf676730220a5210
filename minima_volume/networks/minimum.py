"""Data sets and minima: what a loss is averaged over, and trained parameters in filter-normalised coordinates.

The landscape of size L is the mean loss over the first L samples of a data set. So landscapes are nested: one pass over
the largest gives the mean loss of every smaller one.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from minima_volume.networks.directions import generator
from minima_volume.networks.losses import Criterion
from minima_volume.networks.parameters import Layout, Parameters, filter_scales


@dataclass(frozen=True)
class Samples:
    """A data set and the loss that its landscapes average.

    Attributes:
        inputs: Inputs (N, …).
        targets: Targets (N, …).
        criterion: Loss per sample; see `minima_volume.networks.losses.Criterion`.
    """

    inputs: Tensor
    targets: Tensor
    criterion: Criterion

    def __len__(self) -> int:
        return len(self.inputs)

    def part(self, start: int, stop: int) -> "Samples":
        """Return views of the samples start to stop − 1."""
        return replace(self, inputs=self.inputs[start:stop], targets=self.targets[start:stop])

    def take(self, rows: Tensor) -> "Samples":
        """Return copies of some samples in the order of `rows`, their numbers."""
        return replace(self, inputs=self.inputs[rows], targets=self.targets[rows])

    def shuffled(self) -> "Samples":
        """Return the samples in a random but fixed order."""
        return self.take(torch.randperm(len(self), generator=generator("samples", 0)).to(self.inputs.device))

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> "Samples":
        """Move the samples to a device and convert floating-point inputs to `dtype` if one is given."""
        inputs = self.inputs.to(device, dtype if self.inputs.is_floating_point() else None)
        return replace(self, inputs=inputs, targets=self.targets.to(device))


@dataclass(frozen=True)
class Minimum:
    """Trained parameters θ* and the scale s of every perturbed coordinate u, θ = θ* + s∘u.

    Attributes:
        parameters: All parameters of the model by name, perturbed or not.
        layout: The perturbed parameters, n coordinates.
        scales: s (n,).
    """

    parameters: Parameters
    layout: Layout
    scales: Tensor

    @classmethod
    def of(cls, parameters: Parameters, layout: Layout, *, normalise: bool = True) -> "Minimum":
        """Create a minimum in filter-normalised coordinates, or in raw ones if not `normalise`."""
        return cls(parameters, layout, filter_scales(parameters, layout, normalise=normalise))

    def moved(self, step: Tensor) -> Parameters:
        """Return all parameters at θ* + s∘step, differentiable in `step` (n,)."""
        steps = self.layout.split(self.scales * step)
        return {name: value + steps[name] if name in steps else value for name, value in self.parameters.items()}

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Minimum":
        """Move the minimum to a device and convert floating-point tensors to `dtype`."""
        parameters = {
            name: tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)
            for name, tensor in self.parameters.items()
        }
        return Minimum(parameters, self.layout, self.scales.to(device, dtype))
