"""What a measurement will cost, from one loss along its rays: the line in front of the progress bar."""

import time
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from minima_volume.crossings.model_problem import ModelProblem
from minima_volume.networks.directions import draw_directions

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
    few = 1 if problem.path == "module" else min(n_rays, RAYS_TOGETHER)
    block = problem.prepare(draw_directions(0, range(few), problem.layout.n_params))
    rays = problem.bundle(block, problem.dtype).rays(problem.prepare(problem.minima[0]))
    index, points = torch.arange(few), torch.full((few,), COEFFICIENT, dtype=torch.float64)
    sizes, times = [problem.user.objective.n_samples], []
    for _ in range(2):  # the first call of a process is slower
        start = time.perf_counter()
        rays.sums(index, points, sizes)
        times.append(time.perf_counter() - start)
    problem.failures.clear()  # these points are no part of the measurement
    return Cost(_count_flops(problem, block[:1]), n_rays * LOSSES_PER_RAY * min(times) / few)


def _count_flops(problem: ModelProblem, direction: Tensor) -> int:
    """Count the operations of one loss at the minimum."""
    problem.copy.convert(problem.dtype)
    problem.copy.move(problem.minima[0], direction[0], 0.0)
    with _FlopCounter() as counted:
        for _ in problem.user.objective.losses(problem.copy, [problem.user.objective.n_samples]):
            pass
    return counted.total


class _FlopCounter(TorchDispatchMode):
    """Adds up operations by torch's formulas. FlopCounterMode gives the same, but takes five seconds to load sympy."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types here
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call an operation and count it if torch has a formula for it."""
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        self.total += 0 if formula is None else int(formula(*args, **(kwargs or {}), out_val=result))
        return result


def _duration(seconds: float) -> str:
    """Return a time with its unit: two digits are more than the estimate holds."""
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.2g} {unit}"
    return f"{max(1, round(seconds))} s"
