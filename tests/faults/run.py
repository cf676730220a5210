"""Inject faults into the real commands, in copies of the repository, and report what was done and what went wrong."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.faults import clusters, concurrency, damage, disks, divergence, invalidation, kills, make_themes, memory
from tests.faults.sandbox import Row, Sandbox, Tables, copy_finished
from tests.project import ROOT

Task = Callable[[], list[Row]]


@dataclass(frozen=True)
class Plan:
    """How often each fault is injected.

    Attributes:
        kills: Number of kills by study; most other faults are injected into the first study.
        twice: How often two makes run at once.
        limits: Limits on file sizes, in bytes.
        rounds: Rounds of damage.
        changes: Changes of settings.
        early: Invalid rows.
        clusters: Kills of a worker, a driver and a scheduler each, in every series on a cluster.
        all_themes: Whether to run the themes that `make test` omits.
    """

    kills: dict[str, int]
    twice: int
    limits: tuple[int, ...]
    rounds: int
    changes: int
    early: int
    clusters: tuple[int, ...]
    all_themes: bool


FULL = Plan({"digits_poison": 6, "swiss_data_x5": 4}, 1, (512, 20480), 2, 5, 8, (4, 3), all_themes=True)
SHORT = Plan({"digits_poison": 2}, 0, (8192,), 1, 0, 1, (), all_themes=False)


@dataclass(frozen=True)
class Undisturbed:
    """A sandbox with undisturbed results.

    Attributes:
        folder: Where the other sandboxes go.
        sandbox: The undisturbed one.
        tables: Its tables by study.
        seconds: How long each study took.
    """

    folder: Path
    sandbox: Sandbox
    tables: dict[str, Tables]
    seconds: dict[str, float]

    def copy(self, name: str) -> Sandbox:
        """Copy the undisturbed sandbox with its results."""
        return copy_finished(self.sandbox, self.folder / name)


def undisturbed(studies: list[str], folder: Path, pool: ThreadPoolExecutor) -> Undisturbed:
    """Run every study once, at the same time, for the tables to compare with."""
    sandbox = Sandbox(folder / "undisturbed")

    def run(study: str) -> float:
        started = time.perf_counter()
        done = sandbox.make(study, THREADS="1")
        rows = {name: text.count(b"\n") - 1 for name, text in sandbox.tables(study).items()}
        if done.code or len(rows) < 2 or min(rows.values()) < 1:
            sys.exit(f"error: Expected `make {study} SCALE=quick` to make two tables, got {rows} and:\n{done.text}")
        return time.perf_counter() - started

    seconds = dict(zip(studies, pool.map(run, studies), strict=True))
    return Undisturbed(folder, sandbox, {study: sandbox.tables(study) for study in studies}, seconds)


def one(call: Callable[..., Row], *given: object) -> Task:
    """Return a task of one row."""
    return lambda: [call(*given)]


def tasks(plan: Plan, known: Undisturbed) -> dict[str, list[Task]]:
    """Return the tasks by theme, the longest first."""
    study, folder = next(iter(plan.kills)), known.folder
    expected = known.tables[study]
    found: dict[str, list[Task]] = {
        "killed": [
            partial(kills.rows, name, known.tables[name], known.seconds[name], count, folder)
            for name, count in plan.kills.items()
        ],
        "disk": [one(disks.small_files, study, expected, plan.limits, folder)],
        "damage": [lambda: [damage.recomputed(known.copy("damaged"), study, expected, plan.rounds)]],
        "settings": [partial(invalidation.rows, known.copy, study, plan.changes)],
        "numbers": [one(divergence.early, folder, plan.early)],
        "stored": [partial(stored, plan)],
    }
    if plan.all_themes:
        found["at once"] = [
            one(concurrency.together, known.tables, folder),
            one(concurrency.twice, study, expected, plan.twice, folder),
        ]
        found["disk"] += [one(disks.full, study, expected, 60, folder), one(disks.locked, study, expected, folder)]
        found["damage"] += [
            lambda: [damage.refused(known.copy("refused"), study, expected)],
            lambda: [damage.data_sets(known.copy("data"))],
        ]
        found["numbers"] += [
            one(call, folder)
            for call in (
                divergence.no_repeats, divergence.diverging, divergence.all_diverge, divergence.missing_classes,
            )
        ]  # fmt: skip
        # The short form is a test of its own.
        found["cluster"] = [
            one(clusters.kills, folder / f"cluster_{seed}", number * clusters.PARTS, clusters.MOMENTS, seed)
            for seed, number in enumerate(plan.clusters)
        ]
        found["memory"] = [
            one(memory.too_little, folder),
            lambda: [memory.smaller_batches(known.copy("batches"), study, expected)],
        ]
    for theme, more in make_themes.tasks(known, short=not plan.all_themes).items():
        found.setdefault(theme, []).extend(more)
    return found


def stored(plan: Plan) -> list[Row]:
    """Inject the faults of stored files in a process of its own, whose results folder is another one."""
    command = [sys.executable, "-m", "tests.faults.stored", *([] if plan.all_themes else ["--short"])]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    rows = [Row(**json.loads(line)) for line in done.stdout.splitlines()]
    if done.returncode:
        rows.append(Row("stored", "the faults of stored files were injected", 1, 1, done.stderr.strip()[-300:]))
    return rows


def timed(task: Task) -> tuple[list[Row], float]:
    """Run a task; return its rows and the seconds that it took. A task that fails has lost something."""
    started = time.perf_counter()
    try:
        rows = task()
    except Exception as error:  # the other tasks go on, and the report names this one
        where = traceback.extract_tb(error.__traceback__)[-1]
        rows = [
            Row("not injected", f"{where.name}, line {where.lineno} of {Path(where.filename).name}", 1, 1, repr(error))
        ]
    return rows, time.perf_counter() - started


def report(rows: list[Row], seconds: float) -> Table:
    """Return the report as a table to print."""
    faults, kinds = sum(row.times for row in rows), sum(row.times > 0 for row in rows)
    title = f"{faults} faults of {kinds} kinds in {seconds:.0f} s, lost: {sum(row.lost for row in rows)}"
    table = Table(title=title)
    table.add_column("theme")
    table.add_column("what was done", ratio=3)
    table.add_column("faults", justify="right")
    table.add_column("lost", justify="right")
    table.add_column("what was observed", ratio=2)
    for row in rows:
        table.add_row(row.theme, row.what, str(row.times), str(row.lost), row.note)
    return table


def main() -> None:
    """Run the themes, two at a time, and exit with 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="a few of each theme, as `make test` does")
    parser.add_argument("--only", nargs="+", metavar="THEME", help="killed, at once, disk, damage, settings, …")
    given = parser.parse_args()
    plan, started, rows = SHORT if given.short else FULL, time.perf_counter(), list[Row]()
    with (
        tempfile.TemporaryDirectory(prefix="torture_") as folder,
        # One more than runs at a time, because many wait.
        ThreadPoolExecutor(1 + min(2, os.cpu_count() or 1)) as pool,
    ):
        known = undisturbed(list(plan.kills), Path(folder), pool)
        chosen = [
            pool.submit(timed, task)
            for theme, each in tasks(plan, known).items() if theme in (given.only or [theme])
            for task in each
        ]  # fmt: skip
        for future in as_completed(chosen):
            found, taken = future.result()
            for row in found:
                print(
                    f"{time.perf_counter() - started:4.0f} s  {row.theme}: {row.what}: lost {row.lost} ({taken:.0f} s)",
                    flush=True,
                )
            rows += found
    rows.sort(key=lambda row: row.theme)
    Console(width=150).print(report(rows, time.perf_counter() - started))
    sys.exit(1 if any(row.lost for row in rows) or not rows else 0)


if __name__ == "__main__":
    main()
