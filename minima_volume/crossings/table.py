"""What a block's float32 pass fills in: the table of crossings, and the losses at their last points."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from minima_volume.crossings.landscapes import LandscapeSchedule
from minima_volume.crossings.newton import Roots
from minima_volume.crossings.scan import Counts, Floats

Mask = NDArray[np.bool_]


@dataclass
class CrossingTable:
    """The crossings along a block, filled in as they are found.

    Attributes:
        schedule: Targets of the minimum; the columns below are its targets.
        at_zero: Means at the minimum (columns,).
        coefficients: First crossings (rays, columns): 0 if the minimum is above the threshold, NaN if there is none.
        slopes: d ln L/d ln c there (rays, columns).
        recrossed: Whether the scan saw the ray below the threshold again further out (rays, columns).
        unsettled: Which crossings float64 has to finish (rays, columns).
        uncertain: Where there is still room for an earlier crossing (rays, columns).
        earlier: Where the scan had stepped over a crossing, which was found afterwards (rays, columns).
        points: Points evaluated (rays,).
    """

    schedule: LandscapeSchedule
    at_zero: Floats
    coefficients: Floats
    slopes: Floats
    recrossed: Mask
    unsettled: Mask
    uncertain: Mask
    earlier: Mask
    points: Counts

    @classmethod
    def empty(cls, n_rays: int, schedule: LandscapeSchedule, at_zero: Floats) -> "CrossingTable":
        """A table in which only minima above their thresholds are known."""
        shape = (n_rays, len(schedule.targets))
        coefficients, unsettled = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
        recrossed, uncertain, earlier = (np.zeros(shape, dtype=bool) for _ in range(3))
        coefficients[:, ~(at_zero <= schedule.targets.thresholds)] = 0.0
        unsettled[:, : schedule.n_wanted] = schedule.in_float64
        points = np.zeros(n_rays, dtype=np.int64)
        slopes = np.full(shape, np.nan)
        return cls(schedule, at_zero, coefficients, slopes, recrossed, unsettled, uncertain, earlier, points)

    def write(self, ray: Counts, column: Counts, roots: Roots) -> None:
        """Store crossings; NaN where there is none."""
        self.coefficients[ray, column], self.slopes[ray, column] = np.exp(roots.x), roots.slope
        np.add.at(self.points, ray, roots.steps)


class LossCache:
    """The last point x = ln c that was evaluated for each crossing of one landscape, and the losses (N,) there."""

    def __init__(self) -> None:
        self._last: dict[tuple[int, int], tuple[float, Tensor]] = {}

    def store(self, ray: int, column: int, x: float, losses: Tensor) -> None:
        """Keep the losses at a point and forget those before."""
        self._last[ray, column] = x, losses

    def losses(self, ray: int, column: int) -> Tensor:
        """Losses at the last point."""
        return self._last[ray, column][1]

    def last_points(self, ray: Counts, column: Counts) -> Floats:
        """The last points x (k,); NaN where none was evaluated."""
        never = float("nan"), None
        return np.array([self._last.get(key, never)[0] for key in zip(ray.tolist(), column.tolist(), strict=True)])
