"""`make new_experiment` that ends at each of its writes: no half folder is left, and the same command works."""

import shutil
import subprocess
import sys

from tests.faults.sandbox import Row, Sandbox

WRITES = 7  # config.py, studies.mk and five scripts
# Ends the process before its n-th write, and runs the command itself.
PROGRAM = """
import os, pathlib, sys
left, write = int(sys.argv.pop(1)), pathlib.Path.write_text
def stop(*given, **named):
    global left
    left -= 1
    return write(*given, **named) if left >= 0 else os._exit(9)
pathlib.Path.write_text = stop
from minima_volume.pipeline import scaffold
scaffold.main()
"""


def end_at_write(sandbox: Sandbox, write: int) -> int:
    """Run the command until its n-th write, counted from 0; return its exit code."""
    command = [sys.executable, "-c", PROGRAM, str(write), "--name=fresh", "--source=MNIST"]
    return subprocess.run(command, cwd=sandbox.folder, capture_output=True, check=False).returncode


def killed(sandbox: Sandbox) -> Row:
    """End the command at each write, and after the last one."""
    lost, fresh = 0, sandbox.folder / "fresh"
    for write in range(WRITES + 1):
        wrong = end_at_write(sandbox, write) != (9 if write < WRITES else 0) or fresh.exists() != (write == WRITES)
        again = sandbox.make("new_experiment", NAME="fresh", FROM="MNIST")
        wrong |= (
            again.code != 0
            or sandbox.make("-n", "fresh_poison").code != 0
            or bool(list(sandbox.folder.glob(".*.part")))
        )
        lost += wrong
        shutil.rmtree(fresh, ignore_errors=True)
    return Row("new experiment", "ended at every write: nothing half, and the same command works", WRITES + 1, lost)


def ignored(sandbox: Sandbox) -> Row:
    """Ask for names that git ignores, or that another letter case has."""
    names = ("data", "build", "mnist", "Figs")
    lost = [
        name
        for name in names
        if not sandbox.make("new_experiment", NAME=name, FROM="MNIST").refused("choose another name")
    ]
    return Row("new experiment", f"names that git ignores or that are there: {', '.join(names)}", len(names), len(lost))
