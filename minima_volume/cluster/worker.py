"""What a worker of a cluster does: it checks that it is of the same build as the driver, and computes a task."""

import platform
from typing import Any, NamedTuple

import torch

from minima_volume.cluster.machine import Build, device_name, own_build
from minima_volume.cluster.task import Task
from minima_volume.errors import DataError, UserError
from minima_volume.networks.precision import use_full_float32


class Place(NamedTuple):
    """Where a task was computed: the machine, its processor, and the worker there."""

    host: str
    processor: str
    worker: str


class Refused(UserError):
    """A worker that cannot compute what the driver would.

    Args:
        sentence: What was expected, what the worker has, and what to do.
        worker: Its address.
    """

    def __init__(self, sentence: str, worker: str) -> None:
        super().__init__(sentence, worker)
        self.worker = worker

    def __str__(self) -> str:
        return str(self.args[0])


def compute(task: Task[Any], shared: Any, wanted: Build, worker: str) -> tuple[Any, Place]:
    """Compute a task; return its result and where it was computed.

    Args:
        task: The task without its `shared`.
        shared: What it needs besides.
        wanted: The driver's build.
        worker: The address of this worker.

    Raises:
        Refused: This process has another build or other data than the driver.
    """
    host, found = platform.node(), own_build()
    if found != wanted:
        what, got = ("torch", found.torch) if found.package == wanted.package else ("package", found.package[:12])
        expected = wanted.torch if what == "torch" else wanted.package[:12]
        raise Refused(
            f"Expected workers with {what} {expected}, as here, got {got} on {host}: install the same there.", worker
        )
    torch.set_num_threads(1)
    use_full_float32()
    try:
        return task.compute(shared), Place(host, device_name(task.device), worker)
    except DataError as error:
        raise Refused(f"{error} (worker on {host})", worker) from error


def keep(value: Any) -> Any:
    """Return a value, which a worker then has for all tasks that need it."""
    return value
