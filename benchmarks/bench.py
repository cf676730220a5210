"""Measure four ways to find radii on fixed workloads, in one run on one machine with one thread each."""

import argparse
import json
import os
import platform
import resource
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import torch

from benchmarks import accelerator, planes, rendering, report, scaling
from benchmarks.problems import workloads
from benchmarks.schemes import SCHEMES, Problem, engine_on_workers, error_of_engine, error_of_grid, published_loop
from benchmarks.timing import engine_rays, grid_points, median_seconds, rate
from minima_volume.crossings.landscapes import LandscapeSchedule
from minima_volume.crossings.problem import SweepProblem
from minima_volume.crossings.scan import Targets
from minima_volume.crossings.sweep import MEMORY, sweep_crossings
from minima_volume.estimators.published import PAPER_GRID
from minima_volume.pipeline.cost import forward_operations, matmul_rate
from minima_volume.pipeline.settings import device

HERE = Path(__file__).parent
Row = dict[str, str | float]
T = TypeVar("T")


def operations_per_ray(problem: Problem, scheme: str, rays: int) -> float:
    """Float32-equivalent operations of one solved ray."""
    first, rest = forward_operations(problem.model, problem.samples.inputs)
    solved = problem.crossings
    if scheme != "engine":
        return 100 * (first + rest) * sum(map(sum, problem.landscapes)) / solved
    seen = min(rays, 8)
    work = sweep_crossings(
        problem.model, problem.minima, problem.targets, problem.samples, seed=0, indices=range(seen)
    ).work
    # Float64 counts twice. Samples that a correction evaluates again pass all layers anew.
    behind = rest * (work.float32 + 2 * work.float64) + 2 * (first + rest) * work.corrections
    return behind / (seen * solved) + first * first_layer_passes(problem, rays) / (rays * solved)


def first_layer_passes(problem: Problem, rays: int) -> float:
    """Samples that the engine sends through the first layer for so many directions; float64, where it finishes, twice.

    Directions go through once for all minima, a minimum's own weights once in float32 and once per batch in float64.
    """
    layout, targets = problem.minima[0].layout, [Targets.of(wanted) for wanted in problem.targets]
    small = min(LandscapeSchedule.of(own, layout.n_params, float32_resolves=True).float64_below for own in targets)
    doubled = [max((size for size in sizes if size < small), default=0) for sizes in problem.landscapes]
    largest = [max(sizes) for sizes in problem.landscapes]
    batches = -(-rays // SweepProblem(problem.model, problem.minima, targets, problem.samples, MEMORY).batch_size)
    return rays * (max(largest) + 2 * max(doubled)) + sum(largest) + 2 * sum(doubled) * batches


def fewest_operations(problem: Problem) -> float:
    """Operations per crossing that no exact solver goes below: the shared first layer, and one look at the result."""
    first, rest = forward_operations(problem.model, problem.samples.inputs)
    sizes = [size for sizes in problem.landscapes for size in sizes]
    return (first * max(sizes) + rest * sum(sizes)) / len(sizes)


def measure(problem: Problem, scheme: str, runs: int) -> Row:
    """One row of the table, measured in this process."""
    torch.set_num_threads(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rays_per_s, evaluations = rate(problem, scheme, runs)
    operations = operations_per_ray(problem, scheme, engine_rays(problem))
    return {
        "workload": problem.name,
        "scheme": scheme,
        "rays_per_s": rays_per_s,
        "evaluations_per_ray": evaluations,
        "peak_mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
        "share_of_matmul": operations * rays_per_s / matmul_rate(),
        "mflop_per_ray": operations / 1e6,
        "fewest_mflop": fewest_operations(problem) / 1e6,
    }


def measure_on_all_cores(problem: Problem, runs: int) -> Row:
    """Published loop and engine with as many threads as there are cores: torch's for the loop, workers for the engine."""
    cores, rays, points = os.cpu_count() or 1, engine_rays(problem), grid_points(problem)
    torch.set_num_threads(cores)
    published_loop(problem, 1, PAPER_GRID[:1])
    loop = median_seconds(lambda: published_loop(problem, 1, PAPER_GRID[:points]), runs) * 100 / points
    torch.set_num_threads(1)
    engine_on_workers(problem, 2, cores)
    engine = median_seconds(lambda: engine_on_workers(problem, rays, cores), runs) / (cores * rays)
    solved = problem.crossings
    return {
        "workload": problem.name,
        "published_per_s": solved / loop,
        "engine_per_s": solved / engine,
        "ratio": loop / engine,
    }


def errors(problem: Problem) -> tuple[float, float]:
    """Error in nats of the engine, and of the grid that the other schemes share, on one ray of every minimum."""
    return error_of_engine(problem, 1), error_of_grid(problem, 1)


def in_child(call: Callable[[], T]) -> T:
    """The call's result from a forked process, so that memory and warm caches of one scheme do not serve the next."""

    def work(out: Connection) -> None:
        out.send(call())

    context = get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs,))
    process.start()
    theirs.close()
    result: T = ours.recv()
    process.join()
    return result


