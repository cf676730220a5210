"""Only the main process of a command is killed: its workers end, and the next run leaves no scratch files."""

import os
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.faults.chains import end, in_session, still_running
from tests.faults.sandbox import Row, Sandbox, wait_for

PATIENCE = 60.0  # seconds until a command has started its workers
FEW = "25"  # directions of the study behind the films


def command_line(pid: int) -> str:
    """Return the command line of a process, or nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def workers_of(session: int, module: str) -> tuple[list[int], list[int]]:
    """Return the main processes of a module in a session, and the processes that it has spawned."""
    lines = {pid: command_line(pid) for pid in in_session(session)}
    main = [pid for pid, line in lines.items() if f"-m {module}" in line and "spawn_main" not in line]
    return main, [pid for pid, line in lines.items() if "spawn_main" in line or "ffmpeg" in line]


def killed_figures(sandbox: Sandbox, delays: Sequence[float]) -> Row:
    """Kill only the main process of `make figs` in a sandbox with results."""
    return _killed_main(sandbox, "figs", "figs.draw", delays)


def killed_videos(sandbox: Sandbox, delays: Sequence[float]) -> Row:
    """Kill only the main process of `make videos`."""
    done = sandbox.make("digits_data", THREADS="1", DIRECTIONS=FEW)
    row = _killed_main(sandbox, "videos", "videos.make_all", delays)
    return replace(row, lost=row.lost + (done.code != 0))


def _killed_main(sandbox: Sandbox, target: str, module: str, delays: Sequence[float]) -> Row:
    """Kill the main process of a command some seconds after its workers have started, again and again."""
    if not Path("/proc/self/cmdline").exists():
        return Row("orphans", f"make {target}", 0, 0, "not done: this system does not list processes in /proc")
    hits, lost, scratch = 0, [], sandbox.folder / "tmp"
    scratch.mkdir(exist_ok=True)
    for delay in delays:
        shutil.rmtree(sandbox.folder / target / "quick", ignore_errors=True)
        process = sandbox.start(target, THREADS="2", DIRECTIONS=FEW, TMPDIR=str(scratch))
        stop, main, workers = time.monotonic() + PATIENCE, list[int](), list[int]()
        while process.poll() is None and not (main and workers) and time.monotonic() < stop:
            main, workers = workers_of(process.pid, module)
            time.sleep(0.02)
        time.sleep(delay)
        if not (main and workers) or process.poll() is not None:
            wait_for(process)
            continue
        hits += 1
        os.kill(main[0], signal.SIGKILL)
        if left := still_running(process.pid, 3.0):
            lost.append(f"{len(left)} left after {delay:g} s")
            end(left)
        wait_for(process)
    done = sandbox.make(target, THREADS="2", DIRECTIONS=FEW, TMPDIR=str(scratch))
    # One folder for each user is torch's own.
    temporary = [path.name for path in scratch.iterdir() if not path.name.startswith("torchinductor_")]
    found = [path.name for path in sandbox.folder.rglob("*.part")] + temporary
    if done.code or found:
        lost.append(f"code {done.code}, scratch {', '.join(found[:3])}")
    return Row("orphans", f"kill -9 of only the main process of make {target}", hits, len(lost), "; ".join(lost))
