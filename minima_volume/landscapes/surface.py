"""Losses on a plane: what pictures and exports know of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from minima_volume.errors import UserError
from minima_volume.landscapes.node_losses import Floats, NodeLosses

# Distances from a plane, as a share of its width, that are rounding.
ON_PLANE = 1e-9


@dataclass(frozen=True)
class Mark:
    """A model on or near a plane.

    Attributes:
        name: Its name.
        x: Coordinate of the nearest point of the plane.
        y: The other coordinate.
        distance: Distance of the model from that point, in the unit of the axes.
        mean_loss: Mean loss of the model itself over the first samples, (sizes,).
        error_rate: Its share of wrong predictions, (sizes,); NaN without classes.
    """

    name: str
    x: float
    y: float
    distance: float
    mean_loss: tuple[float, ...]
    error_rate: tuple[float, ...]

    @property
    def loss(self) -> float:
        """Mean loss of the model itself over all samples."""
        return self.mean_loss[-1]


@dataclass(frozen=True)
class Track:
    """A path over a plane.

    Attributes:
        name: Its name.
        x: Coordinates of the nearest points of the plane, (checkpoints,).
        y: The other coordinates, (checkpoints,).
        distance: Distances of the checkpoints from the plane, (checkpoints,).
    """

    name: str
    x: Floats
    y: Floats
    distance: Floats


@dataclass(frozen=True, eq=False, kw_only=True)
class Surface(NodeLosses):
    """Losses on the plane θ = A + s∘(x·e₁ + y·e₂) with orthonormal axes; see `NodeLosses` for the other attributes.

    Attributes:
        x: Coordinates along e₁, (nx,), lengths in the unit of `coordinates`.
        y: Coordinates along e₂, (ny,).
        models: The models, with the nearest points of the plane.
        tracks: Paths over the plane.
        angle: Angle between B − A and C − A in degrees; NaN for planes around one model.
        axis_names: What the axes are.
        coordinates: "raw" or "filter-normalised": what lengths are measured in.
        eigenvalues: Curvature along the axes, in loss per squared length; empty if unknown.
        explained: Share of the squared distances of a trajectory along each axis; empty for other planes.
        threshold: A loss, or error rate, whose contour is drawn, or None.
        n_params: Number of parameters that move.
    """

    x: Floats
    y: Floats
    models: tuple[Mark, ...]
    tracks: tuple[Track, ...]
    angle: float
    axis_names: tuple[str, str]
    coordinates: str
    eigenvalues: tuple[float, ...]
    explained: tuple[float, ...]
    threshold: float | None
    n_params: int

    def is_off(self, mark: Mark) -> bool:
        """Return whether a model lies off the plane."""
        return bool(mark.distance > ON_PLANE * np.ptp(self.x))

    @cached_property
    def range(self) -> tuple[float, float]:
        """Lowest and highest loss that is drawn: at most six decades, the lowest above 0."""
        finite = self.mean_loss[np.isfinite(self.mean_loss)]
        marks = [loss for mark in self.models for loss in mark.mean_loss if math.isfinite(loss)]
        low, high = min([float(finite.min()), *marks]), float(finite.max())
        low = max(low, high * 1e-6, 1e-300)
        return low, max(high, low * (1 + 1e-9))

    def drawn(self, index: int = -1) -> Floats:
        """Return log10 of the mean loss (ny, nx) at a data size, within `range`; NaN is drawn at the top."""
        low, high = self.range
        return np.log10(np.clip(np.nan_to_num(self.mean_loss[index], nan=high, posinf=high), low, high))

    def at_sizes(self, sizes: Sequence[int]) -> Self:
        """Return the same plane at some of its data sizes.

        Args:
            sizes: Numbers of samples, some of `sizes`.

        Raises:
            UserError: The losses at a size are not known.
        """
        unknown = [size for size in sizes if size not in self.sizes]
        if unknown or not sizes:
            known = f"{len(self.sizes):,} sizes from {self.sizes[0]:,} to {self.sizes[-1]:,}"
            raise UserError(f"Expected some of {known}, got {unknown or 'none'}: evaluate the plane with these sizes.")
        places = sorted({self.sizes.index(size) for size in sizes})
        models = [
            replace(mark, mean_loss=tuple(mark.mean_loss[k] for k in places),
                    error_rate=tuple(mark.error_rate[k] for k in places))
            for mark in self.models
        ]  # fmt: skip
        all_samples = places[-1] == len(self.sizes) - 1  # standard errors are known for these only
        return replace(
            self, models=tuple(models), mean_loss=self.mean_loss[places], error_rate=self.error_rate[places],
            sizes=tuple(self.sizes[k] for k in places),
            loss_se=self.loss_se if all_samples else np.full_like(self.loss_se, np.nan),
        )  # fmt: skip

    def axis_labels(self) -> tuple[str, str]:
        """Return the names of the axes with the unit of their lengths."""
        unit = "filter norms" if self.coordinates == "filter-normalised" else "length in parameters"
        shares = [f", {share:.0%} of squared distances" for share in self.explained] or ["", ""]
        x, y = (f"{name}{share} ({unit})" for name, share in zip(self.axis_names, shares, strict=True))
        return x, y

    def about(self) -> str:
        """Return one line about the plane: samples, coordinates, angle and statistics of normalisation layers."""
        parts = [f"{self.n_params:,} parameters", f"{self.sizes[-1]:,} samples", f"{self.coordinates} coordinates"]
        if not math.isnan(self.angle):
            parts.append(f"angle at A {self.angle:.1f}°")
        if any("normalisation" in note for note in self.notes):
            parts.append(f"BatchNorm {self.batch_norm}")
        return ", ".join(parts)
