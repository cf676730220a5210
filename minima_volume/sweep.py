"""Radii of several minima along one block of directions: scan and close in with float32, finish in float64."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from minima_volume import directions
from minima_volume.landscape import Bundle, ray_bytes
from minima_volume.points import Minimum, Samples
from minima_volume.radius import SCAN_NODES, Brackets, Floats, Target, brackets_of, evaluator, means_at, scan, solve

# A float32 point this close (relative) leaves the float64 steps nothing but a Newton correction.
CLOSE_IN = 1e-3
BISECTION = 1e-4


@dataclass(frozen=True)
class Crossings:
    """Where the rays of one minimum cross its targets; arrays are (rays, targets) unless said otherwise.

    `coefficients`: the first crossing; 0 where the minimum itself is above the threshold (unconverged), NaN where the ray
    stays below up to c = 1 (censored). `recrossed`: seen below again at a scan node behind the first crossing.
    `at_zero` (targets,): the mean at the minimum. `evaluations` (rays,): points evaluated, float64 ones included.
    """

    coefficients: Floats
    recrossed: NDArray[np.bool_]
    at_zero: Floats
    evaluations: NDArray[np.int64]


def tolerance_for(n_params: int) -> float:
    """Relative tolerance of a coefficient: 0.002 nats of n·ln r, and never coarser than 10⁻⁶."""
    return min(1e-6, 0.002 / n_params)


def sweep(
    model: nn.Module,
    minima: Sequence[Minimum],
    targets: Sequence[Sequence[Target]],
    samples: Samples,
    *,
    seed: int,
    indices: Sequence[int],
    memory: int = 2**29,
) -> list[Crossings]:
    """Crossings of each minimum with its own targets along the directions `indices` of `seed`.

    All minima share the directions and their products with the data; `memory` bounds, in bytes, what the rays in flight
    keep. The result is the same for any split of the indices into calls, and for any memory.
    """
    layout = minima[0].layout
    per_ray = ray_bytes(model, layout, samples)
    batch = max(1, min(len(indices), memory // max(1, per_ray)))
    parts = [
        _sweep_batch(model, minima, targets, samples, seed, indices[i : i + batch], memory)
        for i in range(0, len(indices), batch)
    ]
    return [_joined([part[m] for part in parts]) for m in range(len(minima))]


def _joined(parts: Sequence[Crossings]) -> Crossings:
    return Crossings(
        np.concatenate([part.coefficients for part in parts]),
        np.concatenate([part.recrossed for part in parts]),
        parts[0].at_zero,
        np.concatenate([part.evaluations for part in parts]),
    )


@dataclass
class Open:
    """Crossings of one minimum that float32 has closed in on: x = ln c and the slope d ln L/d ln c."""

    ray: NDArray[np.int64]
    target: NDArray[np.int64]
    x: Floats
    slope: Floats


def _sweep_batch(
    model: nn.Module,
    minima: Sequence[Minimum],
    targets: Sequence[Sequence[Target]],
    samples: Samples,
    seed: int,
    indices: Sequence[int],
    memory: int,
) -> list[Crossings]:
    block = directions.directions(seed, indices, minima[0].layout.n_params)
    bundle = Bundle(model, minima[0].layout, samples, block, torch.float32)
    found, pending = [], []
    for minimum, wanted in zip(minima, targets, strict=True):
        crossings, still_open = _close_in(bundle, minimum, wanted)
        found.append(crossings)
        pending.append(still_open)
    del bundle
    _finish(model, minima, targets, samples, block, found, pending, memory)
    return found


def _close_in(bundle: Bundle, minimum: Minimum, targets: Sequence[Target]) -> tuple[Crossings, Open]:
    """Scan and float32 solve of one minimum's rays; accuracy crossings are final, loss crossings still open."""
    rays = bundle.rays(minimum)
    thresholds = np.array([target.threshold for target in targets])
    at_zero = means_at(rays, np.zeros(1, dtype=np.int64), np.zeros(1), targets)[0]
    table, points = scan(rays, targets, at_zero, SCAN_NODES)
    problem, recrossed = brackets_of(table, targets, SCAN_NODES)
    coefficients = np.full((rays.n_rays, len(targets)), np.nan)
    coefficients[:, ~(at_zero <= thresholds)] = 0.0
    steps_apart = np.array([target.metric == "accuracy" for target in targets])[problem.target]
    evaluate = evaluator(rays, targets)
    x, slope, steps = np.empty(len(problem.ray)), np.empty(len(problem.ray)), np.empty(len(problem.ray), dtype=np.int64)
    for rows, tolerance in ((steps_apart, BISECTION), (~steps_apart, CLOSE_IN)):
        part = problem.select(rows)
        x[rows], slope[rows], steps[rows] = solve(
            evaluate, part, thresholds, tolerance=tolerance, bisect=tolerance == BISECTION
        )
    np.add.at(points, problem.ray, steps)
    coefficients[problem.ray, problem.target] = np.exp(x)
    left = ~steps_apart
    still_open = Open(problem.ray[left], problem.target[left], x[left], slope[left])
    return Crossings(coefficients, recrossed, at_zero, points), still_open


