"""Points of an affine subspace θ₀ + Σᵢ xᵢ·dᵢ of parameter space, and the fast rays through them.

A linear layer at such a point computes X·W₀ᵀ + Σᵢ xᵢ·(X·Dᵢᵀ). So the first layer of a stack needs one product more than the
subspace has axes, however many points are evaluated. Later layers form their weights W₀ + Σᵢ xᵢ·Dᵢ.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from minima_volume.networks.minimum import Minimum
from minima_volume.networks.parameters import Layout, Parameters
from minima_volume.rays.stacked import Index, Stack, StackedRays


@dataclass(frozen=True)
class Subspace:
    """The points θ₀ + Σᵢ xᵢ·dᵢ.

    Attributes:
        parameters: θ₀, all parameters of the model by name.
        layout: The parameters that move, n numbers.
        axes: d (axes, n) in the coordinates of the parameters.
    """

    parameters: Parameters
    layout: Layout
    axes: Tensor

    @cached_property
    def minimum(self) -> Minimum:
        """θ₀ as the origin of rays, with all scales 1."""
        return Minimum.of(self.parameters, self.layout, normalise=False)

    def at(self, coordinates: Tensor) -> Parameters:
        """Return all parameters at one point x (axes,), in float64 where they move."""
        moved = self.layout.split(coordinates.double().to(self.axes.device) @ self.axes.double())
        return {
            name: value.double() + moved[name] if name in moved else value for name, value in self.parameters.items()
        }


class SubspaceRays(StackedRays):
    """Points of a subspace for a stack of layers; `coefficients` are their coordinates (points, axes).

    Args:
        stack: The model and the data set; its directions are the axes of the subspace.
        minimum: θ₀ with scales 1, in the precision of the stack.
    """

    def __init__(self, stack: Stack, minimum: Minimum) -> None:
        super().__init__(stack, minimum)
        bias = self.steps.get(f"{stack.rest[0][0]}.bias")
        product = stack.product
        self.slopes = product if product is None or bias is None else product + bias.unsqueeze(1)

    def _moved(self, key: str, rows: Index, c: Tensor) -> Tensor:
        """Return a parameter at each point (points, *shape) in the precision of c."""
        base = self.minimum.parameters[key].to(c.dtype)
        if key not in self.steps:
            return base.expand(len(c), *base.shape)
        return base + torch.tensordot(c, self.steps[key].to(c.dtype), dims=1)

    def _shared_layer(self, product: Tensor, rows: Index, c: Tensor) -> Callable[[int, int], Tensor]:
        """Return the first layer's outputs X·W₀ᵀ + b₀ + Σᵢ xᵢ·(X·Dᵢᵀ + dᵢ) at every point."""
        slopes = product if self.slopes is None else self.slopes

        def outputs(start: int, stop: int) -> Tensor:
            hidden = torch.addcmul(self.base[start:stop], slopes[0, start:stop], c[:, 0].view(-1, 1, 1))
            for axis in range(1, len(slopes)):
                hidden.addcmul_(slopes[axis, start:stop], c[:, axis].view(-1, 1, 1))
            return hidden

        return outputs


class Mover:
    """Writes points of a subspace into the parameters of a module.

    Neighbours in a row of a plane differ in the first coordinate only, so that the sum over the other axes is kept.

    Args:
        subspace: The points.
        module: The module that is moved.
        dtype: Precision of its parameters.
    """

    def __init__(self, subspace: Subspace, module: nn.Module, dtype: torch.dtype) -> None:
        named = dict(module.named_parameters())
        axes = subspace.layout.split(subspace.axes)
        self.parts = [
            (
                named[name],
                subspace.parameters[name].to(named[name].device, dtype),
                axes[name].to(named[name].device, dtype),
            )
            for name, _ in subspace.layout.shapes
        ]
        self.row: list[Tensor] = []
        self.others: list[float] | None = None

    @torch.no_grad()
    def move(self, coordinates: list[float]) -> None:
        """Write the point with these coordinates (axes,)."""
        first, *others = coordinates
        if others != self.others:
            self.row = [base.clone() if others else base for _, base, _ in self.parts]
            for row, (_, _, axes) in zip(self.row, self.parts, strict=True):
                for axis, x in zip(axes[1:], others, strict=True):
                    row.add_(axis, alpha=x)
            self.others = others
        for row, (place, _, axes) in zip(self.row, self.parts, strict=True):
            torch.add(row, axes[0], alpha=first, out=place)
