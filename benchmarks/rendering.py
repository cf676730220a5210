"""Frames per second of films, compared with blank frames of the same size plus the drawing itself."""

import json
import os
import subprocess
import sys
from typing import Any

FRAMES = {"draft": 150, "final": 150}  # by quality; a draft film has 130 to 160 frames, a final one three times as many
LIMIT = 2.0
PHASES = {
    "starting processes and drawing the first frame": "start",
    "handing frames to ffmpeg": "feeding",
    "waiting for frames that are being drawn": "waiting",
    "ffmpeg finishing the film": "finishing",
    "GIF from the film": "GIF",
}
TEXT = """One process per core draws frames, and all frames are streamed into one ffmpeg. *Drawing* is the time for
the same frames in one process that writes nothing. *Blank* is the time for as many empty frames of the same size
through the same encoder, film and GIF. A film takes longer than their sum, because drawing processes have to start,
which `make videos` does once for all films, and because real pictures take longer to encode than blank ones. The
target is at most {limit:g}×. The last columns are the profile of the process that feeds ffmpeg, in shares of the
film's time."""


def rendering(frames: dict[str, int] | None = None) -> list[dict[str, Any]]:
    """Return a row for each film of `videos/speed.py` at each quality, with `frames` frames."""
    return [row for name, count in (frames or FRAMES).items() for row in _measured(name, count)]


def _measured(quality: str, frames: int) -> list[dict[str, Any]]:
    # A new process, because drawing processes import the script that starts them, and this one imports torch.
    """Return the rows of one quality."""
    command = [sys.executable, "-m", "videos.speed", "--frames", str(frames), "--quality", quality, "--json"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    rows: list[dict[str, Any]] = json.loads(found.stdout)
    return rows


def lines(rows: list[dict[str, Any]]) -> list[str]:
    """Return the section of benchmarks/README.md."""
    return [
        "## Rendering",
        "",
        TEXT.format(limit=LIMIT),
        "",
        "| film | frames/s | film (s) | drawing (s) | blank (s) | film to drawing + blank | "
        + " | ".join(PHASES.values()) + " |",
        "|---" * (6 + len(PHASES)) + "|",
        *map(_line, rows),
    ]  # fmt: skip


def _line(row: dict[str, Any]) -> str:
    """Return the row of one film. A ratio over the target is marked."""
    whole = sum(row["phases"].values())
    ratio = whole / (row["blank"] + row["drawing"])
    shares = " | ".join(f"{row['phases'].get(name, 0.0) / whole:.0%}" for name in PHASES)
    marked = f"{ratio:.2f}×" if ratio <= LIMIT else f"**{ratio:.2f}×**, over the target"
    return (
        f"| {row['name']}, {row['n_frames']} frames, {row['processes']} processes | {row['n_frames'] / whole:.1f} | "
        f"{whole:.1f} | {row['drawing']:.1f} | {row['blank']:.1f} | {marked} | {shares} |"
    )
