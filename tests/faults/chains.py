"""The chain of stages of one study: two makes with other settings, settings under older times, and killed parents."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from minima_volume.pipeline import provenance
from minima_volume.storage import archives, tables
from tests.faults.sandbox import CONFIGS, Row, Sandbox, Tables, wait_for

WAITS = "Another process works in"


def directions(sandbox: Sandbox, study: str) -> set[str]:
    """Return the numbers of directions in a study's table; nothing if there is none that can be read."""
    path = sandbox.study(study) / "volumes.csv"
    return {row["n_directions"] for row in tables.read_table(path, ("n_directions",))} if path.exists() else set()


def other_directions(study: str, pairs: Sequence[tuple[int, int]], folder: Path) -> Row:
    """Run two makes of a study with other numbers of directions at once: both succeed, and no table is lost."""
    lost = []
    for first, second in pairs:
        sandbox = Sandbox(folder / f"other_directions_{first}_{second}")
        running = [sandbox.start(study, THREADS="1", DIRECTIONS=str(number)) for number in (first, second)]
        ends = [wait_for(process) for process in running]
        whole = directions(sandbox, study) in ({str(first)}, {str(second)}) and not sandbox.damaged(study)
        if not (all(end.code == 0 for end in ends) and whole and any(WAITS in end.text for end in ends)):
            lost.append(f"{first} and {second}: {[end.code for end in ends]}, table of {directions(sandbox, study)}")
    return Row("at once", f"two makes of {study} with other DIRECTIONS", len(pairs), len(lost), "; ".join(lost))


def older_settings(sandbox: Sandbox, study: str, expected: Tables) -> Row:
    """Change a setting under an older time, and back: what depends on it is made again both times."""
    config, lost = sandbox.folder / CONFIGS[study] / "config.py", 0
    before, when = config.read_text(), config.stat().st_mtime
    sandbox.row(study, n_directions="30")
    os.utime(config, (when - 1e6, when - 1e6))
    lost += sandbox.make(study, THREADS="1").code != 0 or directions(sandbox, study) != {"30"}
    config.write_text(before)
    os.utime(config, (when - 1e6, when - 1e6))
    lost += sandbox.make(study, THREADS="1").code != 0 or sandbox.tables(study) != expected
    return Row("settings", "another setting under an older time, and back", 2, int(lost))


def lost_minimum(sandbox: Sandbox, study: str, expected: Tables) -> Row:
    """Delete or change a minimum whose header is there, with the tables: two makes at most make all of it again."""
    lost, stored = 0, sandbox.study(study) / "repeat_0" / "minima" / "level_0.safetensors"
    for damage in (stored.unlink, lambda: stored.write_bytes(stored.read_bytes()[:-1] + b"x")):
        damage()
        for table in (sandbox.study(study) / "volumes.csv", sandbox.study(study) / "repeat_0" / "volumes.csv"):
            table.unlink()
        first = sandbox.make(study, THREADS="1")
        done = sandbox.make(study, THREADS="1")
        told = first.code == 0 or first.refused("run train_models.py first, or the same make target again")
        lost += not told or done.code != 0 or sandbox.tables(study) != expected
    return Row("damage", "a minimum lost or changed, whose header is there", 2, lost)


def future_results(sandbox: Sandbox, study: str, expected: Tables) -> Row:
    """Give results times in the future: one run mends them, the next one does nothing."""
    lost, later = 0, time.time() + 1e7
    for name in ("repeat_0/minima.json", "volumes.csv", ".asked"):
        os.utime(sandbox.study(study) / name, (later, later))
        first, second = (sandbox.make(study, THREADS="1") for _ in range(2))
        late = [path for path in sandbox.study(study).rglob("*") if path.stat().st_mtime > time.time() + 60]
        idle = second.text.strip().count("\n") == 0 and "is up to date" in second.text
        lost += first.code != 0 or second.code != 0 or not idle or bool(late) or sandbox.tables(study) != expected
    return Row("settings", "results from the future: mended in one run", 3, lost)


def stale_pictures(sandbox: Sandbox, study: str) -> Row:
    """Copy results of other settings under a picture that looks newer, or is from the future: it is drawn again."""
    place, kept, lost = sandbox.folder / "figs" / "quick", sandbox.folder / "kept", []
    names = [f"{study}.pdf", f"{study}.png"]
    before = {name: (place / name).read_bytes() for name in names}
    sandbox.make(study, THREADS="1", DIRECTIONS="30")
    after = {name: (place / name).read_bytes() for name in names}
    shutil.copytree(sandbox.study(study), kept)
    for target in (study, "figs"):
        for seconds in (0, 1e7):
            shutil.rmtree(sandbox.study(study))
            shutil.copytree(kept, sandbox.study(study))  # with the file times
            for name in names:
                (place / name).write_bytes(before[name])
                # Newer than any file time of the results, but older than their arrival.
                drawn = (kept / "volumes.csv").stat().st_mtime + 0.001
                os.utime(place / name, (drawn, time.time() + seconds if seconds else drawn))
            done = sandbox.make(target, THREADS="1", DIRECTIONS="30")
            if done.code or {name: (place / name).read_bytes() for name in names} != after:
                lost.append(f"make {target}, {'from the future' if seconds else 'copied results'}")
    what = "pictures from the future, or newer than copied results"
    return Row("settings", what, 4, len(lost) + (before == after), "; ".join(lost))


