"""A study through jobs of a real SLURM, one of which is cancelled in the middle."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import slurm
from tests.faults import clusters
from tests.faults.sandbox import wait_for
from tests.faults.stages import Results
from tests.project import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Variables of a SLURM that runs on this machine."""
    (tmp_path / "slurm").mkdir()
    try:
        with slurm.running(tmp_path / "slurm") as found:
            yield found
    except slurm.Missing as missing:
        pytest.skip(str(missing))


def test_a_cancelled_job_is_replaced_and_the_bytes_are_the_same(environment: dict[str, str], tmp_path: Path) -> None:
    known = Results(tmp_path / "on_threads")
    settings = {"CLUSTER": "slurm", "JOBS": "2", "SLURM": "--partition=main --time=0:30:00"}
    assert clusters.on_threads(known) == 0
    process = clusters.start(tmp_path / "jobs", environment | settings)
    jobs: list[str] = []
    stop = time.monotonic() + 300
    results = Results(tmp_path / "jobs")
    # Once a minimum is stored, a worker of a job has computed something.
    while not results.stored() and process.poll() is None and time.monotonic() < stop:
        time.sleep(0.2)
        jobs = slurm.said(environment, "squeue", "--noheader", "--format=%i %T").splitlines()
    running = [line.split()[0] for line in jobs if line.endswith("RUNNING")]
    assert running, jobs
    slurm.said(environment, "scancel", running[0])
    seen = set(running)
    while process.poll() is None and time.monotonic() < stop:
        seen |= {
            line.split()[0] for line in slurm.said(environment, "squeue", "--noheader", "--format=%i").splitlines()
        }
        time.sleep(0.5)
    done = wait_for(process)
    print(done.text, f"jobs: {sorted(seen)}", sys.version, ROOT)
    assert done.code == 0 and results.tables() == known.tables() and len(known.tables()) == 2
    assert len(seen) >= 3, "the cancelled job was replaced"
    stop = time.monotonic() + 30
    while (left := slurm.said(environment, "squeue", "--noheader")) and time.monotonic() < stop:
        time.sleep(0.5)
    assert not left
