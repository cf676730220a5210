"""A study on workers of two hosts whose network is cut for a minute; the hosts are network namespaces of this machine."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import clusters
from tests.faults.sandbox import FOREIGN, wait_for
from tests.faults.stages import Results
from tests.project import ROOT

pytest.importorskip("distributed")
pytestmark = pytest.mark.slow
HOSTS = {"mv-head": "10.77.0.1", "mv-node": "10.77.0.2"}
CUT = 60.0  # seconds


def ip(*words: str) -> None:
    """Change the network; raises if that is not allowed."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def hosts() -> Iterator[None]:
    """Two hosts with one cable between them."""
    try:
        for host in HOSTS:
            ip("netns", "add", host)
        ip("link", "add", "mv0", "netns", "mv-head", "type", "veth", "peer", "name", "mv0", "netns", "mv-node")
        for host, address in HOSTS.items():
            ip("-n", host, "address", "add", f"{address}/24", "dev", "mv0")
            for device in ("lo", "mv0"):
                ip("-n", host, "link", "set", device, "up")
    except (OSError, subprocess.CalledProcessError) as error:
        for host in HOSTS:
            subprocess.run(["ip", "netns", "delete", host], check=False, capture_output=True)
        pytest.skip(f"this user cannot make network namespaces: {error}")
    yield
    for host in HOSTS:
        ip("netns", "delete", host)


def on(host: str, *command: str) -> subprocess.Popen[str]:
    """Start a command on a host."""
    clean = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    return subprocess.Popen(
        ["ip", "netns", "exec", host, sys.executable, "-m", *command], cwd=ROOT, text=True, start_new_session=True,
        env=clean | {"PYTHONPATH": str(ROOT), "CLUSTER": "tcp://10.77.0.1:8786"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def workers(host: str) -> int:
    """Return how many workers the scheduler has, asked from a host."""
    code = "import json, sys; from distributed import Client; print(len(Client(sys.argv[1], timeout=20).nthreads()))"
    command = ["ip", "netns", "exec", host, sys.executable, "-c", code, "tcp://10.77.0.1:8786"]
    return int(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


@pytest.mark.usefixtures("hosts")
def test_a_network_that_is_cut_for_a_minute_loses_nothing(tmp_path: Path) -> None:
    known = Results(tmp_path / "on_threads")
    assert clusters.on_threads(known) == 0
    dask = "distributed.cli.dask_scheduler", "distributed.cli.dask_worker"
    running = [on("mv-head", dask[0], "--host", "10.77.0.1", "--port", "8786", "--no-dashboard")]
    running += [
        on(host, dask[1], "tcp://10.77.0.1:8786", "--host", address, "--nthreads", "1", "--no-dashboard")
        for host, address in HOSTS.items()
    ]
    try:
        begun = time.monotonic()
        while workers("mv-head") < 2:
            assert time.monotonic() - begun < 60, "both workers connect within a minute"
            time.sleep(1)
        results, start = Results(tmp_path / "on_hosts"), time.monotonic()
        driver = on("mv-head", "tests.faults.clusters", str(results.folder), "CLUSTER=tcp://10.77.0.1:8786")
        while not results.stored() and driver.poll() is None:
            time.sleep(0.1)
        ip("-n", "mv-node", "link", "set", "mv0", "down")
        cut = time.monotonic()
        repair = threading.Timer(CUT, ip, ("-n", "mv-node", "link", "set", "mv0", "up"))
        repair.start()
        done = wait_for(driver)
        took = time.monotonic() - cut
        repair.join()
        time.sleep(5)
        print(done.text, f"cut after {cut - start:.0f} s, ended {took:.0f} s later; workers now: {workers('mv-head')}")
    finally:
        for process in running:
            process.terminate()
            process.communicate()
    assert done.code == 0 and results.tables() == known.tables() and len(known.tables()) == 2
