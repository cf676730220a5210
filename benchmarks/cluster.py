"""Write benchmarks/cluster.md: what a cluster costs beside threads, and how many workers one driver can keep busy.

Usage: `python -m benchmarks.cluster` for the page; `python -m benchmarks.cluster ADDRESS N` is a process of N workers.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.protocol.pickle import dumps

from minima_volume.cluster.engine import Cluster
from minima_volume.cluster.machine import device_name
from minima_volume.cluster.task import Task
from minima_volume.networks.precision import device_for
from minima_volume.pipeline.cluster import started

ROOT = Path(__file__).resolve().parent.parent
PAGE = Path(__file__).with_name("cluster.md")
# Workers of the simulation, in how many processes, and how long their tasks sleep.
START_S = 60  # within which a scheduler has written its file
WORKERS, PROCESSES, SLEEPS = 200, 4, (0.0, 1.0, 10.0)
# Tasks of each simulation, and numbers in a result: 25 directions of four minima in ten landscapes.
TASKS, NUMBERS = (4000, 2000, 600), 25 * 4 * 10
# Studies whose repeat 0 runs on two threads and on two workers.
STUDIES = (("mnist_poison", "quick"), ("digits_poison", "paper"))
# Directions in a block of rays, and repeats for which blocks are counted.
BLOCK, REPEATS = 25, 10
# Share of its time that a driver may be busy before workers wait for it.
BUSY = 0.8


TABLE = f"""## How many workers a study keeps busy

Blocks of rays of {REPEATS} repeats, and the seconds that one took on average in the committed run. No more workers are of
use than there are blocks, or than {BUSY:.0%} of the ceiling feeds.

| study | blocks | seconds a block | workers |
|---|---|---|---|"""


@dataclass(frozen=True, kw_only=True)
class Sleep(Task[Any]):
    """A task that sleeps instead of computing, and returns as many numbers as a block of rays."""

    number: int
    seconds: float

    @property
    def name(self) -> str:
        """What the task is called in messages."""
        return f"sleep {self.number}"

    def compute(self, shared: Any) -> Any:
        """Sleep."""
        time.sleep(self.seconds)
        return np.zeros(NUMBERS)

    def write(self, result: Any) -> None:
        """Keep nothing."""


def memory(pid: int | str = "self") -> float:
    """Return the memory of a process in MiB."""
    (line,) = (each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


# --- the simulation ---------------------------------------------------------------------------------------------------


async def many_workers(address: str, count: int) -> None:
    """Be many workers of one thread each, in one process: what sleeps needs no processor."""
    from distributed import Worker

    workers = await asyncio.gather(*(Worker(address, nthreads=1, memory_limit=0) for _ in range(count)))
    await asyncio.gather(*(each.finished() for each in workers))


@contextmanager
def simulated() -> Iterator[tuple[Cluster, int]]:
    """A scheduler in a process of its own, and many workers; yields the connection and the scheduler's process."""
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scheduler.json"
        quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": ROOT}
        running = [subprocess.Popen([*scheduler, "--no-dashboard", "--scheduler-file", str(file)], **quiet)]
        try:
            from distributed import Client

            begun = time.monotonic()
            while not file.exists():
                if time.monotonic() - begun > START_S:
                    raise TimeoutError(
                        f"Expected the scheduler to start within {START_S} s, got no file: run it again."
                    )
                time.sleep(0.1)
            connect: Any = Client
            client = connect(scheduler_file=str(file), timeout=30)
            address = client.scheduler.address
            running += [
                subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.cluster", address, str(WORKERS // PROCESSES)], **quiet
                )
                for _ in range(PROCESSES)
            ]
            client.wait_for_workers(WORKERS, timeout=300)
            yield Cluster.of(client), running[0].pid
            client.close()
        finally:
            for process in running:
                process.kill()
                process.wait()


def simulation() -> list[str]:
    """Return rows: tasks per second, and memory of driver and scheduler."""
    rows = []
    with simulated() as (cluster, scheduler):
        cluster.each([Sleep(number=i, seconds=0) for i in range(WORKERS)], unit="tasks", label="first")
        for seconds, count in zip(SLEEPS, TASKS, strict=True):
            start = time.perf_counter()
            cluster.each([Sleep(number=i, seconds=seconds) for i in range(count)], unit="tasks", label=f"{seconds:g} s")
            rate = count / (time.perf_counter() - start)
            ideal = f"{WORKERS / seconds:.0f}" if seconds else "—"
            rows.append(f"| {seconds:g} | {count} | {rate:.0f} | {ideal} | {memory():.0f} | {memory(scheduler):.0f} |")
            print(rows[-1], flush=True)
            if not seconds:
                rows.insert(0, f"{rate:.1f}")
    return rows


# --- real work --------------------------------------------------------------------------------------------------------


def run(study: str, scale: str, folder: Path, settings: Mapping[str, str]) -> float:
    """Run all stages of repeat 0 of a study in a folder; return the seconds."""
    clean = {name: value for name, value in os.environ.items() if name not in ("CLUSTER", "THREADS", "MAKEFLAGS")}
    data = str(Path(os.environ.get("DATA_DIR", ROOT / "data")).resolve())
    start = time.perf_counter()
    for stage in ("train_models", "random_perturbs", "volume_cutoff", "volume_estimation"):
        subprocess.run(
            [sys.executable, ROOT / "MNIST" / f"{stage}.py", study, "--scale", scale, "--repeats", "0"],
            cwd=folder, env=clean | {"PYTHONPATH": str(ROOT), "DATA_DIR": data} | settings, check=True, capture_output=True,
        )  # fmt: skip
    return time.perf_counter() - start


