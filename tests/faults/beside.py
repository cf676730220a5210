"""Commands beside the chain of a study, killed at spread moments: run again, they end with the same tables."""

import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from minima_volume.storage import layout
from tests.faults.sandbox import Row, Sandbox, wait_for

TABLES = {
    "local": (layout.LOCAL_VOLUMES, layout.LOCAL_FOLDER),
    "sharpness": (layout.SHARPNESS, layout.SHARPNESS_FOLDER),
}
FEW = {"LEVELS": "1", "DIRECTIONS": "5"}


def _forget(study: Path, table: str, folder: str) -> None:
    """Remove a table with what it is made from."""
    for path in (study / table, (study / table).with_suffix(".json")):
        path.unlink(missing_ok=True)
    shutil.rmtree(study / "repeat_0" / folder, ignore_errors=True)


def killed(sandbox: Sandbox, study: str, moments: Sequence[float]) -> list[Row]:
    """Kill the commands that measure the stored minima of a study, at fractions of the time that they take."""
    rows = list[Row]()
    sandbox.make(study, THREADS="1", **FEW)
    for target, (name, folder) in TABLES.items():
        table, started = sandbox.study(study) / name, time.monotonic()
        lost = sandbox.make(f"{study}.{target}", THREADS="1", **FEW).code
        seconds, hits = time.monotonic() - started, 0
        expected = table.read_bytes() if table.exists() else b""
        for moment in moments:
            _forget(sandbox.study(study), name, folder)
            process = sandbox.start(f"{study}.{target}", THREADS="1", **FEW)
            time.sleep(moment * seconds)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                hits += 1
            wait_for(process)
            damaged = sandbox.damaged(study)
            done = sandbox.make(f"{study}.{target}", THREADS="1", **FEW)
            lost += bool(damaged or done.code or not expected or table.read_bytes() != expected)
        rows.append(Row("killed", f"make {study}.{target} killed, then run to its end", hits, lost))
    return rows
