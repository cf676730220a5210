"""The geometry of a plane or line in parameter space: orthonormal axes, true angles and distances.

Coordinates are raw parameters, θ = θ₀ + u, or filter-normalised ones, θ = θ₀ + s∘u with s the filter norms of θ₀. Lengths
and angles are those of u.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from minima_volume.errors import UserError
from minima_volume.landscapes.subspace import Subspace
from minima_volume.networks.minimum import Minimum
from minima_volume.networks.parameters import Layout, Parameters

# A vector whose part orthogonal to the others is shorter than this share of it spans no new axis.
DEPENDENT = 1e-6
# Correlation of weights from which models are said to share an initialisation or a training run. Hidden units of models with
# different ones are in different orders, so that n weights correlate like 1/√n.
RELATED, FEWEST = 0.1, 1000


@dataclass(frozen=True)
class Basis:
    """An origin θ₀ and orthonormal axes e, θ = θ₀ + s∘(Σᵢ xᵢ·eᵢ).

    Attributes:
        parameters: θ₀, all parameters by name.
        layout: The parameters that move, n numbers.
        scales: s (n,), float64.
        axes: e (axes, n), float64, orthonormal.
    """

    parameters: Parameters
    layout: Layout
    scales: Tensor
    axes: Tensor

    @property
    def subspace(self) -> Subspace:
        """The points of the plane, with axes in raw parameters."""
        return Subspace(self.parameters, self.layout, self.axes * self.scales)

    def displacement(self, parameters: Parameters) -> Tensor:
        """Return u (n,) of other parameters."""
        return displacement(self.parameters, parameters, self.layout, self.scales)

    def project(self, parameters: Parameters) -> tuple[tuple[float, ...], float]:
        """Return the coordinates of the nearest point of the plane to other parameters, and their distance from it."""
        return nearest(self.axes, self.displacement(parameters))


def nearest(axes: Tensor, away: Tensor) -> tuple[tuple[float, ...], float]:
    """Return the coordinates of the nearest point in the span of orthonormal axes (k, n) to u (n,), and its distance."""
    place = axes @ away
    return tuple(place.tolist()), float((away - place @ axes).norm())


def scales_of(minimum: Minimum, *, normalise: bool) -> Tensor:
    """Return the scale s (n,) of every coordinate in float64; a filter of norm 0 has the scale 1.

    Args:
        minimum: The origin with its filter norms.
        normalise: Whether coordinates are filter-normalised.
    """
    scales = minimum.scales.double()
    return torch.where(scales == 0, 1.0, scales) if normalise else torch.ones_like(scales)


def displacement(start: Parameters, end: Parameters, layout: Layout, scales: Tensor) -> Tensor:
    """Return u (n,) of parameters `end` seen from `start`, in float64."""
    difference = {name: end[name].double() - start[name].double() for name, _ in layout.shapes}
    return layout.flatten(difference) / scales


def orthonormal(vectors: Tensor, names: str) -> Tensor:
    """Return orthonormal axes (k, n) that span vectors (k, n), the first along the first vector (Gram and Schmidt).

    Args:
        vectors: Vectors in float64.
        names: How messages call them.

    Raises:
        UserError: One of them is zero, or lies in the span of those before it.
    """
    axes: list[Tensor] = []
    for vector in vectors:
        rest = vector.clone()
        for _ in range(2):  # a second time, because the first leaves rounding errors of nearly parallel vectors
            for axis in axes:
                rest -= (rest @ axis) * axis
        length = float(rest.norm())
        if not length > DEPENDENT * float(vector.norm()):
            raise UserError(f"Expected {names} that span a plane, got some that lie on one line: choose others.")
        axes.append(rest / length)
    return torch.stack(axes)


def angle_between(first: Tensor, second: Tensor) -> float:
    """Return the angle between two vectors (n,) in degrees."""
    lengths = float(first.norm()) * float(second.norm())
    if not lengths:
        raise UserError("Expected three different models, got two with the same parameters: choose another.")
    cosine = float(first @ second) / lengths
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))


def correlation(first: Parameters, second: Parameters, layout: Layout) -> float:
    """Return the correlation of the weights of two models.

    The mean over the units of a layer is subtracted, because all models of a data set share it.

    Args:
        first: Parameters of one model.
        second: Parameters of the other.
        layout: The parameters that count; of these, those with two or more axes.

    Returns:
        A number between −1 and 1; NaN without weights.
    """
    product = lengths = other = 0.0
    for name, shape in layout.shapes:
        if len(shape) > 1 and shape[0] > 1:
            a, b = (value[name].double() - value[name].double().mean(0) for value in (first, second))
            product, lengths = product + float((a * b).sum()), lengths + float(a.square().sum())
            other += float(b.square().sum())
    return product / math.sqrt(lengths * other) if lengths and other else math.nan


def relation(first: Parameters, second: Parameters, layout: Layout, names: str) -> str:
    """Return a sentence about the initialisation of two models; "" if their weights are too few to tell."""
    weights = sum(math.prod(shape) for _, shape in layout.shapes if len(shape) > 1)
    value = correlation(first, second, layout)
    if weights < FEWEST or math.isnan(value):
        return ""
    if value > RELATED:
        return f"Weights of {names} correlate by {value:.2f}: they share an initialisation or a training run."
    return f"Weights of {names} correlate by {value:.2f}: nothing shows a common initialisation."
