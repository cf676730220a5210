"""A study on the workers of a Dask scheduler: the same bytes as on threads, also if workers are killed or not fit."""

import logging
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from minima_volume.cluster import worker
from minima_volume.cluster.engine import Cluster
from minima_volume.cluster.machine import Build, own_build
from minima_volume.cluster.task import Task
from minima_volume.errors import DataError, NumericsError, UserError
from minima_volume.pipeline import cluster as start
from minima_volume.pipeline import settings
from minima_volume.pipeline.repeat import Repeat
from minima_volume.storage import archives, layout
from tests.study_runs import TINY, Stages, run

pytest.importorskip("distributed")
# A worker that is killed leaves its connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@dataclass(frozen=True, kw_only=True)
class Squared(Task[tuple[int, int]]):
    """The square of a number into a folder, in parts; some end their worker, or that of the first result."""

    number: int
    folder: Path
    parts: int = 1
    ends: bool = False
    kills: bool = False
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return f"square of {self.number}"

    def compute(self, shared: Any) -> tuple[int, int]:
        time.sleep(self.seconds)
        if self.ends:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.number < 0:
            raise NumericsError("Expected a number above 0, got one below.")
        return self.number**2 + len(shared or ()), os.getpid()

    def write(self, result: tuple[int, int]) -> "Squared | None":
        square, process = result
        if self.kills and not any(self.folder.iterdir()):
            os.kill(process, signal.SIGKILL)
        # A result comes once, whatever becomes of its worker.
        assert not (self.folder / f"{self.number}.{self.parts}").exists()
        (self.folder / f"{self.number}.{self.parts}").write_text(f"{square} {process}")
        return replace(self, parts=self.parts - 1) if self.parts > 1 else None


@pytest.fixture(scope="module")
def scheduler() -> Iterator[Any]:
    """Two workers on this machine."""
    with start.started("local", {"THREADS": "2"}) as cluster:
        yield cluster


@pytest.fixture
def engine(scheduler: Any) -> Iterator[Cluster]:
    """The engine on two workers."""
    with ExitStack() as own:
        found = Cluster(scheduler.scheduler_address)
        try:
            found.client.wait_for_workers(2, timeout=60)
        except TimeoutError:  # seen once: a worker that an earlier test had ended was not started again
            found.close()
            found = Cluster(own.enter_context(start.started("local", {"THREADS": "2"})).scheduler_address)
            found.client.wait_for_workers(2, timeout=60)
        yield found
        found.close()


def squares(folder: Path) -> dict[str, int]:
    return {path.name: int(path.read_text().split()[0]) for path in folder.iterdir()}


def each(engine: Cluster, tasks: list[Squared]) -> int:
    return engine.each(tasks, unit="squares", label="test").total()


def test_a_study_has_the_same_bytes_as_on_threads(
    scheduler: Any, finished: Path, stages: Stages, tmp_path: Path
) -> None:
    folder = run(stages, tmp_path, CLUSTER=scheduler.scheduler_address)
    for table in ("volumes.csv", "cutoffs.csv"):
        assert (folder / table).read_bytes() == (finished / table).read_bytes()
    for path in sorted(finished.rglob("*.safetensors")):
        wanted, found = (archives.read_tensors(at)[1] for at in (path, folder / path.relative_to(finished)))
        assert all(found[name].equal(tensor) for name, tensor in wanted.items()) and set(found) == set(wanted)
    record = archives.read_json(folder / "run.json")["cluster"]
    # A stack of repeats at each of two levels, and blocks of 25 and 5 directions of two repeats. On a machine that is short
    # of time, trainings pause and count again.
    assert sum(place["tasks"] for place in record) >= 2 + 2 * 2
    assert all(re.match(r"dask distributed 20\d\d", place["engine"]) and place["processor"] for place in record)
    assert not (finished / layout.CLUSTER_RECORD).exists()


def test_tasks_go_on_and_share_what_is_sent_once(engine: Cluster, tmp_path: Path) -> None:
    shared = "abc"
    count = each(engine, [Squared(number=i, folder=tmp_path, parts=3, shared=shared) for i in range(4)])
    assert squares(tmp_path) == {f"{i}.{part}": i**2 + 3 for i in range(4) for part in (1, 2, 3)}
    assert count == 12


def test_a_killed_worker_costs_its_own_task(engine: Cluster, tmp_path: Path) -> None:
    each(engine, [Squared(number=i, folder=tmp_path, seconds=0.1, kills=True) for i in range(6)])
    assert squares(tmp_path) == {f"{i}.1": i**2 for i in range(6)}


