"""Axes of a plane around one model: random filter-normalised directions, curvature, or the caller's own."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from minima_volume.errors import UserError
from minima_volume.landscapes.curvature import leading_curvature
from minima_volume.landscapes.landscape import Landscape
from minima_volume.networks.directions import draw_directions
from minima_volume.networks.parameters import Layout

Directions = Literal["random", "curvature"] | Sequence[Any]
# Rise of the loss, in its unit, that the curvature predicts at the edge of a plane.
RISE = 1.0


@dataclass(frozen=True)
class Axes:
    """Vectors that span a plane around a model.

    Attributes:
        vectors: Vectors (2, n) in the coordinates u of the plane.
        names: Names of the axes.
        reach: Largest coordinate that is worth drawing.
        eigenvalues: Curvature along the axes; empty if unknown.
    """

    vectors: Tensor
    names: tuple[str, str]
    reach: float
    eigenvalues: tuple[float, ...] = ()


def axes_of(landscape: Landscape, directions: Directions, scales: Tensor, seed: int) -> Axes:
    """Return the axes of a plane around a model.

    Args:
        landscape: The model with its loss and data.
        directions: "random" draws two Gaussian directions; "curvature" takes the leading eigenvectors of the Hessian; or two
            vectors, flat tensors (n,) or mappings of tensors by name.
        scales: Scale s (n,) of the coordinates.
        seed: Seed of random directions.

    Raises:
        UserError: Directions are something else, or have other shapes.
    """
    layout = landscape.minimum.layout
    # At this length every filter moves as far as it is long, on average over filters.
    reach = math.sqrt(sum(shape[0] if len(shape) > 1 else math.prod(shape) for _, shape in layout.shapes))
    if isinstance(directions, str) and directions == "random":
        vectors = draw_directions(seed, [0, 1], layout.n_params).double().to(scales.device)
        return Axes(vectors, ("random direction 1", "random direction 2"), reach)
    if isinstance(directions, str) and directions == "curvature":
        values, vectors = leading_curvature(landscape, scales)
        names = tuple(f"eigenvector {i + 1} (λ = {value:.3g})" for i, value in enumerate(values))
        steepest = math.sqrt(2 * RISE / abs(values[1])) if values[1] else reach
        return Axes(vectors, (names[0], names[1]), min(reach, steepest), tuple(values))
    if isinstance(directions, str) or not hasattr(directions, "__len__") or len(directions) != 2:
        raise UserError(
            f"Expected directions 'random', 'curvature' or two vectors, got {directions!r}: pass one of them."
        )
    flat = torch.stack([_flat(vector, layout).to(scales.device) for vector in directions])
    return Axes(flat, ("direction 1", "direction 2"), float(flat.norm(dim=1).max()))


def _flat(vector: Any, layout: Layout) -> Tensor:
    """Return a direction as a flat vector (n,) in float64."""
    if isinstance(vector, nn.Module):
        vector = dict(vector.named_parameters())
    if isinstance(vector, Mapping):
        missing = [name for name, shape in layout.shapes if name not in vector or tuple(vector[name].shape) != shape]
        if missing:
            raise UserError(
                f"Expected a direction with '{missing[0]}' in the model's shape, got none or another shape: correct it."
            )
        return layout.flatten({name: vector[name].detach().double() for name, _ in layout.shapes})
    flat = torch.as_tensor(vector).detach().double().flatten()
    if len(flat) != layout.n_params:
        raise UserError(f"Expected directions of {layout.n_params} numbers, got {len(flat)}: pass one per parameter.")
    return flat
