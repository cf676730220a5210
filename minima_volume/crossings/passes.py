"""The two precisions: a float32 pass for one minimum, a check of float32, and a float64 pass for all minima.

This module decides what float64 finishes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minima_volume.crossings.bracket import enclose
from minima_volume.crossings.continuation import FLOAT32_RTOL, solve_block
from minima_volume.crossings.landscapes import LandscapeSchedule
from minima_volume.crossings.newton import MAX_STEPS, STEEPEST, NewtonState, Roots, newton_step, representable
from minima_volume.crossings.problem import MinimumState, SweepProblem
from minima_volume.crossings.scan import Counts, Floats
from minima_volume.crossings.table import CrossingTable
from minima_volume.networks.minimum import Minimum
from minima_volume.rays.base import Rays
from minima_volume.rays.bundle import Bundle

# Samples on which float32 is compared with float64 before it is trusted, and the nats by which it may be off. A larger
# error would keep the last float32 steps from settling; a smaller one is corrected afterwards.
CHECK_SAMPLES, CHECK_NATS = 512, 0.2

# --- float32 ----------------------------------------------------------------------------------------------------------


def float32_pass(
    problem: SweepProblem, number: int, bundle: Bundle, states: Sequence[MinimumState]
) -> tuple[CrossingTable, MinimumState]:
    """Crossings of one minimum in float32, and what is known of it afterwards.

    On the first block that crosses anything, float32 is compared with float64. If it is too rough, all crossings are
    found again on a schedule that float64 finishes.
    """
    minimum, targets, state = problem.minima[number], problem.targets[number], states[number]
    rays = bundle.rays(minimum, targets.largest, state.shared)
    correction = problem.correction(minimum, bundle.block)
    n_params = problem.layout.n_params
    schedule = state.schedule or LandscapeSchedule.of(targets, n_params, float32_resolves=rays.float64_logits)
    table = solve_block(rays, schedule, state.at_zero, problem.tolerance, correction)
    agrees, compared = (True, 0) if state.checked else float32_agrees(problem, minimum, bundle, rays, table)
    if agrees is False:
        schedule = LandscapeSchedule.of(targets, n_params, float32_resolves=False)
        table = solve_block(rays, schedule, None, problem.tolerance, correction)
    return table, MinimumState(
        table.schedule,
        table.at_zero,
        checked=agrees is not None,
        shared=state.shared if state.shared is not None else _shared_if_it_fits(problem, rays, states),
        float32=state.float32 + rays.sample_evaluations,
        float64=state.float64 + compared,
    )


def float32_agrees(
    problem: SweepProblem, minimum: Minimum, bundle: Bundle, rays: Rays, table: CrossingTable
) -> tuple[bool | None, int]:
    """Whether float64 moves the crossings of one ray, on the first samples, by no more than CHECK_NATS.

    Returns:
        The answer, or None if no ray crosses what float32 is to finish; and the number of losses evaluated in float64.
    """
    ray = int((table.coefficients > 0).sum(axis=1).argmax())
    wanted = slice(table.schedule.n_wanted)
    targets, crossed = table.schedule.targets, table.coefficients[ray] > 0
    columns = np.flatnonzero(~table.schedule.in_float64 & crossed[wanted] & targets.is_loss[wanted])
    if not columns.size:
        return None, 0
    sizes = targets.sizes[columns]
    n_samples = min(CHECK_SAMPLES, int(sizes.min()))
    float64_rays = problem.bundle(bundle.block[ray : ray + 1], torch.float64, 0, n_samples).rays(minimum)
    index = torch.zeros(len(columns), dtype=torch.long)
    c = torch.from_numpy(np.exp(representable(np.log(table.coefficients[ray, columns]))))
    off = (rays.means(index + ray, c, [n_samples]) - float64_rays.means(index, c, [n_samples]))[:, 0].numpy()
    nats = problem.layout.n_params * off / (targets.thresholds[columns] * table.slopes[ray, columns])
    # A guard against networks that lose digits elsewhere; the noise of one ray must not trip it.
    agrees = bool((np.abs(nats) * np.sqrt(n_samples / sizes) < CHECK_NATS).all())
    return agrees, float64_rays.sample_evaluations


def _shared_if_it_fits(problem: SweepProblem, rays: Rays, states: Sequence[MinimumState]) -> Tensor | None:
    """What the next block can use again, as long as that of all minima fits a quarter of the memory."""
    used = sum(state.shared.nbytes for state in states if state.shared is not None)
    fits = rays.shared is not None and used + rays.shared.nbytes <= problem.memory // 4
    return rays.shared if fits else None


# --- float64 ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Unsettled:
    """Crossings of one minimum that float64 has to finish: ray and column (k,), and where to look next."""

    ray: Counts
    column: Counts
    state: NewtonState

    @classmethod
    def of(cls, table: CrossingTable) -> "_Unsettled":
        """Those that the float32 pass left unsettled."""
        wanted = slice(table.schedule.n_wanted)
        ray, column = np.nonzero((table.unsettled & (table.coefficients > 0))[:, wanted])
        return cls(ray, column, NewtonState.start(np.log(table.coefficients[ray, column]), table.slopes[ray, column]))

    def select(self, rows: NDArray[np.bool_]) -> "_Unsettled":
        """The crossings where `rows` is true."""
        return _Unsettled(self.ray[rows], self.column[rows], self.state.select(rows))

    def __len__(self) -> int:
        return len(self.ray)


# Ray, column and x = ln c (k,) of the points of each minimum.
_Points = list[tuple[Counts, Counts, Floats]]


def float64_pass(problem: SweepProblem, block: Tensor, tables: Sequence[CrossingTable]) -> list[int]:
    """Finish the unsettled crossings of all tables in float64; returns the losses evaluated for each minimum.

    Newton steps of all minima share each pass over the data. Crossings that steps do not reach, or whose slope is
    outside the range of a crossing that a step can follow, are enclosed and solved by brackets.
    """
    pending, evaluated = [_Unsettled.of(table) for table in tables], [0] * len(tables)
    if not any(map(len, pending)):
        return evaluated
    block = problem.prepare(block)
    for _ in range(MAX_STEPS):
        if not any(map(len, pending)):
            break
        heights = _float64_heights(problem, block, [(u.ray, u.column, u.state.x) for u in pending], evaluated)
        for number, (table, unsettled, found) in enumerate(zip(tables, pending, heights, strict=True)):
            step = newton_step(
                unsettled.state,
                found,
                problem.tolerance,
                max_log_height=STEEPEST * FLOAT32_RTOL,
                rounding=problem.rounding,
            )
            one = np.ones(len(unsettled), dtype=np.int64)
            table.write(unsettled.ray, unsettled.column, Roots(step.x, step.state.slope, one))
            rough = step.lost | ~((step.state.slope > problem.flattest) & (step.state.slope < STEEPEST))
            _enclose(problem, block, number, table, unsettled.select(rough), evaluated)
            following = _Unsettled(unsettled.ray, unsettled.column, step.state)
            pending[number] = following.select(step.unfinished & ~rough)
    for number, (table, unsettled) in enumerate(zip(tables, pending, strict=True)):
        _enclose(problem, block, number, table, unsettled, evaluated)
    return evaluated


def _enclose(
    problem: SweepProblem, block: Tensor, number: int, table: CrossingTable, unsettled: _Unsettled, evaluated: list[int]
) -> None:
    """Solve crossings of one minimum from float64 brackets around them."""
    nothing = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0)

    def heights(rows: Counts, x: Floats) -> Floats:
        asked = [nothing] * len(problem.minima)
        asked[number] = unsettled.ray[rows], unsettled.column[rows], x
        return _float64_heights(problem, block, asked, evaluated)[number]

    if len(unsettled):
        roots = enclose(heights, unsettled.state.x, unsettled.state.slope, problem.tolerance)
        table.write(unsettled.ray, unsettled.column, roots)


def _float64_heights(problem: SweepProblem, block: Tensor, points: _Points, evaluated: list[int]) -> list[Floats]:
    """Heights L/τ at the points of every minimum along a float64 block, in one pass over chunks of the data."""
    used = np.unique(np.concatenate([ray for ray, _, _ in points]))
    place = np.searchsorted(used, np.arange(len(block)))
    used_block = block if len(used) == len(block) else block[torch.from_numpy(used)]
    doubles = [problem.prepare(minimum) for minimum in problem.minima]
    sizes = [own.sizes[column] for own, (_, column, _) in zip(problem.targets, points, strict=True)]
    sums = [np.zeros(len(size)) for size in sizes]
    for start, stop in problem.chunks(len(used), max(int(size.max(initial=0)) for size in sizes)):
        bundle = problem.bundle(used_block, torch.float64, start, stop)
        for number, (ray, _, x) in enumerate(points):
            inside = np.clip(sizes[number] - start, 0, stop - start)
            if not inside.any():
                continue
            rays = bundle.rays(doubles[number], int(inside.max()))
            for length in np.unique(inside[inside > 0]):
                rows = np.flatnonzero(inside == length)
                index, c = torch.from_numpy(place[ray[rows]]), torch.from_numpy(np.exp(x[rows]))
                sums[number][rows] += rays.sums(index, c, [int(length)])[:, 0].numpy()
            evaluated[number] += rays.sample_evaluations
    return [
        total / size / own.thresholds[column]
        for total, size, own, (_, column, _) in zip(sums, sizes, problem.targets, points, strict=True)
    ]