def test_a_task_that_ends_three_workers_is_named_and_the_others_go_on(
    engine: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = [Squared(number=i, folder=tmp_path, ends=i == 1) for i in range(4)]
    with pytest.raises(UserError, match=r"got 3 that ended in each of: square of 1\. Lower MEMORY"):
        each(engine, tasks)
    assert squares(tmp_path) == {f"{i}.1": i**2 for i in (0, 2, 3)}
    assert "square of 1: 3 workers ended while they computed it; the others go on." in capsys.readouterr().err


def test_an_error_of_the_user_is_not_tried_again(engine: Cluster, tmp_path: Path) -> None:
    with pytest.raises(NumericsError, match="got one below"):
        each(engine, [Squared(number=-1, folder=tmp_path)])


def test_workers_of_another_build_are_sent_away(
    engine: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last test of these two workers."""
    monkeypatch.setattr("minima_volume.cluster.engine.own_build", lambda: replace(own_build(), torch="1.0"))
    with pytest.raises(worker.Refused, match=r"Expected workers with torch 1\.0, as here, got 2"):
        each(engine, [Squared(number=i, folder=tmp_path) for i in range(4)])
    assert capsys.readouterr().err.count("install the same there. It gets no tasks.") == 2 and not squares(tmp_path)


def test_unfit_workers_that_do_not_go_away_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with start.started("local", {"THREADS": "1"}) as cluster:
        engine = Cluster(cluster.scheduler_address)
        monkeypatch.setattr(engine.client, "retire_workers", lambda *_, **__: None)
        monkeypatch.setattr("minima_volume.cluster.engine.own_build", lambda: replace(own_build(), torch="1.0"))
        with pytest.raises(worker.Refused, match=r"Expected workers with torch 1\.0"):
            each(engine, [Squared(number=1, folder=tmp_path)])
        engine.close()


def test_nobody_at_the_address_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"Expected a scheduler at tcp://127\.0\.0\.1:1, got no answer"):
        Cluster("tcp://127.0.0.1:1").workers  # noqa: B018 - it connects


def test_there_is_a_worker_for_every_gpu_or_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "devices", lambda: {"cpu": True, "cuda": True})
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    seen = [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]
    assert start.worker_variables({"DEVICE": "cuda", "THREADS": "7"}) == seen
    assert start.worker_variables({"THREADS": "3"}) == [{}, {}, {}]


# --- refusals, without a cluster ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (
            replace(own_build(), package="0" * 64),
            r"Expected workers with package 000000000000, as here, got \w{12} on ",
        ),
        (replace(own_build(), torch="1.0"), r"Expected workers with torch 1\.0, as here, got 2"),
    ],
)
def test_a_worker_of_another_build_is_refused(build: Build, said: str, tmp_path: Path) -> None:
    with pytest.raises(worker.Refused, match=said) as caught:
        worker.compute(Squared(number=1, folder=tmp_path), None, build, "tcp://there:1")
    assert caught.value.worker == "tcp://there:1" and "\n" not in str(caught.value)


def test_a_worker_with_other_data_is_refused(tmp_path: Path) -> None:
    class Reads(Squared):
        def compute(self, shared: Any) -> tuple[int, int]:
            return len(Repeat(TINY, 0, checksums=(("file", "other"),)).dataset.inputs), 0

    with pytest.raises(worker.Refused, match=r"with the driver's checksums, got another one.* \(worker on "):
        worker.compute(Reads(number=1, folder=tmp_path), None, own_build(), "tcp://there:1")


def test_a_repeat_travels_by_its_names() -> None:
    import cloudpickle

    repeat = Repeat(TINY, 1)
    assert repeat.samples and repeat.model  # loaded here
    text = cloudpickle.dumps(repeat)
    again = cloudpickle.loads(text)
    assert len(text) < 2000 and (again.study, again.number) == (TINY, 1) and cloudpickle.loads(text) is again
    with pytest.raises(DataError, match="checksums"):
        replace(again, checksums=(("file", "other"),)).dataset  # noqa: B018 - it loads


@dataclass(frozen=True, kw_only=True)
class Swallows(Squared):
    """A task that takes more and more memory."""

    def compute(self, shared: Any) -> tuple[int, int]:
        taken = []
        for _ in range(400 if self.ends else 0):
            taken.append(bytearray(os.urandom(2**20) * 16))
            time.sleep(0.02)
        return self.number**2, os.getpid()


@pytest.mark.slow
def test_a_task_beyond_the_memory_of_workers_is_named_with_the_setting_to_lower(tmp_path: Path) -> None:
    import dask
    from distributed import LocalCluster

    options: Any = {"n_workers": 2, "threads_per_worker": 1, "memory_limit": "1GiB", "dashboard_address": None}
    with dask.config.set(start.CONFIGURATION), LocalCluster(**options, silence_logs=logging.CRITICAL) as cluster:
        engine = Cluster(cluster.scheduler_address)
        tasks = [Swallows(number=i, folder=tmp_path, ends=i == 1) for i in range(4)]
        with pytest.raises(UserError, match=r"got 3 that ended in each of: square of 1\. Lower MEMORY"):
            each(engine, list(tasks))
        engine.close()
    assert squares(tmp_path) == {f"{i}.1": i**2 for i in (0, 2, 3)}


def test_workers_that_end_while_they_start_are_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed

    real, tries = distributed.SpecCluster, []

    def fails(times: int) -> Any:
        def start_cluster(**options: Any) -> Any:
            tries.append(1)
            if len(tries) <= times:
                raise RuntimeError("Nanny failed to start.")
            return real(**options)

        return start_cluster

    monkeypatch.setattr(distributed, "SpecCluster", fails(2))
    with start.started("local", {"THREADS": "1"}) as cluster:
        assert len(tries) == 3 and cluster.scheduler_address
    monkeypatch.setattr(distributed, "SpecCluster", fails(9))
    with (
        pytest.raises(UserError, match=r"Expected 1 workers to start, got 'Nanny failed to start\.' 3 times"),
        start.started("local", {"THREADS": "1"}),
    ):
        pass
