"""Radii of several minima along one block of directions: scan and close in with float32, finish in float64."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from minima_volume import directions
from minima_volume.landscape import Bundle, device_for, ray_bytes
from minima_volume.parameters import Layout
from minima_volume.points import Minimum, Rays, Samples
from minima_volume.radius import SCAN_NODES, STEEPEST, Floats, Target, brackets_of, evaluator, means_at, scan, solve

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
    memory: int = 384 * 2**20,
) -> list[Crossings]:
    """Crossings of each minimum with its own targets along the directions `indices` of `seed`.

    All minima share the directions and their products with the data; `memory` bounds, in bytes, what the rays in flight
    keep. Any split of the indices into calls, and any memory, gives the same crossings to the solver's tolerance.
    """
    work = Sweep(model, minima, targets, samples, memory)
    batch = max(1, memory // max(1, ray_bytes(model, work.layout, samples)))
    parts = [
        work.along(directions.directions(seed, indices[i : i + batch], work.layout.n_params))
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


@dataclass(frozen=True)
class Open:
    """Crossings of one minimum not yet final: x = ln c, the slope d ln L/d ln c, and the last point (x, ln L/τ) if any."""

    ray: NDArray[np.int64]
    target: NDArray[np.int64]
    x: Floats
    slope: Floats
    last_x: Floats
    last_f: Floats


@dataclass(frozen=True)
class Sweep:
    """What a sweep works on, whatever the directions."""

    model: nn.Module
    minima: Sequence[Minimum]
    targets: Sequence[Sequence[Target]]
    samples: Samples
    memory: int

    @property
    def layout(self) -> Layout:
        """The perturbed parameters, the same for all minima."""
        return self.minima[0].layout

    def along(self, block: Tensor) -> list[Crossings]:
        """Crossings of every minimum along a block of directions (rays, n_params)."""
        bundle = Bundle(self.model, self.layout, self.samples, block, torch.float32)
        closed_in = [
            _close_in(bundle.rays(minimum, max(target.size for target in wanted)), wanted)
            for minimum, wanted in zip(self.minima, self.targets, strict=True)
        ]
        del bundle
        found = [crossings for crossings, _ in closed_in]
        pending = [still_open for _, still_open in closed_in]
        # Newton and secant steps at least square the error; a dozen is far more than any ray has needed.
        for _ in range(12):
            if not any(len(open_.ray) for open_ in pending):
                break
            heights = self._float64_means(block, pending)
            pending = [
                _step(open_, height, crossings, wanted, tolerance_for(self.layout.n_params))
                for open_, height, crossings, wanted in zip(pending, heights, found, self.targets, strict=True)
            ]
        return found

    def _float64_means(self, block: Tensor, pending: Sequence[Open]) -> list[Floats]:
        """Float64 mean loss of each open point; one pass over the data in chunks, shared by all minima."""
        used = np.unique(np.concatenate([open_.ray for open_ in pending]))
        place = np.searchsorted(used, np.arange(len(block)))
        device = device_for(torch.float64, self.samples.inputs.device)
        exact = block[torch.from_numpy(used)].to(device, torch.float64)
        doubles = [minimum.to(device, torch.float64) for minimum in self.minima]
        sizes = [
            np.array([target.size for target in wanted])[open_.target]
            for wanted, open_ in zip(self.targets, pending, strict=True)
        ]
        sums = [np.zeros(len(open_.ray)) for open_ in pending]
        for start, stop in self._chunks(len(used), max(int(size.max(initial=0)) for size in sizes)):
            bundle = Bundle(self.model, self.layout, self.samples.part(start, stop), exact, torch.float64)
            for minimum, open_, size, out in zip(doubles, pending, sizes, sums, strict=True):
                inside = np.clip(size - start, 0, stop - start)
                rays = bundle.rays(minimum, int(inside.max())) if inside.any() else None
                for length in np.unique(inside[inside > 0]):
                    rows = np.flatnonzero(inside == length)
                    index, c = torch.from_numpy(place[open_.ray[rows]]), torch.from_numpy(np.exp(open_.x[rows]))
                    if rays is not None:
                        out[rows] += rays.sums(index, c, [int(length)])[:, 0].numpy()
        return [total / size for total, size in zip(sums, sizes, strict=True)]

    def _chunks(self, n_rays: int, n_samples: int) -> Iterator[tuple[int, int]]:
        """Sample ranges whose float64 products of all rays fit a quarter of the memory."""
        kept = ray_bytes(self.model, self.layout, self.samples) - 8 * self.layout.n_params
        per_sample = 2 * max(1, kept // len(self.samples)) * n_rays
        length = int(np.clip(self.memory // 4 // per_sample, 256, n_samples))
        return ((start, min(start + length, n_samples)) for start in range(0, n_samples, length))


def _close_in(rays: Rays, targets: Sequence[Target]) -> tuple[Crossings, Open]:
    """Scan and float32 solve of one minimum's rays; accuracy crossings are final, loss crossings still open."""
    thresholds = np.array([target.threshold for target in targets])
    at_zero = means_at(rays, np.zeros(1, dtype=np.int64), np.zeros(1), targets)[0]
    table, points = scan(rays, targets, at_zero, SCAN_NODES)
    problem, recrossed = brackets_of(table, targets, SCAN_NODES)
    coefficients = np.full((rays.n_rays, len(targets)), np.nan)
    coefficients[:, ~(at_zero <= thresholds)] = 0.0
    in_steps = np.array([target.metric == "accuracy" for target in targets])[problem.target]
    evaluate, count = evaluator(rays, targets), len(problem.ray)
    x, slope, steps = np.empty(count), np.empty(count), np.empty(count, dtype=np.int64)
    for rows, tolerance, bisect in ((in_steps, BISECTION, True), (~in_steps, CLOSE_IN, False)):
        part = problem.select(rows)
        x[rows], slope[rows], steps[rows] = solve(evaluate, part, thresholds, tolerance=tolerance, bisect=bisect)
    np.add.at(points, problem.ray, steps)
    coefficients[problem.ray, problem.target] = np.exp(x)
    left, nothing = ~in_steps, np.full(int((~in_steps).sum()), np.nan)
    still_open = Open(problem.ray[left], problem.target[left], x[left], slope[left], nothing, nothing)
    return Crossings(coefficients, recrossed, at_zero, points), still_open


def _step(open_: Open, means: Floats, found: Crossings, targets: Sequence[Target], tolerance: float) -> Open:
    """Write the next point of every open crossing into `found`; what is left to do."""
    thresholds = np.array([target.threshold for target in targets])
    with np.errstate(all="ignore"):
        f = np.log(means / thresholds[open_.target])
        secant = (f - open_.last_f) / (open_.x - open_.last_x)
    slope = np.where(np.isfinite(secant) & (secant > 0), secant, open_.slope)
    # Rays rise where they leave a basin; a slope that says otherwise is noise, and 1 is a careful step.
    slope = np.where(np.isfinite(slope) & (slope > 0), slope, 1.0)
    # Close in, a height far from the threshold means a jump: the bracket's end is the crossing, and no step improves it.
    with np.errstate(invalid="ignore"):
        step = np.where(np.abs(f) < STEEPEST * CLOSE_IN, np.clip(-f / slope, -0.1, 0.1), 0.0)
    x = open_.x + step
    found.coefficients[open_.ray, open_.target] = np.exp(x)
    np.add.at(found.evaluations, open_.ray, 1)
    # The slope is good to a percent, so a step leaves a hundredth of its length as error.
    far = np.abs(step) > 100 * tolerance
    return Open(open_.ray[far], open_.target[far], x[far], slope[far], open_.x[far], f[far])
