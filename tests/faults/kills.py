"""Theme 1: a study that is killed at random moments, by every signal, ends as if it had not been."""

import os
import random
import re
import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from minima_volume.errors import INTERRUPTED
from tests.faults.sandbox import Row, Sandbox, Tables, wait_for

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
# While modules load, Python itself answers Ctrl-C, with a traceback. Once `main` runs, a traceback is a mistake.
IN_MAIN = re.compile(r'pipeline/cli\.py", line \d+, in main\b')


@dataclass
class Tally:
    """What a series of kills found.

    Attributes:
        hits: How often each signal hit a running study.
        interrupted: How often Ctrl-C led to the sentence that says how to continue.
        tracebacks: How often Ctrl-C led to a traceback out of a running stage.
        redone: Intact minima and blocks that were made again.
        damaged: Files that a kill left damaged.
        completed: How often the study was run to its end.
        different: How often its tables differed, or scratch files were left.
    """

    hits: Counter[str] = field(default_factory=Counter)
    interrupted: int = 0
    tracebacks: int = 0
    redone: int = 0
    damaged: int = 0
    completed: int = 0
    different: int = 0


def kill_once(sandbox: Sandbox, study: str, number: signal.Signals, after: float, tally: Tally) -> bool:
    """Start the study and kill its process group after some seconds; return whether it was still running then."""
    before = sandbox.stored(study)
    process = sandbox.start(study, THREADS="1")
    time.sleep(after)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, number)
    done = wait_for(process)
    if alive:
        tally.hits[number.name] += 1
    after_kill = sandbox.stored(study)
    tally.redone += sum(after_kill.get(name) != changed for name, changed in before.items())
    tally.damaged += len(sandbox.damaged(study))
    if alive and number == signal.SIGINT:
        tally.interrupted += INTERRUPTED in done.text
        tally.tracebacks += IN_MAIN.search(done.text) is not None
    return alive


def series(sandbox: Sandbox, study: str, expected: Tables, seconds: float, count: int, seed: int) -> Tally:
    """Kill the study `count` times; whenever a run reaches its end first, compare its tables and start again."""
    rng, tally, left = random.Random(seed), Tally(), count
    while left:
        number = SIGNALS[left % len(SIGNALS)]
        if kill_once(sandbox, study, number, rng.uniform(0, seconds), tally):
            left -= 1
        elif not _complete(sandbox, study, expected, tally):
            return tally
    _complete(sandbox, study, expected, tally)
    return tally


def _complete(sandbox: Sandbox, study: str, expected: Tables, tally: Tally) -> bool:
    """Run the study to its end, compare its tables, and remove its results; return whether they were the same."""
    kept = sandbox.stored(study)
    done = sandbox.make(study, THREADS="1")
    now = sandbox.stored(study)
    tally.redone += sum(now.get(name) != changed for name, changed in kept.items())
    scratch = list(sandbox.study(study).rglob(".*.part"))
    same = done.code == 0 and sandbox.tables(study) == expected and not scratch
    tally.completed += 1
    tally.different += not same
    shutil.rmtree(sandbox.folder / "results", ignore_errors=True)  # a kill may come before there is any
    shutil.rmtree(sandbox.folder / "figs" / "quick", ignore_errors=True)
    return same


def rows(study: str, expected: Tables, seconds: float, count: int, folder: Path) -> list[Row]:
    """Kill one study `count` times, and return the rows of the report."""
    # With this seed both kills of the short form come early; a kill that misses costs a whole run.
    tally = series(Sandbox(folder / f"kills_{study}"), study, expected, seconds, count, seed=count + 1)
    found = {
        "files were damaged": tally.damaged,
        "intact files were made again": tally.redone,
        f"of {tally.completed} finished runs differ": tally.different,
        "times Ctrl-C gave a traceback": tally.tracebacks,
    }
    hits = ", ".join(f"{name} {times}" for name, times in sorted(tally.hits.items()))
    wrong = "; ".join(f"{times} {what}" for what, times in found.items() if times)
    said = wrong or f"{tally.completed} runs to the end; Ctrl-C said how to continue {tally.interrupted} times"
    what = f"{study} killed at random moments ({hits}), then run to its end"
    return [Row("killed", what, tally.hits.total(), sum(found.values()), said)]
