"""Runs of make in a copy of the sources whose Python is a stub that logs what it would run."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.project import ROOT, copy_sources, mark_ready

SETTINGS = (
    "SCALE", "DATA_DIR", "REPEATS", "DIRECTIONS", "LEVELS", "THREADS", "MEMORY", "DEVICE", "PYTHON", "PYTHONPATH",
)  # fmt: skip
MAKES_OWN = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "GNUMAKEFLAGS")

# A substitute for .venv/bin/python: it logs its command line and touches what the stage would write.
STUB = """#!/usr/bin/env bash
set -eu
[[ "$2" != minima_volume.pipeline.chain ]] || exec PYTHON "$@"
echo "$*" >> calls.log
[[ "$(basename "$1")" != "${FAILING:-}" ]] || { mkdir -p "$HALF"; touch "$HALF/rays.json"; exit 3; }
case "$(basename "$1")" in
  train_models.py) out=minima.json;; random_perturbs.py) out=rays.json;;
  volume_cutoff.py) out=cutoffs.csv;; volume_estimation.py) out=volumes.csv;; *) exit 0;;
esac
study=$2 scale=$4; shift 5
for i in "$@"; do
  if [[ "$i" == --gather ]]; then touch "results/$scale/$study/$out"; exit; fi
done
for i in "$@"; do mkdir -p "results/$scale/$study/repeat_$i"; touch "results/$scale/$study/repeat_$i/$out"; done
"""


def make(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make as from a fresh shell, even if make started the tests."""
    clean = {name: value for name, value in os.environ.items() if name not in (*SETTINGS, *MAKES_OWN)}
    return subprocess.run(
        ["make", *arguments], cwd=cwd, env=clean | environment, capture_output=True, text=True, timeout=60
    )


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that a failed make printed, without make's own additions."""
    lines = [
        line for line in done.stderr.splitlines() if not re.fullmatch(r"make(\[\d+\])?: \*\*\* \[.*\] Error \d+", line)
    ]
    assert done.returncode != 0 and done.stdout == "" and len(lines) == 1, (done.returncode, done.stdout, done.stderr)
    return re.sub(r"^Makefile:\d+: \*\*\* (.*?)\.?  Stop\.$", r"\1", lines[0])


def stub_project(folder: Path) -> Path:
    """Copy the Makefile and its sources, with an environment whose Python is the stub."""
    copy_sources(folder)
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(STUB.replace("PYTHON", sys.executable))
    python.chmod(0o755)
    mark_ready(folder)
    return folder


def calls(project: Path) -> list[str]:
    """Return the command lines of the stub since the last call of this function."""
    log = project / "calls.log"
    found = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return found


def table(study: str) -> str:
    """Return the path of a study's table, a target of make."""
    return f"results/quick/{study}/volumes.csv"