def _finish(
    model: nn.Module,
    minima: Sequence[Minimum],
    targets: Sequence[Sequence[Target]],
    samples: Samples,
    block: torch.Tensor,
    found: Sequence[Crossings],
    pending: list[Open],
    memory: int,
) -> None:
    """Newton and secant steps in float64 until every open crossing moves by less than its tolerance."""
    tolerance = tolerance_for(minima[0].layout.n_params)
    last: list[tuple[Floats, Floats]] = [(np.full(len(o.x), np.nan), np.full(len(o.x), np.nan)) for o in pending]
    for _ in range(12):
        if not any(len(o.ray) for o in pending):
            return
        heights = _float64_heights(model, minima, targets, samples, block, pending, memory)
        for m, (open_, height) in enumerate(zip(pending, heights, strict=True)):
            thresholds = np.array([target.threshold for target in targets[m]])
            f = np.log(height / thresholds[open_.target])
            x_before, f_before = last[m]
            with np.errstate(all="ignore"):
                secant = (f - f_before) / (open_.x - x_before)
            slope = np.where(np.isfinite(secant) & (secant > 0), secant, open_.slope)
            # Rays rise where they leave a basin; a slope that says otherwise is noise, and 1 is a careful step.
            slope = np.where(np.isfinite(slope) & (slope > 0), slope, 1.0)
            step = np.clip(-f / slope, -0.1, 0.1)
            moved = open_.x + step
            found[m].coefficients[open_.ray, open_.target] = np.exp(moved)
            np.add.at(found[m].evaluations, open_.ray, 1)
            # The slope is good to a percent, so a step leaves a hundredth of its length as error.
            keep = np.abs(step) > 100 * tolerance
            last[m] = (open_.x[keep], f[keep])
            pending[m] = Open(open_.ray[keep], open_.target[keep], moved[keep], slope[keep])


def _float64_heights(
    model: nn.Module,
    minima: Sequence[Minimum],
    targets: Sequence[Sequence[Target]],
    samples: Samples,
    block: torch.Tensor,
    pending: Sequence[Open],
    memory: int,
) -> list[Floats]:
    """Float64 mean loss of each open point; one pass over the data in chunks, shared by all minima."""
    device = samples.inputs.device
    used = np.unique(np.concatenate([o.ray for o in pending]))
    place = np.searchsorted(used, np.arange(len(block)))
    exact = block[torch.from_numpy(used)].to(device, torch.float64)
    doubles = [minimum.to(device, torch.float64) for minimum in minima]
    sizes = [np.array([target.size for target in wanted])[o.target] for wanted, o in zip(targets, pending, strict=True)]
    sums = [np.zeros(len(o.ray)) for o in pending]
    for start, stop in _chunks(model, minima[0], samples, len(used), max(map(max, filter(len, sizes))), memory):
        bundle = Bundle(model, minima[0].layout, samples.part(start, stop), exact, torch.float64)
        for minimum, open_, size, out in zip(doubles, pending, sizes, sums, strict=True):
            if not (size > start).any():
                continue
            rays = bundle.rays(minimum)
            inside = np.minimum(size, stop) - start
            for length in np.unique(inside[inside > 0]):
                rows = np.flatnonzero(inside == length)
                index, c = torch.from_numpy(place[open_.ray[rows]]), torch.from_numpy(np.exp(open_.x[rows]))
                out[rows] += rays.sums(index, c, [int(length)])[:, 0].numpy()
    return [total / size for total, size in zip(sums, sizes, strict=True)]


def _chunks(
    model: nn.Module, minimum: Minimum, samples: Samples, n_rays: int, n_samples: int, memory: int
) -> Iterator[tuple[int, int]]:
    """Sample ranges whose float64 products of all rays fit a quarter of the memory."""
    per_sample = (
        2 * max(1, (ray_bytes(model, minimum.layout, samples) - 8 * minimum.layout.n_params) // len(samples)) * n_rays
    )
    length = int(np.clip(memory // 4 // per_sample, 256, n_samples))
    return ((start, min(start + length, n_samples)) for start in range(0, n_samples, length))


__all__ = ["Brackets", "Crossings", "sweep", "tolerance_for"]
