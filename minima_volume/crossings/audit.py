"""An audit of first crossings: a few rays are scanned densely up to the crossing that was found.

Random rays bound the share of missed crossings. The longest rays are scanned too, because a missed crossing makes a ray too
long, and the longest rays decide ln E[rⁿ].
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import betaincinv

from minima_volume.crossings.continuation import means_at
from minima_volume.crossings.problem import SweepProblem
from minima_volume.crossings.scan import Counts, Floats
from minima_volume.networks.directions import draw_directions
from minima_volume.rays.preconditioner import Preconditioner

# Share of the rays that are audited at random, and number of the longest ones; most and fewest points on each, and how many
# points an audit may cost as a share of those that the rays have cost. At least one ray is audited.
SHARE, LONGEST, MOST, FEWEST, COST = 0.02, 2, 64, 16, 0.1
# Part of a threshold by which float32 may exceed it, and of a coefficient by which a crossing may be off.
MARGIN = 1e-5
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        looked: Number of random rays that were audited.
        missed: How many of them cross a threshold earlier than was found.
        longest: Number of longest rays that were audited.
        longest_missed: How many of them cross a threshold earlier than was found.
        points: Number of points on each.
    """

    looked: int
    missed: int
    longest: int = 0
    longest_missed: int = 0
    points: int = MOST

    @property
    def bound(self) -> float:
        """Largest share of rays that miss an earlier crossing, with 95 % confidence (Clopper and Pearson, 1934).

        It covers bumps that this many random points meet.

        Example:
            >>> round(Audit(10, 0).bound, 2)
            0.26
        """
        if not self.looked or self.missed == self.looked:
            return 1.0
        return float(betaincinv(self.missed + 1, self.looked - self.missed, CONFIDENCE))

    def sentence(self) -> str:
        """Say what was found."""
        if not self.longest:
            return "No ray was audited for earlier crossings, since none crosses."
        random = (
            f"{self.missed} of {self.looked} random rays (at most {self.bound:.0%} of all, {CONFIDENCE:.0%} confidence) and "
            if self.looked
            else ""
        )
        return (
            f"Audited at {self.points} points a ray: {random}{self.longest_missed} of the {self.longest} longest cross "
            "earlier."
        )


def audit(
    problem: SweepProblem, seed: int, coefficients: Floats, evaluations: int, shape: Preconditioner | None = None
) -> Audit:
    """Scan a few rays densely.

    Args:
        problem: A sweep of one minimum.
        seed: Seed of the directions.
        coefficients: First crossings c (directions, targets).
        evaluations: Number of points that the rays have cost.
        shape: Preconditioner of the directions.

    Returns:
        How many rays were looked at, and how many cross earlier.
    """
    crossing = np.flatnonzero((~(coefficients == 0)).any(axis=1))
    ends = np.nan_to_num(coefficients, nan=1.0)
    draw = np.random.default_rng(seed)
    affordable = max(1, int(COST * evaluations / FEWEST))
    n_longest = min(LONGEST, len(crossing), affordable)
    n_random = min(len(crossing), max(1, round(SHARE * len(coefficients))), affordable - n_longest)
    longest = np.argsort(-ends.max(axis=1), kind="stable")[:n_longest]
    chosen = draw.choice(crossing, n_random, replace=False)
    points = int(np.clip(COST * evaluations / max(1, n_random + n_longest), FEWEST, MOST))

    def misses(directions: Counts) -> int:
        return sum(_crosses_earlier(problem, seed, ray, ends[ray], draw, points, shape) for ray in directions.tolist())

    return Audit(len(chosen), misses(chosen), len(longest), misses(longest), points)


def _crosses_earlier(
    problem: SweepProblem,
    seed: int,
    ray: int,
    ends: Floats,
    draw: np.random.Generator,
    points: int,
    shape: Preconditioner | None,
) -> bool:
    """Return whether a dense scan of one ray, up to its crossings (targets,), finds an earlier one."""
    targets = problem.targets[0]
    block = draw_directions(seed, [ray], problem.layout.n_params)
    row = block if shape is None else shape.apply(block)
    c = (np.arange(points) + draw.random(points)) / points * ends.max()
    with torch.no_grad():
        rays = problem.bundle(row, problem.dtype).rays(problem.minima[0], targets.largest)
        means = means_at(rays, np.zeros(points, dtype=np.int64), c, targets)
    early = (c[:, None] < ends * (1 - MARGIN)) & ~(means <= targets.thresholds * (1 + MARGIN)) & (ends > 0)
    return bool(early.any())