def tables(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all tables by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.csv"))}


class Seconds(SchedulerPlugin):
    """A plugin of the scheduler that sums up the time of computations."""

    def __init__(self) -> None:
        self.computed, self.tasks = 0.0, 0

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Add what a finished task took."""
        if start == "processing" and finish == "memory" and str(key).startswith("task-"):
            self.tasks += 1
            self.computed += sum(
                part["stop"] - part["start"] for part in kwargs.get("startstops") or () if part["action"] == "compute"
            )


def comparison(study: str, scale: str, per_task: float) -> str:
    """Return a row: a study on two threads and on two workers of a cluster that is there already."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        threads = run(study, scale, Path(one), {"THREADS": "2"})
        with started("local", {"THREADS": "2"}) as cluster:
            seconds: Any = Seconds()
            cluster.scheduler.add_plugin(seconds, name="seconds")
            cluster.wait_for_workers(2)
            workers = run(study, scale, Path(two), {"CLUSTER": cluster.scheduler_address})
        same = tables(Path(one)) == tables(Path(two)) and bool(tables(Path(one)))
    row = (
        f"| `{study}`, {scale} | {threads:.1f} | {workers:.1f} | {workers / threads:.2f} | {seconds.tasks} | "
        f"{seconds.computed / max(1, seconds.tasks):.2f} | {per_task * seconds.tasks / workers / 1000:.1%} | "
        f"{'yes' if same else 'NO'} |"
    )
    print(row, flush=True)
    return row


def useful(ceiling: float) -> list[str]:
    """Return rows: the blocks of ten repeats of every committed study, and how many workers they keep busy.

    Args:
        ceiling: Tasks per second that one driver handles.
    """
    rows = []
    for path in sorted((ROOT / "results" / "paper").glob("*/run.json")):
        record = json.loads(path.read_text())
        each = -(-record["settings"]["n_directions"] // BLOCK)
        seconds = record["task_seconds"]["rays"] / (each * len(record["seeds"]))
        blocks = REPEATS * each
        rows.append(
            f"| `{path.parent.name}` | {blocks} | {seconds:.1f} | {max(1, min(blocks, int(BUSY * ceiling * seconds)))} |"
        )
    return rows


def overhead() -> tuple[float, int, int]:
    """Return milliseconds per task with one worker, and the bytes of a task and of its result."""
    count = 1000
    with started("local", {"THREADS": "1"}) as found:
        cluster = Cluster(found.scheduler_address)
        cluster.each([Sleep(number=i, seconds=0) for i in range(20)], unit="tasks", label="first")
        start = time.perf_counter()
        cluster.each([Sleep(number=i, seconds=0) for i in range(count)], unit="tasks", label="one worker")
        milliseconds = (time.perf_counter() - start) / count * 1000
        cluster.close()
    task = Sleep(number=0, seconds=0)
    return milliseconds, len(dumps(task)), len(dumps(task.compute(None)))


def page() -> str:
    """Measure everything; return the page."""
    import torch

    milliseconds, sent, returned = overhead()
    studies = [comparison(study, scale, milliseconds) for study, scale in STUDIES]
    ceiling, *rows = simulation()
    most = {seconds: int(BUSY * float(ceiling) * seconds) for seconds in (1, 10, 60)}
    return f"""# What a cluster costs

`python -m benchmarks.cluster` measures this page in one run ({device_name(device_for(torch.float64, torch.device("cpu")))}).

## Two workers beside two threads

Wall time of all stages of repeat 0, each a process of its own, on a cluster that runs already. *Scheduling* is the
number of tasks times what an empty task costs, as a share of the wall time.

| study | threads, s | workers, s | ratio | tasks | seconds a task | scheduling | same bytes |
|---|---|---|---|---|---|---|---|
{chr(10).join(studies)}

An empty task costs {milliseconds:.1f} ms with one worker; {sent} bytes go there and {returned:,} come back.

## {WORKERS} workers

{WORKERS} workers whose tasks sleep instead of computing and return {NUMBERS:,} numbers, in {PROCESSES} processes on the same
machine as the driver and the scheduler, all on
its cores.

| a task sleeps, s | tasks | tasks/s | at most | driver, MiB | scheduler, MiB |
|---|---|---|---|---|---|
{chr(10).join(rows)}

The first row is the ceiling of driver, scheduler and the {PROCESSES} processes together. At {BUSY:.0%} of it, one driver
keeps {most[1]:,} workers busy if a task takes 1 s, {most[10]:,} if it takes 10 s, and {most[60]:,} if it takes 60 s.

{chr(10).join([TABLE, *useful(float(ceiling))])}
"""


if __name__ == "__main__":
    if len(sys.argv) == 3:
        asyncio.run(many_workers(sys.argv[1], int(sys.argv[2])))
    else:
        PAGE.write_text(page())
