"""Write benchmarks/cluster.md: what a task costs on a Dask cluster, and how many workers one driver can keep busy.

Usage: `python -m benchmarks.cluster`, on a quiet machine; some minutes.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from distributed.protocol import serialize

from minima_volume.cluster.engine import Cluster
from minima_volume.cluster.machine import device_name
from minima_volume.cluster.task import Task
from minima_volume.networks.minimum import Minimum
from minima_volume.networks.parameters import layout_of
from minima_volume.pipeline import cluster as start
from minima_volume.pipeline.minima import Minima
from minima_volume.pipeline.random_perturbs import BLOCK, Block
from minima_volume.pipeline.study import Repeat, Study, find_study
from minima_volume.storage import archives
from minima_volume.training.models import initial_parameters

PAGE = Path(__file__).with_name("cluster.md")
# Simulated workers, seconds that each sleeps for a task, and tasks for each.
WORKERS, SLEEP, EACH = 200, 10.0, 4
STUDIES = ("digits_poison", "mnist_poison", "mnist_data", "cifar_data")
# Runs the simulated workers in a process of their own, because driver and scheduler have theirs on a cluster.
SIMULATED = """
import asyncio, logging, os, sys
from distributed import Worker
logging.getLogger("distributed").setLevel(logging.CRITICAL)
async def main(address, count):
    workers = [await Worker(address, nthreads=1, name=f'{os.getpid()}-{i}', memory_limit=0) for i in range(count)]
    await asyncio.gather(*(worker.finished() for worker in workers))
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@dataclass(frozen=True, kw_only=True)
class Sleep(Task[bytes]):
    """Sleeps instead of computing, returns as many bytes as a block of rays, and writes them."""

    path: Path
    seconds: float
    size: int

    def compute(self, shared: Any) -> bytes:
        """Sleep; return the bytes."""
        time.sleep(self.seconds)
        return os.urandom(self.size)

    def write(self, result: bytes) -> None:
        """Write the bytes as a file of results is written."""
        with archives.atomic_write(self.path) as part:
            part.write_bytes(result)


def minima_of(study: Study) -> Minima:
    """Return networks of the sizes of a study's minima, which need not be trained."""
    parameters = initial_parameters(study.model, 0)
    return {level: ({}, Minimum.of(parameters, layout_of(parameters))) for level in study.levels}


def size_of(value: object) -> int:
    """Return how many bytes a value travels as."""
    return sum(memoryview(frame).nbytes for frame in serialize(value, on_error="raise")[1])


def result_bytes(study: Study) -> int:
    """Return the bytes of a block's crossings: coefficients, four flags, and evaluations."""
    targets = [len(study.targets(level)) for level in study.levels]
    return sum(BLOCK * count * (8 + 3) + BLOCK * 8 for count in targets)


def traffic() -> list[str]:
    """Return a row for each study: blocks in ten repeats, bytes of a task, of its result and of what a worker gets once."""
    rows = []
    for name in STUDIES:
        study = find_study(name).at_scale("paper")
        minima = minima_of(study)
        block = Block(shared=None, repeat=Repeat(study, 0), scale="paper", start=0, stop=BLOCK, levels=study.levels)
        blocks, networks = 10 * -(-study.n_directions // BLOCK), 10 * len(study.levels)
        rows.append(
            f"| {name} | {networks} | {blocks} | {size_of(block) / 1024:.1f} | {result_bytes(study) / 1024:.1f} | "
            f"{size_of(minima) / 2**20:.1f} |"
        )
    return rows


def timed(engine: Cluster, tasks: list[Sleep]) -> float:
    """Return the seconds that the tasks take."""
    started = time.perf_counter()
    engine.each(tasks, unit="tasks", label="cluster")
    return time.perf_counter() - started


def tasks(folder: Path, count: int, seconds: float, size: int) -> list[Sleep]:
    """Return sleeping tasks."""
    return [Sleep(path=folder / str(number), seconds=seconds, size=size) for number in range(count)]


def memory_of(process: int, name: str = "VmHWM") -> float:
    """Return the largest memory in MiB that a process has had."""
    (line,) = (line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def overhead(folder: Path) -> tuple[float, float]:
    """Return milliseconds of one empty task alone on a worker, and of each of many in a row."""
    with start.started("local", {"THREADS": "1"}) as cluster:
        engine = Cluster(cluster.scheduler_address)
        engine.client.wait_for_workers(1)
        timed(engine, tasks(folder, 5, 0.0, 0))  # torch is imported
        alone = statistics.median(timed(engine, tasks(folder, 1, 0.0, 0)) for _ in range(20))
        many = timed(engine, tasks(folder, 200, 0.0, 0)) / 200
        engine.close()
    return 1e3 * alone, 1e3 * many


def simulation(folder: Path, size: int) -> dict[str, float]:
    """Have sleeping workers do tasks of the size of a block, and tasks that do not sleep."""
    with start.started("local", {"THREADS": "1"}) as cluster:
        cluster.scale(0)
        halves = [
            subprocess.Popen([sys.executable, "-c", SIMULATED, cluster.scheduler_address, str(WORKERS // 2)])
            for _ in range(2)
        ]
        try:
            engine = Cluster(cluster.scheduler_address)
            while len(engine.client.nthreads()) != WORKERS:
                time.sleep(0.5)
            timed(engine, tasks(folder, WORKERS, 0.0, size))  # the package is imported
            empty, full = 2000, WORKERS * EACH
            rate = empty / timed(engine, tasks(folder, empty, 0.0, size))
            cpu = time.process_time()
            seconds = timed(engine, tasks(folder, full, SLEEP, size))
            # Scheduler and driver are threads of this process.
            used = time.process_time() - cpu
            engine.close()
        finally:
            for process in halves:
                process.terminate()
                process.wait()
    return {
        "rate": rate, "seconds": seconds, "ideal": SLEEP * EACH, "cpu": 1e3 * used / full, "memory": memory_of(os.getpid()),
    }  # fmt: skip


def main() -> None:
    """Write the page."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder, size = Path(scratch), result_bytes(find_study("mnist_data").at_scale("paper"))
        alone, many = overhead(folder)
        found = simulation(folder, size)
    text = f"""# What a task costs on a cluster

`python -m benchmarks.cluster` measures this page in one run, on {device_name(torch.device("cpu"))}. The simulated workers
run in two processes beside scheduler and driver; a task sleeps instead of computing, returns the bytes of a block of
`mnist_data`, and the driver writes them to a file.

| quantity | measured |
|---|---|
| an empty task alone, from submitting to its file | {alone:.1f} ms |
| each of 200 empty tasks on one worker | {many:.1f} ms |
| empty tasks on {WORKERS} simulated workers | {found["rate"]:.0f} tasks/s |
| {WORKERS * EACH} tasks of {SLEEP:g} s on {WORKERS} simulated workers | {found["seconds"]:.1f} s, without any cost \
{found["ideal"]:.0f} s |
| processor time of scheduler and driver per such task | {found["cpu"]:.1f} ms |
| largest memory of scheduler and driver together | {found["memory"]:.0f} MiB |

Bytes at paper scale. The networks of a repeat are sent to a worker once, however many blocks of it the worker computes.

| study | trainings in ten repeats | blocks in ten repeats | task, KiB | result, KiB | networks of a repeat, MiB |
|---|---|---|---|---|---|
"""
    PAGE.write_text(text + "\n".join(traffic()) + "\n")
    print(PAGE.read_text())


if __name__ == "__main__":
    main()
