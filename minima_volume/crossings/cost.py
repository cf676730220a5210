"""What a measurement will cost, from one loss along its rays: the line in front of the progress bar."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor

from minima_volume.crossings.model_problem import ModelProblem
from minima_volume.networks.directions import draw_directions
from minima_volume.networks.reads import ReadRecorder

# Losses per ray: 10 to 24 on the models of benchmarks/large.md and docs/other-models.md.
LOSSES_PER_RAY = 15
# Rays that are timed together where many points are evaluated at a time, and the coefficient of the points.
RAYS_TOGETHER, COEFFICIENT = 25, 0.1
SUFFIXES = ("", "k", "M", "G", "T", "P")


class Cost(NamedTuple):
    """The expected cost of a measurement.

    Attributes:
        flops: Multiplications and additions of matrix products, convolutions and attention in one loss over all samples.
        seconds: Expected time of all rays.
    """

    flops: int
    seconds: float

    def __str__(self) -> str:
        """Return both, as they stand before a progress bar."""
        power = min(len(SUFFIXES) - 1, max(0, len(str(self.flops)) - 1) // 3)
        return f"about {_duration(self.seconds)} ({self.flops / 1000**power:.3g} {SUFFIXES[power]}FLOP a loss)"


def expected_cost(problem: ModelProblem, n_rays: int) -> Cost:
    """Estimate the cost of rays from one loss, counted by torch, and from the time of a few on the path that rays take.

    Args:
        problem: The sweep that will follow the rays.
        n_rays: Number of rays.
    """
    few = 1 if problem.path == "module" else min(n_rays, RAYS_TOGETHER, problem.batch_size)
    block = problem.prepare(draw_directions(0, range(few), problem.layout.n_params))
    rays = problem.bundle(block, problem.dtype).rays(problem.prepare(problem.minima[0]))
    index, points = torch.arange(few), torch.full((few,), COEFFICIENT, dtype=torch.float64)
    sizes, times = [problem.user.objective.n_samples], []
    for _ in range(2):  # the first call of a process is slower
        start = time.perf_counter()
        rays.sums(index, points, sizes)
        times.append(time.perf_counter() - start)
    problem.failures.clear()  # these points are no part of the measurement
    return Cost(_count_flops(problem, block[0]), n_rays * LOSSES_PER_RAY * min(times) / few)


def _count_flops(problem: ModelProblem, direction: Tensor) -> int:
    """Count the operations of one loss at the minimum."""
    # Imported here: it takes a quarter of a second, and only a visible bar needs it.
    from torch.utils.flop_counter import flop_registry

    problem.copy.convert(problem.dtype)
    problem.copy.move(problem.minima[0], direction, 0.0)
    with _FlopCounter(flop_registry) as counted:
        for _ in problem.user.objective.losses(problem.copy, [problem.user.objective.n_samples]):
            pass
    return counted.total


class _FlopCounter(ReadRecorder):
    """Adds up operations by torch's formulas. FlopCounterMode adds up the same, and loads torch's compiler for seconds.

    Args:
        formulas: The number of operations of an operator, as a function of its arguments and its result `out_val`.
    """

    def __init__(self, formulas: Mapping[Any, Callable[..., int]]) -> None:
        super().__init__()
        self.formulas, self.total = formulas, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Call an operator, and count it if torch has a formula for it."""
        result = super().__torch_dispatch__(func, types, args, kwargs)
        formula = self.formulas.get(func._overloadpacket)
        if formula is not None:
            # A formula may not know a shape, such as heads that share keys: the estimate leaves it out.
            with suppress(AssertionError, IndexError, TypeError, ValueError):
                self.total += int(formula(*args, **(kwargs or {}), out_val=result))
        return result


def _duration(seconds: float) -> str:
    """Return a time with its unit: two digits are more than the estimate holds."""
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.2g} {unit}"
    return f"{max(1, round(seconds))} s"