def main(only: str, runs: int, *, films: bool) -> None:
    """Measure, write benchmarks/results.json and benchmarks/README.md; without films theirs stay as they are."""
    torch.set_num_threads(1)
    rows: list[Row] = []
    on_all_cores: list[Row] = []
    for name, problem in workloads().items():
        if only in name:
            found = [in_child(partial(measure, problem, scheme, runs)) for scheme in SCHEMES]
            error = in_child(partial(errors, problem))
            rows += _with_ratios([row | {"error_nats": error[row["scheme"] != "engine"]} for row in found])
            on_all_cores.append(in_child(partial(measure_on_all_cores, problem, runs)))
            print(*(report.line(row) for row in rows[-len(SCHEMES) :]), sep="\n", flush=True)
    content = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread per scheme",
        "cores": os.cpu_count() or 1,
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "matmul_gflops": matmul_rate() / 1e9,
        "rows": rows,
        "on_all_cores": on_all_cores,
        "scaling": scaling.scaling(),
        "ensemble": scaling.ensemble(),
        "planes": in_child(partial(planes.planes, runs)),
        "rendering": rendering.rendering() if films else _stored()["rendering"],
        "accelerators": _stored().get("accelerators", []),
    }
    write(content)


def write(content: dict[str, Any]) -> None:
    """The numbers as JSON and as a page."""
    (HERE / "results.json").write_text(json.dumps(content, indent=1) + "\n")
    (HERE / "README.md").write_text(report.page(content))


def only_rendering() -> None:
    """Measure the films anew and leave all other numbers as they are."""
    write(_stored() | {"rendering": rendering.rendering()})


def only_planes(runs: int) -> None:
    """Measure the planes of losses anew and leave all other numbers as they are."""
    torch.set_num_threads(1)
    write(_stored() | {"planes": planes.planes(runs)})


def only_accelerator(only: str, runs: int) -> None:
    """Measure the workloads on DEVICE and leave all other numbers as they are."""
    stored, found = _stored(), accelerator.column(only, runs)
    others = [column for column in stored.get("accelerators", []) if column["name"] != found["name"]]
    write(stored | {"accelerators": [*others, found]})


def _stored() -> dict[str, Any]:
    stored: dict[str, Any] = json.loads((HERE / "results.json").read_text())
    return stored


def _with_ratios(rows: list[Row]) -> list[Row]:
    base = next(float(row["rays_per_s"]) for row in rows if row["scheme"] == "published loop")
    return [row | {"ratio_to_published": float(row["rays_per_s"]) / base} for row in rows]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "part", nargs="?", default="all", choices=("all", "rays", "planes", "rendering"), help="what to measure"
    )
    parser.add_argument("--only", default="", help="workloads whose name contains this")
    parser.add_argument("--runs", type=int, default=3, help="timed runs per row, the median counts")
    given = parser.parse_args()
    if device().type != "cpu":
        only_accelerator(given.only, given.runs)
    elif given.part == "planes":
        only_planes(given.runs)
    elif given.part == "rendering":
        only_rendering()
    else:
        main(given.only, given.runs, films=given.part == "all")
