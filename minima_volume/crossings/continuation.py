"""Crossings of one minimum along one block of directions in float32, continued from small landscapes to larger ones.

The scan that guards the first crossing and the bracketing solver run on a coarse landscape. From there each larger
landscape takes two or three heights per crossing: its curve lies close by, and the first height is computed only over the
samples that the smaller landscape lacks. Float64 then corrects the rounding of the last height on few samples.
If the coarse landscape cannot certify a ray's first crossing, the ray is scanned and solved again on the larger one.
"""

from dataclasses import dataclass

import numpy as np
import torch

from minima_volume.crossings.bracket import Brackets, first_brackets, solve_brackets
from minima_volume.crossings.landscapes import LandscapeSchedule
from minima_volume.crossings.newton import FLATTEST, STEEPEST, Heights, NewtonState, Roots, polish
from minima_volume.crossings.refine import first_crossings
from minima_volume.crossings.rounding import Correction
from minima_volume.crossings.scan import SCAN_NODES, Counts, Floats, Means, Targets, scan
from minima_volume.crossings.table import CrossingTable, LossCache, Mask
from minima_volume.rays.base import Rays

# Relative tolerance of a float32 crossing that is polished afterwards: one Newton step finishes it.
FLOAT32_RTOL = 1e-3
# Relative tolerance of the crossing of an error rate, which moves in steps.
STEP_RTOL = 1e-4
# The coarse landscape certifies a scan node of a larger one if its own loss there lies this far below the threshold. Nodes
# nearer than NEAR to the crossing are inside on any curve that rises there.
CERTAIN, NEAR = np.log(3.0), np.log(1.25)


def solve_block(
    rays: Rays, schedule: LandscapeSchedule, at_zero: Floats | None, tolerance: float, correction: Correction
) -> CrossingTable:
    """Find the crossings of one minimum along a block of directions.

    Args:
        rays: Float32 rays of the minimum.
        schedule: Its targets and the order in which they are solved.
        at_zero: Means at the minimum (columns,), or None if they are not known yet.
        tolerance: Relative tolerance of a coefficient.
        correction: What float32 rounds off a sum of losses.

    Returns:
        The table. Crossings marked `unsettled` are known to FLOAT32_RTOL, those of error rates to STEP_RTOL, and the
        others to the tolerance.
    """
    if at_zero is None:
        at_zero = means_at(rays, np.zeros(1, dtype=np.int64), np.zeros(1), schedule.targets)[0]
    solver = _BlockSolver(rays, CrossingTable.empty(rays.n_rays, schedule, at_zero), tolerance, correction)
    means = np.full((rays.n_rays, 1 + len(SCAN_NODES), len(schedule.targets)), np.nan)
    scanned = schedule.scanned
    means[:, :, scanned] = solver.scan_and_solve(scanned, np.ones((rays.n_rays, len(scanned)), dtype=bool))
    smaller = LossCache()
    for size in schedule.float32_sizes:
        here = _Landscape(size, schedule.columns(size), LossCache(), smaller)
        if size <= schedule.coarse:
            solver.settle(here, np.ones((rays.n_rays, len(here.columns)), dtype=bool))
        else:
            again = solver.follow(here) | solver.uncertified(here.columns, means)
            if again.any():
                solver.scan_and_solve(here.columns, again)
                solver.settle(here, again)
        smaller = here.cache
    return solver.table


@dataclass(frozen=True)
class _Landscape:
    """One landscape: its size and columns, the losses evaluated on it, and those of the next smaller landscape."""

    size: int
    columns: Counts
    cache: LossCache
    smaller: LossCache


