"""Crossings of one minimum in float32: found on a small landscape, carried to the larger ones.

The scan that guards the first crossing and the robust solve run on a pilot landscape; from there each larger landscape,
whose curve lies close by, takes two or three heights per crossing, the first of them only over the samples that the
smaller one lacks, and a second look at its hardest samples in float64.
Rays whose pilot does not vouch for a larger landscape are scanned and solved on it from scratch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minima_volume.crossings.bracket import brackets_of, solve
from minima_volume.crossings.landscapes import Ladder
from minima_volume.crossings.newton import FLATTEST, STEEPEST, Floats, Open, polish
from minima_volume.crossings.scan import SCAN_NODES, evaluator, scan
from minima_volume.rays.base import Rays

# A float32 point this close (relative) leaves the float64 steps nothing but a Newton correction.
CLOSE_IN = 1e-3
BISECTION = 1e-4
# A pilot vouches for a scan node of a larger landscape where its own loss lies this far below the threshold; nodes
# nearer than NEAR to the crossing are inside on any curve that rises there.
MARGIN, NEAR = np.log(3.0), np.log(1.25)

# (direction (n,), coefficient, float32 losses (N,), tolerance of their sum) -> what float32 misses, see `hardest.Exact`
Missing = Callable[[Tensor, float, Tensor, float], float]


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
        """The wanted crossings that float64 has to finish."""
        wanted = slice(self.ladder.n_wanted)
        ray, target = np.nonzero((self.unsettled & (self.coefficients > 0))[:, wanted])
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
    below: Watched | None = None
    for size in ladder.sizes():
        columns = np.array(ladder.columns(size))
        heights = Watched(rays, ladder, size, below if size > ladder.pilot else None)
        last_digits = LastDigits(found, heights, block, tolerance, missing)
        if size > ladder.pilot:
            unsafe = last_digits.carry(columns) | _doubtful(found, table, columns)
            if unsafe.any():
                _solved(rays, found, columns, unsafe)
                last_digits.settle(columns, unsafe)
        else:
            last_digits.settle(columns, np.ones((rays.n_rays, len(columns)), dtype=bool))
        below = heights
    return found


class Watched:
    """Heights of one landscape that remember each crossing's last point, x = ln c, and its losses.

    `below`: the same of the next smaller landscape. Landscapes are nested, so a height at a point where that one was looked
    at last costs only the samples that it lacks.
    """

    NEVER = float("nan"), torch.empty(0, dtype=torch.float64)

    def __init__(self, rays: Rays, ladder: Ladder, size: int, below: "Watched | None" = None) -> None:
        self.rays, self.ladder, self.size, self.below = rays, ladder, size, below
        self.last: dict[tuple[int, int], tuple[float, Tensor]] = {}

    def _below(self, open_: Open) -> tuple[Floats, list[Tensor]]:
        """Where the smaller landscape was looked at last for each crossing, NaN where never, and its losses there."""
        last = self.below.last if self.below else {}
        keys = ((ray, self.ladder.start(target)) for ray, target in zip(open_.ray, open_.target, strict=True))
        seen = [last.get(key, self.NEVER) for key in keys] if last else [self.NEVER] * len(open_.ray)
        return np.array([x for x, _ in seen]), [losses for _, losses in seen]

    def starts(self, open_: Open) -> Open:
        """The crossings at the last points of the smaller landscape, where those are as good."""
        last, _ = self._below(open_)
        return replace(open_, x=np.where(np.abs(last - open_.x) < CLOSE_IN, last, open_.x))

    def __call__(self, open_: Open) -> Floats:
        means = np.empty(len(open_.ray))
        last, losses = self._below(open_)
        for known in (True, False):
            rows = np.flatnonzero((last == open_.x) == known)
            rows = rows[np.argsort(open_.ray[rows], kind="stable")]
            if rows.size:
                means[rows] = self._look(open_, rows, [losses[i] for i in rows] if known else [])
        return means

    def _look(self, open_: Open, rows: NDArray[np.int64], prefix: Sequence[Tensor]) -> Floats:
        """Means of some crossings, whose losses over the smaller landscape may be known."""
        start = len(prefix[0]) if prefix else 0
        index, c = torch.from_numpy(open_.ray[rows]), torch.from_numpy(np.exp(open_.x[rows]))
        losses = self.rays.losses(index, c, self.size, start)
        losses = torch.cat([torch.stack(list(prefix)), losses], dim=1) if prefix else losses
        for row, i in enumerate(rows):
            self.last[open_.ray[i], open_.target[i]] = float(open_.x[i]), losses[row]
        means: Floats = losses.mean(dim=1).cpu().numpy()
        return means


@dataclass(frozen=True)
class LastDigits:
    """The crossings of one landscape to the tolerance, with what float32 rounds off made good."""

    found: Found
    heights: Watched
    block: Tensor
    tolerance: float
    missing: Missing

    def carry(self, columns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Crossings from those of the landscape below; which (rays, columns) were not reached."""
        found, below = self.found, np.array([self.found.ladder.start(j) for j in columns])
        open_ = self.heights.starts(found.open(columns, below))
        x, slope, steps = self._mended(open_, np.inf)
        found.write(open_, x, slope, steps)
        found.unsettled[open_.ray, open_.target] |= slope < FLATTEST
        found.recrossed[:, columns] = found.recrossed[:, below]
        return np.isnan(found.coefficients[:, columns])

    def settle(self, columns: NDArray[np.int64], wanted: NDArray[np.bool_]) -> None:
        """Wanted crossings (rays, columns) that are known to CLOSE_IN; what does not settle is left to float64."""
        found, place = self.found, np.full(len(self.found.ladder.targets), -1)
        place[columns] = np.arange(len(columns))
        open_ = found.open(columns, columns)
        open_ = open_.select(wanted[open_.ray, place[open_.target]])
        x, slope, steps = self._mended(open_, STEEPEST * CLOSE_IN)
        settled, before = ~np.isnan(x) & (slope >= FLATTEST), np.log(found.coefficients[open_.ray, open_.target])
        found.write(open_, np.where(settled, x, before), np.where(settled, slope, open_.slope), steps)
        found.unsettled[open_.ray, open_.target] |= ~settled

    def _mended(self, open_: Open, trust: float) -> tuple[Floats, Floats, NDArray[np.int64]]:
        """x, slope and heights of `polish`, with a second look in float64 where float32 is in doubt."""
        thresholds = self.found.ladder.thresholds[open_.target]
        x, slope, steps = polish(self.heights, open_, thresholds, self.tolerance, trust=trust)
        for i in np.flatnonzero(~np.isnan(x)):
            last, losses = self.heights.last[open_.ray[i], open_.target[i]]
            total = float(losses.sum())
            missed = self.missing(
                self.block[open_.ray[i]], float(np.exp(last)), losses, self.tolerance * slope[i] * total
            )
            x[i] -= np.log1p(missed / total) / slope[i]
        return x, slope, steps


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
