"""How much of a workload is timed, on CPUs and on GPUs."""

import statistics
import time
from collections.abc import Callable

from benchmarks.schemes import SCHEMES, Problem
from minima_volume.estimators.published import PAPER_GRID

# All points of the grid cost the same, so large workloads time this many points and count them as 100.
GRID_POINTS = {"nested": 1, "6000": 10, "CNN": 20}
ENGINE_RAYS = {"Swiss": 512, "nested": 25, "6000": 24, "MLP, 60": 128}


def grid_points(problem: Problem) -> int:
    """Return the number of points of the published grid that are timed."""
    return _for(problem, GRID_POINTS, len(PAPER_GRID))


def engine_rays(problem: Problem) -> int:
    """Return the number of directions on which the engine is timed."""
    return _for(problem, ENGINE_RAYS, 8)


def _for(problem: Problem, table: dict[str, int], default: int) -> int:
    """Return the entry of a table whose key is part of the name of a problem."""
    return next((value for key, value in table.items() if key in problem.name), default)


def median_seconds(call: Callable[[], object], runs: int) -> float:
    """Return the median wall time of `runs` calls."""
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def rate(problem: Problem, scheme: str, runs: int) -> tuple[float, float]:
    """Return the solved rays per second of a scheme, and its evaluations per ray."""
    rays, points = (engine_rays(problem), len(PAPER_GRID)) if scheme == "engine" else (1, grid_points(problem))
    evaluations = SCHEMES[scheme](problem, rays, PAPER_GRID[:points])  # also warms up
    whole = len(PAPER_GRID) / points
    seconds = median_seconds(lambda: SCHEMES[scheme](problem, rays, PAPER_GRID[:points]), runs) * whole
    solved = rays * problem.crossings
    return solved / seconds, evaluations * whole / solved