@dataclass(frozen=True)
class _BlockSolver:
    """The three ways in which `solve_block` finds crossings, each writing into the table."""

    rays: Rays
    table: CrossingTable
    tolerance: float
    correction: Correction

    def scan_and_solve(self, columns: Counts, wanted: Mask) -> Floats:
        """Scan and solve the wanted crossings (rays, columns) to FLOAT32_RTOL; returns the scan's table of means."""
        table, targets = self.table, self.table.schedule.targets.select(columns)
        wanted = wanted & (table.coefficients[:, columns] != 0)
        along = means_along(self.rays, targets)
        means, points = scan(along, table.at_zero[columns], targets.thresholds, self.rays.n_rays, wanted)
        ray, column, brackets, recrossed = first_brackets(means, targets.thresholds)
        asked = wanted[ray, column]
        ray, column, brackets = ray[asked], column[asked], brackets.select(asked)
        table.points[:] += points
        table.recrossed[:, columns] = np.where(wanted, recrossed, table.recrossed[:, columns])
        table.coefficients[:, columns] = np.where(wanted, np.nan, table.coefficients[:, columns])
        steps = ~targets.is_loss[column]
        heights = heights_on(self.rays, targets, ray[steps], column[steps])
        roots = solve_brackets(heights, brackets.select(steps), STEP_RTOL, bisect=True)
        table.write(ray[steps], columns[column[steps]], roots)
        self._solve_losses(columns, wanted, means, (ray[~steps], column[~steps], brackets.select(~steps)))
        return means

    def _solve_losses(
        self, columns: Counts, wanted: Mask, means: Floats, crossed: tuple[Counts, Counts, Brackets]
    ) -> None:
        """Solve the first crossings of losses, and look for those that the scan has stepped over."""
        table, targets = self.table, self.table.schedule.targets.select(columns)
        ray, column = np.nonzero(wanted & targets.is_loss)
        scanned = means[ray, :, column] / targets.thresholds[column, None]
        place = {pair: i for i, pair in enumerate(zip(ray.tolist(), column.tolist(), strict=True))}
        rows = np.array(
            [place[pair] for pair in zip(crossed[0].tolist(), crossed[1].tolist(), strict=True)], dtype=np.int64
        )
        brackets = Brackets(*(np.full(len(ray), np.nan) for _ in range(6)))
        for name, values in vars(crossed[2]).items():
            vars(brackets)[name][rows] = values
        found = first_crossings(heights_on(self.rays, targets, ray, column), scanned, brackets, FLOAT32_RTOL)
        table.write(ray, columns[column], found.roots)
        table.uncertain[ray, columns[column]] = found.uncertain
        table.earlier[ray, columns[column]] = found.earlier

    def settle(self, here: _Landscape, wanted: Mask) -> None:
        """Polish the wanted crossings (rays, columns) that are known to FLOAT32_RTOL; leave the rest to float64."""
        table = self.table
        ray, place = np.nonzero((table.coefficients[:, here.columns] > 0) & wanted)
        column = here.columns[place]
        before = np.log(table.coefficients[ray, column])
        state = NewtonState.start(before, table.slopes[ray, column])
        roots = self._polish(here, ray, column, state, STEEPEST * FLOAT32_RTOL)
        settled = ~np.isnan(roots.x) & (roots.slope >= FLATTEST)
        kept = Roots(
            np.where(settled, roots.x, before), np.where(settled, roots.slope, state.slope), roots.steps
        )  # fmt: skip
        table.write(ray, column, kept)
        table.unsettled[ray, column] |= ~settled

    def follow(self, here: _Landscape) -> Mask:
        """Continue crossings from the next smaller landscape; which (rays, columns) were not reached."""
        table, columns = self.table, here.columns
        starts = table.schedule.starts(columns)
        ray, place = np.nonzero((table.coefficients[:, starts] > 0) & (table.coefficients[:, columns] != 0))
        column, start = columns[place], starts[place]
        state = NewtonState.start(np.log(table.coefficients[ray, start]), table.slopes[ray, start])
        # The smaller landscape's last point is as good a start, and its losses there are known.
        last = here.smaller.last_points(ray, start)
        near = np.abs(last - state.x) < FLOAT32_RTOL
        state = NewtonState(np.where(near, last, state.x), state.slope, state.last_x, state.last_f, state.length)
        roots = self._polish(here, ray, column, state, np.inf)
        table.write(ray, column, roots)
        table.unsettled[ray, column] |= roots.slope < FLATTEST
        table.recrossed[:, columns] = table.recrossed[:, starts]
        return np.isnan(table.coefficients[:, columns])

    def uncertified(self, columns: Counts, means: Floats) -> Mask:
        """Which (rays, columns) have a scan node that the coarse landscape's means do not show to be inside."""
        nodes = np.log(np.concatenate([[np.nan], SCAN_NODES]))
        coarse = self.table.schedule.starts(columns, coarse=True)
        with np.errstate(all="ignore"):
            inside = nodes[None, :, None] < np.log(self.table.coefficients[:, None, columns]) - NEAR
            close = np.log(means[:, :, coarse] / self.table.schedule.targets.thresholds[columns]) > -CERTAIN
        return np.asarray((inside & close).any(axis=1))

    def _polish(
        self, here: _Landscape, ray: Counts, column: Counts, state: NewtonState, max_log_height: float
    ) -> Roots:
        """Newton steps on one landscape, and a float64 correction of the last height where float32 is in doubt."""
        roots = polish(self._heights(here, ray, column), state, self.tolerance, max_log_height=max_log_height)
        last = here.cache.last_points(ray, column)
        for i in np.flatnonzero(~np.isnan(roots.x)):
            losses = here.cache.losses(ray[i], column[i])
            total = float(losses.sum())
            allowed = self.tolerance * roots.slope[i] * total
            missed = self.correction(int(ray[i]), float(np.exp(last[i])), losses, allowed)
            roots.x[i] -= np.log1p(missed / total) / roots.slope[i]
        return roots

    def _heights(self, here: _Landscape, ray: Counts, column: Counts) -> Heights:
        """Heights on one landscape. Losses that the smaller one has evaluated at the same point are not computed again."""
        schedule, cache, smaller = self.table.schedule, here.cache, here.smaller
        starts = column
        if here.size > schedule.coarse:
            different, place = np.unique(column, return_inverse=True)
            starts = schedule.starts(different)[place]

        def heights(rows: Counts, x: Floats) -> Floats:
            means = np.empty(len(rows))
            known = smaller.last_points(ray[rows], starts[rows]) == x
            for same in (True, False):
                chosen = np.flatnonzero(known == same)
                chosen = chosen[np.argsort(ray[rows[chosen]], kind="stable")]
                if not chosen.size:
                    continue
                at = rows[chosen]
                prefix = [smaller.losses(r, s) for r, s in zip(ray[at], starts[at], strict=True)] if same else []
                first = len(prefix[0]) if prefix else 0
                points = torch.from_numpy(ray[at]), torch.from_numpy(np.exp(x[chosen]))
                losses = self.rays.losses(*points, here.size, first)
                losses = torch.cat([torch.stack(prefix), losses], dim=1) if prefix else losses
                for row, i in enumerate(at):
                    cache.store(int(ray[i]), int(column[i]), float(x[chosen[row]]), losses[row])
                means[chosen] = losses.mean(dim=1).cpu().numpy()
            return means / schedule.targets.thresholds[column[rows]]

        return heights


