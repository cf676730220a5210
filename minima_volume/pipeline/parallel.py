"""Run independent tasks on a pool of threads."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from minima_volume.cluster.task import Task
from minima_volume.cluster.worker import Place
from minima_volume.networks.precision import use_full_float32

T = TypeVar("T")


@dataclass(frozen=True)
class Threads:
    """The engine that computes tasks on threads of this process; `cluster.engine.Cluster` is the other one.

    Attributes:
        workers: How many tasks run at once.
    """

    workers: int

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return what a function returns where tasks are computed."""
        return function(*arguments)

    def each(self, tasks: Sequence[Task[Any]], *, unit: str, label: str) -> Counter[Place]:
        """Compute all tasks and write their results; see `run_tasks`. Nothing is computed elsewhere."""
        run_tasks([task.run for task in tasks], threads=self.workers, unit=unit, label=label)
        return Counter()


def run_tasks(tasks: Sequence[Callable[[], T]], *, threads: int, unit: str, label: str) -> list[T]:
    """Run tasks on threads, and show a progress bar with the time left.

    Each thread uses one torch thread. Torch releases the interpreter while it computes, and threads share the data. The
    results do not depend on the number of threads. The first failure cancels the tasks that have not started.

    Args:
        tasks: Functions without arguments.
        threads: How many tasks run at once.
        unit: What one task is called in the progress bar, in the plural.
        label: Text before the progress bar.

    Returns:
        The results in the order of the tasks.

    Raises:
        Exception: Whatever the first failing task raised.
    """
    if not tasks:
        return []
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(threads, initializer=_start_worker)
    with tqdm(total=len(tasks), unit=f" {unit}", desc=label, smoothing=0.05) as bar:
        futures = [pool.submit(task) for task in tasks]
        for future in futures:
            future.add_done_callback(lambda _: bar.update())
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown(cancel_futures=True)
    return [future.result() for future in futures if not future.cancelled()]


def _start_worker() -> None:
    """Set up a thread for its tasks."""
    torch.set_num_threads(1)
    use_full_float32()
