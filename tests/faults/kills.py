"""Theme 1: a study killed at random moments, by every signal, ends as if nothing had happened."""

import os
import random
import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from minima_volume.errors import INTERRUPTED
from tests.faults.sandbox import House, Row, finished

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)


@dataclass
class Tally:
    """What a chain of kills found."""

    hits: Counter[str] = field(default_factory=Counter)
    told: int = 0
    redone: int = 0
    torn: int = 0
    untold: int = 0
    unlike: int = 0
    completed: int = 0


def kill_once(house: House, study: str, number: signal.Signals, after: float, tally: Tally) -> bool:
    """Start the study, kill its process group after some seconds; whether it was still running then."""
    before = house.stored(study)
    process = house.start(study, THREADS="1")
    time.sleep(after)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, number)
    done = finished(process)
    if alive:
        tally.hits[number.name] += 1
    after_kill = house.stored(study)
    tally.redone += sum(after_kill.get(name) != changed for name, changed in before.items())
    tally.torn += len(house.torn(study))
    if alive and number == signal.SIGINT:
        tally.told += INTERRUPTED in done.text
        # Before the package is being loaded nobody is there to speak; from then on a traceback is a mistake.
        tally.untold += done.traceback and "minima_volume" in done.text
    return alive


def chain(house: House, study: str, expected: bytes, seconds: float, count: int, seed: int) -> Tally:
    """`count` kills one after the other; whenever a run comes through, its tables are compared and it starts anew."""
    rng, tally, left = random.Random(seed), Tally(), count
    while left:
        number = SIGNALS[left % len(SIGNALS)]
        if kill_once(house, study, number, rng.uniform(0, seconds), tally):
            left -= 1
        elif not _complete(house, study, expected, tally):
            return tally
    _complete(house, study, expected, tally)
    return tally


def _complete(house: House, study: str, expected: bytes, tally: Tally) -> bool:
    """The same command again, undisturbed: compare the tables, then clear them away."""
    kept = house.stored(study)
    done = house.make(study, THREADS="1")
    now = house.stored(study)
    tally.redone += sum(now.get(name) != changed for name, changed in kept.items())
    same = done.code == 0 and house.table(study) == expected and not list(house.study(study).rglob(".*.part"))
    tally.completed += 1
    tally.unlike += not same
    shutil.rmtree(house.folder / "results")
    shutil.rmtree(house.folder / "figs" / "quick", ignore_errors=True)
    return same


def rows(study: str, expected: bytes, seconds: float, count: int, folder: Path) -> list[Row]:
    """The chain of one study as lines of the table."""
    # With this seed both kills of the short form come early, and a run that a kill misses costs a whole run.
    tally = chain(House(folder / f"kills_{study}"), study, expected, seconds, count, seed=count + 1)
    theme = f"killed: {study}"
    hits = ", ".join(f"{name} {times}" for name, times in sorted(tally.hits.items()))
    interrupts = tally.hits["SIGINT"]
    return [
        Row(theme, f"kill at a random moment ({hits})", tally.hits.total(), tally.torn, "lost counts torn files"),
        Row(
            theme,
            "run it again: whole minima and blocks kept",
            tally.hits.total(),
            tally.redone,
            "lost counts files made twice",
        ),
        Row(theme, "run it to the end: tables compared", tally.completed, tally.unlike, "lost counts other bytes"),
        Row(
            theme,
            "Ctrl-C says how to go on",
            interrupts,
            tally.untold,
            f"said in {tally.told}; the others met no stage at work",
        ),
    ]