# --- means along rays --------------------------------------------------------------------------------------------------


def means_at(rays: Rays, ray: Counts, c: Floats, targets: Targets) -> Floats:
    """Means (k, targets) at the k points (ray, coefficient); nested landscapes take one pass over the data."""
    out = np.empty((len(ray), len(targets)))
    for kind in np.unique(targets.kinds):
        columns = np.flatnonzero(targets.kinds == kind)
        sizes, place = np.unique(targets.sizes[columns], return_inverse=True)
        means = rays.means(
            torch.from_numpy(ray), torch.from_numpy(c), sizes.tolist(), "loss" if kind == "loss" else "error_rate"
        ).numpy()
        out[:, columns] = means[:, place]
    return out


def heights_on(rays: Rays, targets: Targets, ray: Counts, column: Counts) -> Heights:
    """Heights L/τ of the crossings (ray, column), each over the samples of its own target only."""
    means = list(zip(targets.kinds.tolist(), targets.sizes.tolist(), strict=True))
    different = sorted(set(means))
    number_of = np.array([different.index(mean) for mean in means])[column]

    def heights(rows: Counts, x: Floats) -> Floats:
        out, c = np.empty(len(rows)), np.exp(x)
        for number, (kind, size) in enumerate(different):
            chosen = np.flatnonzero(number_of[rows] == number)
            if chosen.size:
                chosen = chosen[np.argsort(ray[rows[chosen]], kind="stable")]
                points = torch.from_numpy(ray[rows[chosen]]), torch.from_numpy(c[chosen])
                out[chosen] = rays.means(*points, [size], kind)[:, 0].numpy()
        return out / targets.thresholds[column[rows]]

    return heights


def means_along(rays: Rays, targets: Targets) -> Means:
    """The function of ray numbers and one coefficient that `scan` walks along."""
    return lambda ray, node: means_at(rays, ray, np.full(len(ray), node), targets)
