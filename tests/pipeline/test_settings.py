"""Settings of the environment, studies found by name, and tasks on threads."""

import os
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from minima_volume.crossings.sweep import MEMORY
from minima_volume.errors import UserError
from minima_volume.pipeline import settings
from minima_volume.pipeline.parallel import run_tasks
from minima_volume.pipeline.settings import Settings
from minima_volume.pipeline.study import find_study, read_studies
from tests.project import ROOT


def test_defaults() -> None:
    cores = os.cpu_count() or 1
    expected = Settings("paper", torch.device("cpu"), cores, MEMORY, None, None, Path("data"), False)
    assert Settings.from_environment({}) == expected
    empty = dict.fromkeys(("SCALE", "DEVICE", "THREADS", "MEMORY", "DIRECTIONS", "LEVELS", "DATA_DIR", "DEBUG"), "")
    assert Settings.from_environment(empty) == expected  # make exports variables that are not set as empty ones


def test_every_variable_is_read() -> None:
    environ = {
        "SCALE": "quick", "DEVICE": "cpu", "THREADS": "3", "MEMORY": "7", "DIRECTIONS": "5", "LEVELS": "2",
        "DATA_DIR": "/data", "DEBUG": "1",
    }  # fmt: skip
    found = Settings.from_environment(environ)
    assert found == Settings("quick", torch.device("cpu"), 3, 7 * 2**20, 5, 2, Path("/data"), True)
    assert found.workers == 3


def test_a_gpu_runs_one_task_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "devices", lambda: {"cpu": True, "cuda": True})
    found = Settings.from_environment({"DEVICE": "cuda", "THREADS": "4"})
    assert (found.device, found.threads, found.workers) == (torch.device("cuda"), 4, 1)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("SCALE", "papr", "Expected SCALE to be one of quick, paper, got 'papr'"),
        ("DEVICE", "tpu", "Expected DEVICE to be one of cpu, cuda, mps, got 'tpu'"),
        *((name, "0", f"Expected {name} to be a whole number above 0, got '0'") for name in
          ("THREADS", "MEMORY", "DIRECTIONS", "LEVELS")),
        ("THREADS", "two", "got 'two'"),
        ("MEMORY", "2G", "got '2G'"),
    ],
)  # fmt: skip
def test_invalid_values_are_refused(name: str, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Settings.from_environment({name: text})


def test_a_cluster_has_its_networks_on_the_workers() -> None:
    """A login node need not have the GPU that the workers have."""
    found = Settings.from_environment({"CLUSTER": "tcp://head:8786", "DEVICE": "cuda", "DATA_DIR": "data"})
    assert (found.cluster, found.device, found.data_dir) == (
        "tcp://head:8786",
        torch.device("cpu"),
        Path("data").absolute(),
    )
    assert found.on_worker().device == torch.device("cuda")
    assert Settings.from_environment({}).on_worker() == Settings.from_environment({})


@pytest.mark.parametrize("text", ["slurn", "tcp://head", "tcp://a b:1", "tcp://head:1 `touch crater`", "http://head:1"])
def test_other_clusters_are_refused(text: str) -> None:
    with pytest.raises(
        UserError, match="Expected CLUSTER to be local, slurm or an address such as tcp://head:8786, got"
    ):
        settings.cluster({"CLUSTER": text})


def test_a_stage_alone_starts_no_cluster() -> None:
    with pytest.raises(UserError, match="Expected CLUSTER=local to be started by make"):
        Settings.from_environment({"CLUSTER": "local"})


def test_options_of_jobs_are_lines_of_a_script() -> None:
    assert settings.slurm_options({"SLURM": "--partition=gpu --gres gpu:1  -t 4:00:00"}) == [
        "--partition=gpu", "--gres gpu:1", "-t 4:00:00"
    ]  # fmt: skip
    assert settings.slurm_options({}) == [] and settings.jobs({}) == 1 and settings.jobs({"JOBS": "9"}) == 9


@pytest.mark.parametrize("text", ["gpu", "--a=b;c", "--a $(touch x)", "--a=`touch x`", "-a 'b'", "--a=b > c"])
def test_what_is_no_option_of_jobs_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="Expected SLURM to be options of sbatch"):
        settings.slurm_options({"SLURM": text})


def test_studies_are_found_by_name() -> None:
    assert find_study("swiss_sam", ROOT) == read_studies(ROOT)["sam"]["swiss_sam"]
    with pytest.raises(UserError, match=r"Expected a study among .*, got 'swis_sam'\. Did you mean 'swiss_sam'\?$"):
        find_study("swis_sam", ROOT)
    with pytest.raises(UserError, match=r"got 'zzzzzz'\.$"):
        find_study("zzzzzz", ROOT)


def test_results_come_in_the_order_of_the_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    def task(number: int) -> tuple[int, int]:
        time.sleep(0.02 * (4 - number))  # later tasks end first
        return number, torch.get_num_threads()

    found = run_tasks([partial(task, i) for i in range(4)], threads=4, unit="blocks", label="tiny train_models")
    assert found == [(i, 1) for i in range(4)]
    assert run_tasks([], threads=4, unit="blocks", label="tiny") == []
    assert "tiny train_models: 100%" in capsys.readouterr().err


def test_the_first_failure_stops_the_others() -> None:
    started: list[int] = []

    def task(number: int) -> None:
        started.append(number)
        if number == 1:
            raise ZeroDivisionError
        time.sleep(0.005)  # time for the caller to cancel the others

    with pytest.raises(ZeroDivisionError):
        run_tasks([partial(task, i) for i in range(300)], threads=1, unit="blocks", label="tiny")
    assert started[:2] == [0, 1] and len(started) < 300


def test_tasks_run_at_the_same_time() -> None:
    barrier = threading.Barrier(3, timeout=10)  # breaks unless three tasks wait at once
    assert sorted(run_tasks([barrier.wait] * 3, threads=3, unit="blocks", label="tiny")) == [0, 1, 2]