def killed_make(study: str, expected: Tables, seconds: float, moments: Sequence[float], folder: Path) -> Row:
    """Kill only the make that a user started: all that it started ends, and the same command finishes the study."""
    hits, lost = 0, []
    for moment in moments:
        sandbox = Sandbox(folder / f"killed_make_{moment}")
        process = sandbox.start(study, THREADS="1")
        time.sleep(moment * seconds)
        if process.poll() is not None:
            continue
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        hits += 1
        left = still_running(process.pid, 3.0)
        done = sandbox.make(study, THREADS="1")
        if left or done.code != 0 or sandbox.tables(study) != expected:
            lost.append(f"{moment:g}: {len(left)} left, code {done.code}")
        end(left)
    return Row("orphans", "kill -9 of only the first make: its stages end", hits, len(lost), "; ".join(lost))


def still_running(session: int, within: float) -> list[int]:
    """Return the processes of a session that still run after some seconds."""
    stop = time.monotonic() + within
    while (left := in_session(session)) and time.monotonic() < stop:
        time.sleep(0.1)
    return left


def end(processes: Sequence[int]) -> None:
    """Kill processes, of which some may have ended."""
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def in_session(session: int) -> list[int]:
    """Return the processes of a session that have not ended."""
    done = subprocess.run(["ps", "-eo", "pid=,sess=,stat="], capture_output=True, text=True, check=True)
    rows = (line.split() for line in done.stdout.splitlines())
    return [int(pid) for pid, sess, state in rows if int(sess) == session and not state.startswith("Z")]


def own_package(sandbox: Sandbox, study: str) -> Row:
    """Change the package of a copy: the copy's package runs, and run.json has its checksum."""
    with (sandbox.folder / "minima_volume" / "pipeline" / "volume_estimation.py").open("a") as module:
        module.write("\nprint('the package of the copy')\n")
    sandbox.touch()
    done = sandbox.make(study, THREADS="1")
    record = archives.read_json(sandbox.study(study) / "run.json")
    wanted = provenance.package_checksum(sandbox.folder / "minima_volume")
    lost = done.code != 0 or "the package of the copy" not in done.text or record.get("package") != wanted
    return Row("set-up", "a changed package in a copied folder: it runs, and run.json names it", 1, int(lost))


def stopped(study: str, expected: Tables, seconds: float, moments: Sequence[float], folder: Path) -> Row:
    """Stop all processes of a study at some moments, while another make asks for it, and let them go on."""
    hits, lost = 0, []
    for moment in moments:
        sandbox = Sandbox(folder / f"stopped_{moment}")
        process = sandbox.start(study, THREADS="1")
        time.sleep(moment * seconds)
        if process.poll() is not None:
            continue
        os.killpg(process.pid, signal.SIGSTOP)
        hits += 1
        other = sandbox.start(study, THREADS="1")
        time.sleep(3)
        waits = other.poll() is None
        os.killpg(process.pid, signal.SIGCONT)
        ends = [wait_for(each) for each in (process, other)]
        if not waits or any(end.code for end in ends) or sandbox.tables(study) != expected or sandbox.damaged(study):
            lost.append(f"{moment:g}: {[end.code for end in ends]}")
    return Row("at once", f"SIGSTOP in {study}, another make waits, SIGCONT", hits, len(lost), "; ".join(lost))


EIGHT = (
    "digits_poison", "digits_data", "modulo_data", "modulo_grokking", "swiss_data_x5", "swiss_data_x6", "swiss_poison_x5",
    "swiss_poison_x6",
)  # fmt: skip


def eight(expected: dict[str, Tables], folder: Path) -> Row:
    """Run eight studies in eight terminals at once; those whose tables are known have the same ones."""
    sandbox = Sandbox(folder / "eight")
    few = {"THREADS": "1", "DIRECTIONS": "25", "LEVELS": "1"}
    running = {study: sandbox.start(study, **few) for study in EIGHT if study not in expected}
    running |= {study: sandbox.start(study, THREADS="1") for study in expected}
    ends = {study: wait_for(process) for study, process in running.items()}
    lost = [
        study
        for study, end_ in ends.items()
        if end_.code or not sandbox.tables(study) or sandbox.damaged(study)
        or sandbox.tables(study) != expected.get(study, sandbox.tables(study))
    ]  # fmt: skip
    return Row("at once", "eight studies in eight terminals", len(ends), len(lost), ", ".join(lost))
