"""The engine that has the workers of a Dask cluster compute tasks; this process writes the results."""

import os
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from queue import Empty, Queue
from typing import Any, TypeVar

from tqdm import tqdm

from minima_volume.cluster import worker
from minima_volume.cluster.machine import own_build
from minima_volume.cluster.task import Task
from minima_volume.cluster.worker import Place, Refused
from minima_volume.errors import UserError, extra

T = TypeVar("T")
LOOK = 2.0  # seconds between looks at which workers there are
MOST_REFUSALS = 20  # of a worker that has been sent away and does not go
DEATHS = 3  # workers that may end in one task, where this package starts the scheduler


@dataclass
class Cluster:
    """The workers of a Dask scheduler that runs already.

    Attributes:
        address: Where it listens, such as tcp://head:8786.
        own: Whether its workers are there for studies of this project, so that those that are not fit are sent away.
    """

    address: str
    own: bool = True

    @classmethod
    def of(cls, client: Any) -> "Cluster":
        """Return the cluster of a client that is connected; it is not closed here.

        Args:
            client: A `distributed.Client`.

        Raises:
            UserError: It is something else, asynchronous, or closed.
        """
        if not hasattr(client, "submit") or not hasattr(client, "scheduler"):
            raise UserError(
                f"Expected a client of Dask, got {type(client).__name__}: pass distributed.Client(address)."
            )
        if client.status != "running" or client.asynchronous:
            state = f"a {client.status}" if client.status != "running" else "an asynchronous"
            raise UserError(f"Expected a running client, got {state} one: pass distributed.Client(address).")
        # They would wait for the lock that a measurement holds.
        if os.getpid() in client.run(os.getpid).values():
            raise UserError("Expected workers in processes of their own, got one in this process: use processes=True.")
        cluster = cls(client.scheduler.address, own=False)
        vars(cluster)["client"] = client
        return cluster

    @cached_property
    def client(self) -> Any:
        """The connection, made when it is first used.

        Raises:
            UserError: Dask is not installed, or nothing answers at the address.
        """
        with extra("cluster", "CLUSTER"):
            from distributed import Client
        connect: Any = Client
        try:
            return connect(self.address, timeout=10, set_as_default=False)
        except OSError as error:
            raise UserError(
                f"Expected a scheduler at {self.address}, got no answer: start one, or correct CLUSTER."
            ) from error

    @property
    def advice(self) -> str:
        """What to do after an error."""
        if self.own:
            return "Finished results are kept: run the same command again."
        return "Call it again; what is in the file that `keep` names is not computed again."

    @property
    def workers(self) -> int:
        """How many tasks run at once on the workers at hand; waits for the first worker."""
        self._wait()
        return sum(self._threads().values())

    def _wait(self) -> None:
        """Wait for the first worker, and say so."""
        if not self._threads():
            print(f"{self.address} has no workers yet: waiting for the first.", file=sys.stderr, flush=True)
            self._ask(lambda: self.client.wait_for_workers(1))

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return what a function returns on one of the workers."""
        # Before the tasks of other studies on the same workers.
        found: T = self._ask(lambda: self.client.submit(function, *arguments, pure=False, priority=1).result())
        return found

    def _threads(self) -> dict[str, int]:
        """Return the number of threads of each worker by its address."""
        return dict(self._ask(lambda: self.client.nthreads()))

    def _ask(self, question: Callable[[], T]) -> T:
        """Return what a call of the client returns; it waits in a thread, for Dask forgets calls of a client that ends.

        Raises:
            UserError: The client or the scheduler ends meanwhile.
        """
        answer: Future[T] = Future()

        def run() -> None:
            try:
                answer.set_result(question())
            except BaseException as error:  # it is raised where the answer is read
                answer.set_exception(error)

        threading.Thread(target=run, daemon=True, name="question").start()
        with self._scheduler_errors():
            while not wait([answer], timeout=LOOK).done:
                if self.client.status in ("closing", "closed"):
                    raise CancelledError(f"a {self.client.status} client")
            return answer.result()

    @contextmanager
    def _scheduler_errors(self) -> Iterator[None]:
        """Say in one sentence that the scheduler is gone."""
        try:
            yield
        except Exception as error:  # Dask raises anything once its connection is closed, else this is another error
            if not isinstance(error, OSError | CancelledError) and self.client.status == "running":
                raise
            raise UserError(
                f"Expected the scheduler at {self.address} to stay, and the connection to it, got "
                f"'{error or type(error).__name__}'. {self.advice}"
            ) from error

    def close(self) -> None:
        """End the connection; the workers stay."""
        if "client" in vars(self):
            self.client.close(timeout=2)

    def each(self, tasks: Sequence[Task[Any]], *, unit: str, label: str, hidden: bool = False) -> Counter[Place]:
        """Have all tasks computed and write their results, and show a progress bar with the time left.

        Tasks of a worker that ends run on another one. A task that ends three workers is named, and the others go on. The
        first error of a task itself cancels those that have not started.

        Args:
            tasks: Independent tasks.
            unit: What one task is called in the progress bar, in the plural.
            label: Text before the progress bar.
            hidden: Whether there is no bar, because the caller shows one.

        Returns:
            How many tasks were computed at each place; a task that goes on counts again.

        Raises:
            UserError: Tasks ended their workers, no worker is fit, or the scheduler is gone.
            Exception: Whatever the first failing task raised.
        """
        if not tasks:
            return Counter()
        self._wait()
        with tqdm(total=len(tasks), unit=f" {unit}", desc=label, smoothing=0.05, disable=hidden) as bar:
            batch = _Batch(self, bar, label)
            try:
                batch.run(tasks)
            finally:
                batch.cancel()
        return batch.places


class _Batch:
    """Tasks that are computed together, and what becomes of them."""

    def __init__(self, cluster: Cluster, bar: Any, label: str) -> None:
        self.cluster, self.client, self.bar, self.label = cluster, cluster.client, bar, label
        self.running: dict[str, tuple[Task[Any], Any]] = {}  # task and future by key
        self.finished: Queue[Any] = Queue()
        self.kept: dict[int, Any] = {}  # futures of what tasks share
        self.lost: dict[str, int] = {}  # workers that ended in a task, by its name
        self.refused = Counter[str]()  # by the address of the worker
        self.places = Counter[Place]()
        self.known: dict[str, int] = {}

    def run(self, tasks: Sequence[Task[Any]]) -> None:
        """Submit all tasks, and deal with each as it finishes."""
        self._look()
        for task in tasks:
            self._submit(task)
        while self.running:
            try:
                future = self.finished.get(timeout=LOOK)
            except Empty:
                self._look()
                continue
            task, _ = self.running.pop(future.key)
            following = self._follow(task, future)
            future.release()
            if following is None:
                self.bar.update()
            else:
                self._submit(following)
        if self.lost:
            deaths, names = max(self.lost.values()), "; ".join(self.lost)
            raise UserError(
                f"Expected workers to survive their tasks, got {deaths} that ended in each of: {names}. "
                f"Lower {'MEMORY' if self.cluster.own else '`memory`'}, or give workers more memory. {self.cluster.advice}"
            )

    def _submit(self, task: Task[Any]) -> None:
        """Send a task by its names; what it shares goes once."""
        name = uuid.uuid4().hex
        with self.cluster._scheduler_errors():
            future = self.client.submit(
                _compute, task.for_worker(), self._share(task.shared), own_build(), key=f"task-{name}", pure=False
            )
        self.running[future.key] = task, future
        future.add_done_callback(self.finished.put)

    def _share(self, value: Any) -> Any:
        """Return the future of a value that every worker gets once, and again if it is lost with a worker."""
        if value is None:
            return None
        if id(value) not in self.kept:
            import dask

            # Networks are sent by the scheduler, each once.
            with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GiB"}):
                name = f"shared-{uuid.uuid4().hex}"
                self.kept[id(value)] = self.client.submit(worker.keep, value, key=name, pure=False)
        return self.kept[id(value)]

    def _follow(self, task: Task[Any], future: Any) -> Task[Any] | None:
        """Write a task's result; return the task that goes on from it, or the same one if its worker was refused."""
        from distributed.scheduler import KilledWorker

        error = None if future.status == "finished" else self.cluster._ask(future.exception)
        if error is None:
            result, place = self.cluster._ask(future.result)
            self.places[place] += 1
            return task.write(result)
        if isinstance(error, Refused):
            self._refuse(error)
            return task
        if not isinstance(error, KilledWorker):
            raise error
        deaths = self.lost[task.name] = error.allowed_failures + 1
        self.bar.write(f"{task.name}: {deaths} workers ended while they computed it; the others go on.", sys.stderr)
        return None

    def _refuse(self, error: Refused) -> None:
        """Name a worker that is not fit and send it away.

        Raises:
            Refused: It was the last one, it does not go away, or it is somebody's own.
        """
        self.refused[error.worker] += 1
        if not self.cluster.own or self.refused[error.worker] > MOST_REFUSALS:
            raise error
        if error.worker in self.known:
            self.bar.write(f"{error} It gets no tasks.", sys.stderr)
            self.known.pop(error.worker)
            self.client.retire_workers([error.worker], close_workers=True)
        if not self.cluster._threads():
            raise error

    def _look(self) -> None:
        """Name the workers that are gone, and count those that are there."""
        now = self.cluster._threads()
        for address in self.known.keys() - now.keys():
            self.bar.write(f"worker {address} is gone: its tasks run elsewhere.", sys.stderr)
        if now != self.known:
            self.bar.set_description(f"{self.label}, {sum(now.values())} workers")
        self.known = now

    def cancel(self) -> None:
        """Forget what is left."""
        left = [future for _, future in self.running.values()]
        if left and self.client.status == "running":
            self.client.cancel(left, force=True)
        self.running.clear()
        self.kept.clear()


def _compute(task: Task[Any], shared: Any, wanted: Any) -> tuple[Any, Place]:
    """Compute a task on this worker."""
    from distributed import get_worker

    return worker.compute(task, shared, wanted, get_worker().address)
