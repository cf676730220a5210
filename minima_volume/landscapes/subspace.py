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
        self._converted: dict[tuple[str, torch.dtype], tuple[Tensor, Tensor | None]] = {}

    def _moved(self, key: str, rows: Index, c: Tensor) -> Tensor:
        """Return a parameter at each point (points, *shape) in the precision of c."""
        if (key, c.dtype) not in self._converted:
            steps = self.steps[key].to(c.dtype) if key in self.steps else None
            self._converted[key, c.dtype] = self.minimum.parameters[key].to(c.dtype), steps
        base, steps = self._converted[key, c.dtype]
        return base.expand(len(c), *base.shape) if steps is None else _combine(base, steps, c)

    def _shared_layer(self, product: Tensor, rows: Index, c: Tensor) -> Callable[[int, int], Tensor]:
        """Return the first layer's outputs X·W₀ᵀ + b₀ + Σᵢ xᵢ·(X·Dᵢᵀ + dᵢ) at every point."""
        slopes = product if self.slopes is None else self.slopes
        return lambda start, stop: _combine(self.base[start:stop], slopes[:, start:stop], c)


def _combine(base: Tensor, steps: Tensor, c: Tensor) -> Tensor:
    """Return base + Σᵢ c[:, i]·steps[i] (points, *shape), for steps (axes, *shape) and coefficients c (points, axes)."""
    if len(c) == 1:  # a number is added faster than a tensor of one
        first, *others = c[0].tolist()
        single = torch.add(base, steps[0], alpha=first)
        for step, x in zip(steps[1:], others, strict=True):
            single.add_(step, alpha=x)
        return single[None]
    shape = (-1, *[1] * base.ndim)
    moved = torch.addcmul(base, steps[0], c[:, 0].view(shape))
    for step, x in zip(steps[1:], c.T[1:], strict=True):
        moved.addcmul_(step, x.view(shape))
    return moved


class Mover:
    """Writes points of a subspace into the parameters of a module.

    Neighbours in a row of a plane differ in the first coordinate only, so that the sum over the other axes is kept.

    Args:
        subspace: The points.
        module: The module that is moved.
    """

    @torch.no_grad()
    def __init__(self, subspace: Subspace, module: nn.Module) -> None:
        named = dict(module.named_parameters())
        axes = subspace.layout.split(subspace.axes)
        # In the memory layout of the parameters, so that sums run along the memory.
        self.parts = [
            (place := named[name], torch.empty_like(place).copy_(subspace.parameters[name]),
             [torch.empty_like(place).copy_(axis) for axis in axes[name]])
            for name, _ in subspace.layout.shapes
        ]  # fmt: skip
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
