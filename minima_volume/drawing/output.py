"""Where figures go, and the command line that they share."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from minima_volume.errors import ResultsError
from minima_volume.storage import layout

Draw = Callable[[str, str], list[Path]]  # (study, scale) -> files written, none where the study has no such figure

ROOT = Path(os.environ.get("FIGS_DIR", "figs"))


def figure_path(scale: str, study: str, figure: str = "") -> Path:
    """Where a figure goes, without suffix; a study's main figure has no name of its own."""
    return ROOT / scale / (f"{study}_{figure}" if figure else study)


def main(draw: Draw, description: str | None) -> None:
    """Draw from the command line; a table that cannot be drawn gives one sentence and exit code 1."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("study")
    parser.add_argument("--scale", default="paper", choices=("quick", "paper"))
    given = parser.parse_args()
    try:
        written = draw(given.study, given.scale)
    except ResultsError as error:
        sys.exit(f"error: {error}")
    for path in written:
        print(layout.display_path(path))
    if not written:
        sys.exit(f"error: {given.study} at scale {given.scale} has nothing that this figure could show: {description}")
