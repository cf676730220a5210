"""Crossings of one minimum in float32: found on a small landscape, carried to the larger ones.

The scan that guards the first crossing and the robust solve run on a pilot landscape; from there each larger landscape,
whose curve lies close by, takes two or three heights per crossing, and a second look at its hardest samples in float64.
Rays whose pilot does not vouch for a larger landscape are scanned and solved on it from scratch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minima_volume.hardest import expected
from minima_volume.losses import sensitivity
from minima_volume.points import Rays
from minima_volume.polish import SLOPE_ERROR, STEEPEST, Floats, Heights, Open, polish
from minima_volume.radius import SCAN_NODES, Target, brackets_of, evaluator, scan, solve

# A float32 point this close (relative) leaves the float64 steps nothing but a Newton correction.
CLOSE_IN = 1e-3
BISECTION = 1e-4
# Sharp float32 heights leave about n·ROUNDING/√samples nats of error in n·ln r. Landscapes where that is more than
# TOLERATED, and which have fewer than MANY samples, are finished in float64 as a whole; `hardest` mends the others.
ROUNDING, TOLERATED, MANY = 2e-6, 0.005, 1024
# Fewer samples than this average nothing away, and cost nothing in float64.
FEW = 50
# What float32 may be expected to round off before float64 looks, and what samples that it then does not see may still do:
# standard deviations, in tolerances.
SEEN, UNSEEN = 2.5, 0.5
# Landscapes from here on are worth a pilot, an eighth to a quarter as large.
WORTH_A_PILOT = 4096
# A pilot vouches for a scan node of a larger landscape where its own loss lies this far below the threshold; nodes
# nearer than NEAR to the crossing are inside on any curve that rises there.
MARGIN, NEAR = np.log(3.0), np.log(1.25)

# (direction (n,), coefficient, float32 losses (N,), tolerated error) -> the sum that float32 misses, see `hardest.Exact`
Missing = Callable[[Tensor, float, Tensor, float], float]


@dataclass(frozen=True)
class Ladder:
    """A minimum's targets, followed by the pilots they are carried from; the scan solves all sizes up to `pilot`."""

    targets: Sequence[Target]
    n_wanted: int
    pilot: int
    small: float  # landscapes with fewer samples than this are finished in float64

    @classmethod
    def of(cls, targets: Sequence[Target], n_params: int, *, sharp: bool) -> "Ladder":
        """Without sharp float32 heights float64 finishes everything, and a pilot would save little."""
        small = float(np.clip((n_params * ROUNDING / TOLERATED) ** 2, FEW, MANY)) if sharp else float("inf")
        losses = sorted({target.size for target in targets if target.metric == "loss"})
        largest = max(target.size for target in targets)
        if not sharp or largest < WORTH_A_PILOT:
            return cls(targets, len(targets), largest, small)
        fitting = [size for size in losses if largest // 60 <= size <= largest // 4]
        stepped = [target.size for target in targets if target.metric == "accuracy"]
        pilot = max([fitting[-1] if fitting else largest // 8, *stepped])
        above = {t.threshold for t in targets if t.metric == "loss" and t.size > pilot}
        present = {t.threshold for t in targets if t.metric == "loss" and t.size == pilot}
        pilots = [Target(pilot, threshold) for threshold in sorted(above - present)]
        return cls([*targets, *pilots], len(targets), pilot, small)

    @cached_property
    def thresholds(self) -> Floats:
        """Threshold of every target."""
        return np.array([target.threshold for target in self.targets])

    @cached_property
    def scanned(self) -> NDArray[np.int64]:
        """Columns that the scan solves."""
        return np.flatnonzero([target.size <= self.pilot for target in self.targets])

    def in_double(self) -> NDArray[np.bool_]:
        """Which wanted targets float64 has to finish."""
        wanted = self.targets[: self.n_wanted]
        return np.array([t.metric == "loss" and t.size < self.small for t in wanted])

    def columns(self, size: int) -> list[int]:
        """The losses averaged over one landscape, by rising threshold."""
        found = [j for j, t in enumerate(self.targets) if t.metric == "loss" and t.size == size]
        return sorted(found, key=lambda j: self.targets[j].threshold)

    def sizes(self) -> list[int]:
        """Landscapes that are carried to or polished in float32, ascending."""
        losses = {target.size for target in self.targets if target.metric == "loss"}
        return sorted(size for size in losses if size > self.pilot or size >= self.small)

    def start(self, column: int, *, pilot: bool = False) -> int:
        """The same threshold in the next smaller landscape from the pilot's on, or in the pilot's."""
        own = self.targets[column]
        fitting = [
            j for j, t in enumerate(self.targets)
            if t.metric == "loss" and t.threshold == own.threshold and self.pilot <= t.size < own.size
        ]  # fmt: skip
        return (min if pilot else max)(fitting, key=lambda j: self.targets[j].size)


class Found:
    """What fills up: (rays, targets) coefficients as in `sweep.Crossings`, slopes, recrossed; evaluated points (rays,)."""

    def __init__(self, n_rays: int, ladder: Ladder, at_zero: Floats) -> None:
        shape = (n_rays, len(ladder.targets))
        self.ladder, self.at_zero = ladder, at_zero
        self.coefficients, self.slopes = np.full(shape, np.nan), np.full(shape, np.nan)
        self.coefficients[:, ~(at_zero <= ladder.thresholds)] = 0.0
        self.recrossed = np.zeros(shape, dtype=bool)
        self.unsettled = np.zeros(shape, dtype=bool)  # what float64 has to finish
        self.unsettled[:, : ladder.n_wanted] = ladder.in_double()
        self.points = np.zeros(n_rays, dtype=np.int64)

    def open_unsettled(self) -> Open:
        """The crossings that float64 has to finish."""
        ray, target = np.nonzero(self.unsettled & (self.coefficients > 0))
        return Open.at(ray, target, np.log(self.coefficients[ray, target]), self.slopes[ray, target])

    def open(self, columns: NDArray[np.int64], start: NDArray[np.int64]) -> Open:
        """The crossings of some columns, starting where the columns `start` cross."""
        ray, place = np.nonzero((self.coefficients[:, start] > 0) & (self.coefficients[:, columns] != 0))
        x = np.log(self.coefficients[ray, start[place]])
        return Open.at(ray, columns[place], x, self.slopes[ray, start[place]])

    def write(self, open_: Open, x: Floats, slope: Floats, steps: NDArray[np.int64]) -> None:
        """Crossings found; NaN where there is none."""
        self.coefficients[open_.ray, open_.target], self.slopes[open_.ray, open_.target] = np.exp(x), slope
        np.add.at(self.points, open_.ray, steps)


def close_in(rays: Rays, block: Tensor, ladder: Ladder, at_zero: Floats, tolerance: float, missing: Missing) -> Found:
    """All crossings along a block (rays, n): those left `unsettled` to CLOSE_IN, the others to the tolerance."""
    found = Found(rays.n_rays, ladder, at_zero)
    every = np.ones((rays.n_rays, len(ladder.scanned)), dtype=bool)
    table = np.full((rays.n_rays, 1 + len(SCAN_NODES), len(ladder.targets)), np.nan)
    table[:, :, ladder.scanned] = _solved(rays, found, ladder.scanned, every)
    evaluate = evaluator(rays, ladder.targets)

    def heights(open_: Open) -> Floats:
        return evaluate(open_.ray, open_.target, np.exp(open_.x))

    for size in ladder.sizes():
        columns = np.array(ladder.columns(size))
        if size > ladder.pilot:
            unsafe = _carry(found, heights, columns) | _doubtful(found, table, columns)
            if unsafe.any():
                _solved(rays, found, columns, unsafe)
        if size >= ladder.small:
            _polish(found, rays, block, columns, tolerance, missing)
    return found


def _polish(
    found: Found, rays: Rays, block: Tensor, columns: NDArray[np.int64], tolerance: float, missing: Missing
) -> None:
    """Polish the crossings of one landscape and mend what float32 rounds off; what does not settle is left to float64."""
    open_ = found.open(columns, columns)
    thresholds = found.ladder.thresholds[open_.target]
    heights = Watched(rays, found.ladder.targets[columns[0]].size)
    x, slope, steps = polish(heights, open_, thresholds, tolerance, trust=STEEPEST * CLOSE_IN)
    settled = ~np.isnan(x)
    for i in np.flatnonzero(settled):
        c, losses, doubt = heights.last[open_.ray[i], open_.target[i]]
        unit = tolerance * slope[i] * float(losses.sum())
        if doubt > SEEN * unit:
            mended = missing(block[open_.ray[i]], c, losses, UNSEEN * unit) / float(losses.sum())
            x[i] -= np.log1p(mended) / slope[i]
    before = np.log(found.coefficients[open_.ray, open_.target])
    found.write(open_, np.where(settled, x, before), np.where(settled, slope, open_.slope), steps)
    found.unsettled[open_.ray, open_.target] |= ~settled


class Watched:
    """Heights of one landscape that remember each crossing's last point, its losses, and what their sum may miss."""

    def __init__(self, rays: Rays, size: int) -> None:
        self.rays, self.size = rays, size
        self.last: dict[tuple[int, int], tuple[float, Tensor, float]] = {}

    def __call__(self, open_: Open) -> Floats:
        order, c, means = np.argsort(open_.ray, kind="stable"), np.exp(open_.x), np.empty(len(open_.ray))
        losses = self.rays.losses(torch.from_numpy(open_.ray[order]), torch.from_numpy(c[order]), self.size)
        slopes = sensitivity(self.rays.samples.criterion, losses)
        doubts = (expected(losses) * slopes.square().sum(dim=1).sqrt()).cpu().numpy()
        means[order] = losses.mean(dim=1).cpu().numpy()
        for row, i in enumerate(order):
            self.last[open_.ray[i], open_.target[i]] = float(c[i]), losses[row], float(doubts[row])
        return means


def _carry(found: Found, heights: Heights, columns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Crossings of a larger landscape from those of the one below it; which (rays, columns) were not reached."""
    below = np.array([found.ladder.start(j) for j in columns])
    open_ = found.open(columns, below)
    thresholds = found.ladder.thresholds[open_.target]
    x, slope, steps = polish(heights, open_, thresholds, SLOPE_ERROR * CLOSE_IN, trust=np.inf)
    found.write(open_, x, slope, steps)
    found.recrossed[:, columns] = found.recrossed[:, below]
    return np.isnan(found.coefficients[:, columns])


def _doubtful(found: Found, table: Floats, columns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which (rays, columns) have a scan node that the pilot's loss (rays, 1 + nodes, targets) does not show to be inside."""
    nodes = np.log(np.concatenate([[np.nan], SCAN_NODES]))
    pilots = [found.ladder.start(j, pilot=True) for j in columns]
    with np.errstate(all="ignore"):
        inside = nodes[None, :, None] < np.log(found.coefficients[:, None, columns]) - NEAR
        close = np.log(table[:, :, pilots] / found.ladder.thresholds[columns]) > -MARGIN
    return np.asarray((inside & close).any(axis=1))


def _solved(rays: Rays, found: Found, columns: NDArray[np.int64], wanted: NDArray[np.bool_]) -> Floats:
    """Scan and solve the wanted crossings (rays, columns) to CLOSE_IN; the scan's table (rays, 1 + nodes, columns)."""
    targets = [found.ladder.targets[j] for j in columns]
    wanted = wanted & (found.coefficients[:, columns] != 0)
    table, points = scan(rays, targets, found.at_zero[columns], SCAN_NODES, wanted)
    problem, recrossed = brackets_of(table, targets, SCAN_NODES)
    problem = problem.select(wanted[problem.ray, problem.target])
    found.points += points
    found.recrossed[:, columns] = np.where(wanted, recrossed, found.recrossed[:, columns])
    found.coefficients[:, columns] = np.where(wanted, np.nan, found.coefficients[:, columns])
    in_steps = np.array([target.metric == "accuracy" for target in targets])[problem.target]
    thresholds, evaluate = np.array([target.threshold for target in targets]), evaluator(rays, targets)
    for rows, tolerance, bisect in ((in_steps, BISECTION, True), (~in_steps, CLOSE_IN, False)):
        part = problem.select(rows)
        x, slope, steps = solve(evaluate, part, thresholds, tolerance=tolerance, bisect=bisect)
        found.write(Open.at(part.ray, columns[part.target], x, slope), x, slope, steps)
    return table
