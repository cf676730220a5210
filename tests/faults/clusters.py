"""A study on a cluster whose worker, driver or scheduler is killed: it ends as if it had not been, and nothing is left.

Usage: `python -m tests.faults.clusters FOLDER [CLUSTER=ADDRESS]` runs all stages, on threads or as the driver of a cluster.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.faults.chains import end, in_session, still_running
from tests.faults.orphans import command_line
from tests.faults.sandbox import FOREIGN, Row, wait_for
from tests.faults.stages import Results
from tests.project import ROOT

NOTHING: Mapping[str, str] = {}
WITHIN = 10.0  # seconds after which nothing may be left
PARTS = ("worker", "driver", "scheduler")
MOMENTS = 0.0, 6.0  # seconds after it has started between which something is killed
PATIENCE = 60.0  # seconds until it has started


def start(folder: Path, settings: Mapping[str, str] = NOTHING) -> subprocess.Popen[str]:
    """Start all stages of the study on a cluster, by default two workers here, as the leader of a process group."""
    clean = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    own = {"PYTHONPATH": str(ROOT), "CLUSTER": "local", "THREADS": "2", "MAKELEVEL": "1"}
    environment = clean | own | dict(settings)
    inner = [sys.executable, "-m", "tests.faults.clusters", str(folder)]
    return subprocess.Popen(
        [sys.executable, "-m", "minima_volume.pipeline.cluster", *inner], cwd=ROOT, env=environment, text=True,
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def processes(session: int) -> dict[str, list[int]]:
    """Return the processes of a running cluster by what they are."""
    lines = {pid: command_line(pid) for pid in in_session(session)}
    return {
        "worker": [pid for pid, line in lines.items() if "spawn_main" in line],
        "driver": [pid for pid, line in lines.items() if "tests.faults.clusters" in line and pid != session],
        "scheduler": [session],
    }


def kill(process: subprocess.Popen[str], part: str, after: float, rng: random.Random) -> bool:
    """Kill one process of a cluster some seconds after it and workers are there; return whether it still was."""
    stop = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < stop:
        there = processes(process.pid)
        if there[part] and there["worker"]:
            break
        time.sleep(0.05)
    time.sleep(after)
    found = processes(process.pid)[part] if process.poll() is None else []
    if found:
        os.kill(rng.choice(found), signal.SIGKILL)
    return bool(found)


def series(
    known: Results, parts: Sequence[str], seconds: Callable[[], float], seed: int, finish: Callable[[Results], int]
) -> Row:
    """Kill a part of the cluster again and again; whenever a run reaches its end, compare its tables and start anew.

    Args:
        known: The undisturbed study.
        parts: What to kill, one after another.
        seconds: When to kill it, in seconds after it has started.
        seed: Of the choice among workers.
        finish: Runs the study to its end; returns the exit code.
    """
    hits, lost, rng, results = Counter[str](), [], random.Random(seed), Results(known.folder.parent / "on_a_cluster")
    for part in parts:
        process = start(results.folder)
        before = results.stored()
        hit = kill(process, part, seconds(), rng)
        hits[part] += hit
        # A run that lost a worker goes on; the others end.
        done = wait_for(process) if not hit or part == "worker" else None
        if left := still_running(process.pid, WITHIN):
            lost.append(f"{part}: {len(left)} left")
            end(left)
        if done is None:
            wait_for(process)
        after = results.stored()
        redone = sum(after.get(name) != changed for name, changed in before.items())
        if redone or results.damaged():
            lost.append(f"{part}: {redone} files made twice, {len(results.damaged())} damaged")
        if done is not None and (done.code != 0 or results.tables() != known.tables()):
            lost.append(f"{part}: code {done.code}, {done.text[-200:]}")
        if done is not None:
            results = Results(results.folder.with_name(f"{results.folder.name}_again"))
    code = finish(results)
    if code or results.tables() != known.tables():
        lost.append(f"the end: code {code}")
    said = ", ".join(f"{part} {times}" for part, times in sorted(hits.items()))
    return Row("cluster", f"kill -9 on a cluster at a random moment ({said})", hits.total(), len(lost), "; ".join(lost))


def on_threads(results: Results) -> int:
    """Run all stages without a cluster; return the exit code."""
    clean = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    command = [sys.executable, "-m", "tests.faults.clusters", str(results.folder)]
    own = {"PYTHONPATH": str(ROOT), "THREADS": "2"}
    return subprocess.run(command, cwd=ROOT, env=clean | own, capture_output=True, check=False).returncode


def kills(folder: Path, parts: Sequence[str], seconds: tuple[float, float], seed: int) -> Row:
    """Run a study on threads, and on a cluster with kills at random moments.

    Args:
        folder: For its results.
        parts: What to kill, one after another.
        seconds: The first and the last moment after its start.
        seed: Of the moments and of the choice among workers.
    """
    known, rng = Results(folder / "on_threads"), random.Random(seed)
    if on_threads(known) or not known.tables():
        return Row("cluster", "run a study on threads", 1, 1)
    return series(known, parts, lambda: rng.uniform(*seconds), seed, on_threads)


def short(folder: Path) -> Row:
    """Kill the scheduler once, and finish on threads."""
    return kills(folder, PARTS[2:], (6.0, 6.0), 0)


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        for setting in sys.argv[2:]:
            patch.setenv(*setting.split("=", 1))
        run = Results(Path(sys.argv[1])).run()
    print(run.text, flush=True)
    sys.exit(run.code)
