"""Radii of several minima along one block of directions: scan and close in with float32, finish in float64."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from minima_volume.crossings.bracket import enclosed
from minima_volume.crossings.continuation import CLOSE_IN, Found, close_in
from minima_volume.crossings.landscapes import Ladder
from minima_volume.crossings.newton import FLATTEST, ROUNDS, STEEPEST, Open, representable, step
from minima_volume.crossings.rounding import Float64Losses
from minima_volume.crossings.scan import Counts, Floats, Target, means_at
from minima_volume.networks import directions
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import Layout
from minima_volume.networks.precision import device_for
from minima_volume.networks.sequential import is_stack
from minima_volume.rays.base import Rays
from minima_volume.rays.bundle import RayBundle, bytes_per_ray

# Samples on which a sweep compares float32 with float64 before it trusts it, and the nats by which it may be off: more
# would keep the last float32 steps from settling, less is mended afterwards.
CHECKED, LOST = 512, 0.2
# Bytes that the rays in flight may keep: two workers stay well below 4 GiB on the largest landscape of the paper.
MEMORY = 384 * 2**20
# Bytes per sample of a crossing that is being closed in on: its float64 loss, and the tiles and copies that go into it.
LOSSES = 24


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


def sweep_crossings(
    model: nn.Module,
    minima: Sequence[Minimum],
    targets: Sequence[Sequence[Target]],
    samples: Samples,
    *,
    seed: int,
    indices: Sequence[int],
    memory: int = MEMORY,
) -> list[Crossings]:
    """Crossings of each minimum with its own targets along the directions `indices` of `seed`.

    All minima share the directions and their products with the data; `memory` bounds, in bytes, what the rays in flight
    keep, and a quarter of it what serves all of them. Any split of the indices into calls, and any memory, gives the same
    crossings to the solver's tolerance.
    """
    work = Sweep(model, minima, targets, samples, memory)
    batch = work.at_once
    parts = [
        work.along(directions.draw_directions(seed, indices[i : i + batch], work.layout.n_params))
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
class Sweep:
    """What a sweep works on, whatever the directions; the heights at the minima are kept from the first block on."""

    model: nn.Module
    minima: Sequence[Minimum]
    targets: Sequence[Sequence[Target]]
    samples: Samples
    memory: int
    _at_zero: dict[int, Floats] = field(default_factory=dict, repr=False, compare=False)
    _ladders: dict[int, Ladder] = field(default_factory=dict, repr=False, compare=False)
    _shared: dict[int, Tensor] = field(default_factory=dict, repr=False, compare=False)

    @property
    def layout(self) -> Layout:
        """The perturbed parameters, the same for all minima."""
        return self.minima[0].layout

    @property
    def at_once(self) -> int:
        """Directions in flight: what `ray_bytes` counts and the losses at their crossings fit the memory."""
        watched = max(sum(target.size for target in own if target.metric == "loss") for own in self.targets)
        losses = LOSSES * watched if is_stack(self.model, self.samples.inputs.ndim) else 0
        return max(1, self.memory // max(1, bytes_per_ray(self.model, self.layout, self.samples) + losses))

    @property
    def tolerance(self) -> float:
        """Relative tolerance of a coefficient."""
        return tolerance_for(self.layout.n_params)

    @cached_property
    def _exact(self) -> Float64Losses:
        return Float64Losses(self.model, self.samples)

    def along(self, block: Tensor) -> list[Crossings]:
        """Crossings of every minimum along a block of directions (rays, n_params)."""
        bundle = RayBundle(self.model, self.layout, self.samples, block, torch.float32)
        found = [self._closed_in(number, bundle) for number in range(len(self.minima))]
        del bundle
        self._finish(block, found)
        return [
            Crossings(f.coefficients[:, :n], f.recrossed[:, :n], f.at_zero[:n], f.points)
            for f, n in zip(found, map(len, self.targets), strict=True)
        ]

    def _closed_in(self, number: int, bundle: RayBundle) -> Found:
        """What float32 finds along the block for one minimum."""
        targets = self.targets[number]
        rays = bundle.rays(self.minima[number], max(target.size for target in targets), self._shared.get(number))
        self._keep(number, rays.shared)
        ladder = self._ladders.get(number) or Ladder.of(targets, self.layout.n_params, sharp=rays.sharp)
        if number not in self._at_zero:
            self._at_zero[number] = means_at(rays, np.zeros(1, dtype=np.int64), np.zeros(1), ladder.targets)[0]
        missing = partial(self._exact.missing, self.minima[number])
        found = close_in(rays, bundle.block, ladder, self._at_zero[number], self.tolerance, missing)
        sharp = number in self._ladders or self._sharp_enough(number, bundle, rays, found)
        if sharp is not False:
            # Where nothing could be compared, the next block is asked again.
            if sharp:
                self._ladders[number] = ladder
            return found
        self._ladders[number] = Ladder.of(targets, self.layout.n_params, sharp=False)
        del self._at_zero[number]
        return self._closed_in(number, bundle)

    def _keep(self, number: int, shared: Tensor | None) -> None:
        """Keep what the next block of directions can use again, as long as all of it fits a quarter of the memory."""
        if shared is not None and number not in self._shared:
            used = sum(kept.nbytes for kept in self._shared.values())
            if used + shared.nbytes <= self.memory // 4:
                self._shared[number] = shared

    def _sharp_enough(self, number: int, bundle: RayBundle, rays: Rays, found: Found) -> bool | None:
        """Whether float64 moves the crossings of one ray, on the first samples, by no more than is tolerated.

        None where no ray crosses what float32 is to finish.
        """
        ray = int((found.coefficients > 0).sum(axis=1).argmax())
        ladder, crossed = found.ladder, found.coefficients[ray] > 0
        columns = [j for j in np.flatnonzero(~ladder.in_double()).tolist()
                   if crossed[j] and ladder.targets[j].metric == "loss"]  # fmt: skip
        if not columns:
            return None
        sizes = np.array([ladder.targets[j].size for j in columns])
        part = self.samples.part(0, min(CHECKED, int(sizes.min())))
        exact = RayBundle(self.model, self.layout, part, bundle.block[ray : ray + 1], torch.float64).rays(
            self.minima[number]
        )
        index = torch.zeros(len(columns), dtype=torch.long)
        c = torch.from_numpy(np.exp(representable(np.log(found.coefficients[ray, columns]))))
        off = (rays.means(index + ray, c, [len(part)]) - exact.means(index, c, [len(part)]))[:, 0].numpy()
        nats = self.layout.n_params * off / (ladder.thresholds[columns] * found.slopes[ray, columns])
        # A guard against networks that lose digits elsewhere; one ray's noise must not trip it.
        return bool((np.abs(nats) * np.sqrt(len(part) / sizes) < LOST).all())

    def _finish(self, block: Tensor, found: Sequence[Found]) -> None:
        """Take the last steps in float64 where float32 is not enough, all minima in one pass over the data."""
        pending = [f.open_unsettled() for f in found]
        if not any(len(open_.ray) for open_ in pending):
            return
        exact = block.to(device_for(torch.float64, self.samples.inputs.device), torch.float64)
        for _ in range(ROUNDS):
            if not any(len(open_.ray) for open_ in pending):
                break
            heights = self._float64_means(exact, pending)
            for number, (f, open_, means) in enumerate(zip(found, pending, heights, strict=True)):
                thresholds = f.ladder.thresholds[open_.target]
                stepped = step(open_, means, thresholds, self.tolerance, trust=STEEPEST * CLOSE_IN)
                f.write(open_, stepped.x, stepped.open.slope, np.ones(len(open_.ray), dtype=np.int64))
                rough = stepped.lost | ~((stepped.open.slope > FLATTEST) & (stepped.open.slope < STEEPEST))
                self._enclose(exact, number, f, open_.select(rough))
                pending[number] = stepped.open.select(stepped.unfinished & ~rough)
        for number, (f, open_) in enumerate(zip(found, pending, strict=True)):
            self._enclose(exact, number, f, open_)

    def _enclose(self, block: Tensor, number: int, found: Found, open_: Open) -> None:
        """Solve crossings in float64 from brackets around them: those that steps do not reach."""
        nothing = Open.at(*np.empty((2, 0), dtype=np.int64), *np.empty((2, 0)))

        def evaluate(ray: Counts, target: Counts, c: Floats) -> Floats:
            asked = replace(nothing, ray=ray, target=target, x=np.log(c))
            every = [asked if i == number else nothing for i in range(len(self.minima))]
            return self._float64_means(block, every)[number]

        if len(open_.ray):
            found.write(open_, *enclosed(evaluate, open_, found.ladder.thresholds, self.tolerance))

    def _float64_means(self, block: Tensor, pending: Sequence[Open]) -> list[Floats]:
        """Mean loss of each open point along a float64 block; one pass over the data in chunks, shared by all minima."""
        used = np.unique(np.concatenate([open_.ray for open_ in pending]))
        place = np.searchsorted(used, np.arange(len(block)))
        exact = block if len(used) == len(block) else block[torch.from_numpy(used)]
        doubles = [minimum.to(block.device, torch.float64) for minimum in self.minima]
        sizes = [
            np.array([target.size for target in wanted])[open_.target]
            for wanted, open_ in zip(self.targets, pending, strict=True)
        ]
        sums = [np.zeros(len(open_.ray)) for open_ in pending]
        for start, stop in self._chunks(len(used), max(int(size.max(initial=0)) for size in sizes)):
            bundle = RayBundle(self.model, self.layout, self.samples.part(start, stop), exact, torch.float64)
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
        kept = bytes_per_ray(self.model, self.layout, self.samples) - 8 * self.layout.n_params
        per_sample = 2 * max(1, kept // len(self.samples)) * n_rays
        length = int(np.clip(self.memory // 4 // per_sample, 256, n_samples))
        return ((start, min(start + length, n_samples)) for start in range(0, n_samples, length))
