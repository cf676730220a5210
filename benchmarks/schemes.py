"""Four ways to find radii: the published loop, state dictionaries, vmap over the grid, and the engine of this package."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from minima_volume.crossings.bracket import first_brackets, solve_brackets
from minima_volume.crossings.continuation import heights_on, means_along, means_at
from minima_volume.crossings.scan import Floats, Target, Targets, scan
from minima_volume.crossings.sweep import sweep_crossings
from minima_volume.estimators.published import PAPER_GRID
from minima_volume.networks import directions
from minima_volume.networks.losses import sum_float64
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.rays.bundle import RayBundle


@dataclass(frozen=True)
class Problem:
    """Minima of one model and the landscapes in which they are measured.

    Attributes:
        name: Name of the workload.
        model: The model.
        minima: Its minima.
        landscapes: Sample counts of the nested landscapes of each minimum.
        samples: The samples.
        threshold: Loss threshold.
    """

    name: str
    model: nn.Module
    minima: Sequence[Minimum]
    landscapes: Sequence[Sequence[int]]
    samples: Samples
    threshold: float

    @property
    def targets(self) -> list[list[Target]]:
        """Return the landscapes in the form that the engine takes."""
        return [[Target(size, self.threshold) for size in sizes] for sizes in self.landscapes]

    @property
    def crossings(self) -> int:
        """Return the number of crossings along one direction."""
        return sum(map(len, self.landscapes))

    def to(self, device: torch.device) -> "Problem":
        """Return the same problem on a device."""
        minima = [minimum.to(device, torch.float32) for minimum in self.minima]
        return replace(self, model=deepcopy(self.model).to(device), minima=minima, samples=self.samples.to(device))


def _step(problem: Problem, minimum: Minimum, index: int) -> dict[str, Tensor]:
    """Return the filter-normalised direction as named tensors."""
    flat = directions.draw_directions(0, [index], minimum.layout.n_params)[0]
    return minimum.layout.split(minimum.scales * flat.to(minimum.scales))


@torch.no_grad()
def published_loop(problem: Problem, n_rays: int, grid: Floats) -> int:
    """Add the increment to every tensor, evaluate each landscape, and restore the weights after each direction."""
    evaluations = 0
    for minimum, sizes in zip(problem.minima, problem.landscapes, strict=True):
        model = deepcopy(problem.model)
        model.load_state_dict(minimum.parameters, strict=False)
        named = dict(model.named_parameters())
        for index in range(n_rays):
            step = _step(problem, minimum, index)
            previous = 0.0
            for c in grid:
                for name, tensor in named.items():
                    tensor.add_(step[name], alpha=float(c) - previous)
                previous = float(c)
                for size in sizes:
                    problem.samples.criterion(
                        model(problem.samples.inputs[:size]), problem.samples.targets[:size]
                    ).mean().item()
                    evaluations += 1
            for name, tensor in named.items():
                tensor.copy_(minimum.parameters[name])
    return evaluations


@torch.no_grad()
def state_dicts(problem: Problem, n_rays: int, grid: Floats) -> int:
    """Load a new state dictionary for every point."""
    evaluations = 0
    for minimum, sizes in zip(problem.minima, problem.landscapes, strict=True):
        model = deepcopy(problem.model)
        for index in range(n_rays):
            step = _step(problem, minimum, index)
            for c in grid:
                model.load_state_dict(
                    {name: value + float(c) * step[name] for name, value in minimum.parameters.items()}
                )
                for size in sizes:
                    problem.samples.criterion(
                        model(problem.samples.inputs[:size]), problem.samples.targets[:size]
                    ).mean().item()
                    evaluations += 1
    return evaluations


@torch.no_grad()
def batched_calls(problem: Problem, n_rays: int, grid: Floats) -> int:
    """Use vmap(functional_call) over ten coefficients at a time, which writes copies of all weights."""
    evaluations = 0
    model = deepcopy(problem.model)
    for minimum, sizes in zip(problem.minima, problem.landscapes, strict=True):
        for index in range(n_rays):
            step = _step(problem, minimum, index)

            def outputs(c: Tensor, x: Tensor, minimum: Minimum = minimum, step: dict[str, Tensor] = step) -> Tensor:
                moved = {name: value + c * step[name] for name, value in minimum.parameters.items()}
                return functional_call(model, moved, (x,))

            for part in torch.from_numpy(grid).to(minimum.scales).split(10):
                for size in sizes:
                    found = vmap(outputs, in_dims=(0, None))(part, problem.samples.inputs[:size])
                    sum_float64(problem.samples.criterion(found, problem.samples.targets[:size])).tolist()
                    evaluations += len(part)
    return evaluations


def engine(problem: Problem, n_rays: int, grid: Floats, first: int = 0) -> int:
    """Solve every crossing to its tolerance with this package. The grid is not used."""
    indices = range(first, first + n_rays)
    found = sweep_crossings(problem.model, problem.minima, problem.targets, problem.samples, seed=0, indices=indices)
    return int(sum(crossings.evaluations.sum() for crossings in found.crossings))


def engine_on_workers(problem: Problem, n_rays: int, workers: int) -> None:
    """Run `n_rays` directions on each of several threads, as stage 2 does."""
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(lambda first: engine(problem, n_rays, PAPER_GRID, first), range(0, workers * n_rays, n_rays)))


SCHEMES: dict[str, Callable[[Problem, int, Floats], int]] = {
    "published loop": published_loop,
    "load_state_dict": state_dicts,
    "vmap(functional_call)": batched_calls,
    "engine": engine,
}


def error_of_engine(problem: Problem, n_rays: int) -> float:
    """Return the largest error of n·ln r in nats against a plain float64 solve of the same rays."""
    found = sweep_crossings(
        problem.model, problem.minima, problem.targets, problem.samples, seed=0, indices=range(n_rays)
    )
    n_params = problem.minima[0].layout.n_params
    block = directions.draw_directions(0, range(n_rays), n_params)
    worst = 0.0
    for minimum, wanted, crossings in zip(problem.minima, problem.targets, found.crossings, strict=True):
        targets = Targets.of(wanted)
        rays = RayBundle(problem.model, minimum.layout, problem.samples, block, torch.float64).rays(minimum)
        at_zero = means_at(rays, np.zeros(1, dtype=np.int64), np.zeros(1), targets)[0]
        table, _ = scan(means_along(rays, targets), at_zero, targets.thresholds, rays.n_rays)
        ray, column, brackets, _ = first_brackets(table, targets.thresholds)
        x = solve_brackets(heights_on(rays, targets, ray, column), brackets, 1e-13).x
        error = n_params * np.abs(np.log(crossings.coefficients[ray, column]) - x)
        worst = max(worst, float(error.max(initial=0.0)))
    return worst


def error_of_grid(problem: Problem, n_rays: int) -> float:
    """Return the mean error of n·ln r in nats that rounding up to the grid causes in the three grid schemes."""
    found = sweep_crossings(
        problem.model, problem.minima, problem.targets, problem.samples, seed=0, indices=range(n_rays)
    )
    c = np.concatenate([crossings.coefficients.ravel() for crossings in found.crossings])
    c = c[c > 0]
    rounded = PAPER_GRID[np.minimum(np.searchsorted(PAPER_GRID, c, side="right"), 99)]
    return float(problem.minima[0].layout.n_params * np.mean(np.log(rounded / c)))
