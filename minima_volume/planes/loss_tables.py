"""What the commands share that write losses around minima as a table: cells, arguments and errors."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from minima_volume.errors import UserError
from minima_volume.pipeline.settings import SCALES
from minima_volume.text import prepare_streams

DIGITS = 5  # significant digits of a loss in the tables: more than a picture shows


def cell(loss: float) -> str:
    """Return a loss as tables have it, and nothing if it is not finite."""
    return f"{loss:.{DIGITS}g}" if np.isfinite(loss) else ""


def main(write: Callable[[str, str], Path], studies: Sequence[str], program: str, about: str | None) -> None:
    """Write the table of the study and scale that the command line names, and print its path.

    Args:
        write: Writes the table of a study at a scale.
        studies: The studies that have one.
        program: Name of the module that is run.
        about: What it does.
    """
    prepare_streams()
    parser = argparse.ArgumentParser(prog=f"python -m minima_volume.planes.{program}", description=about)
    parser.add_argument("study", choices=studies)
    parser.add_argument("--scale", default="paper", choices=SCALES)
    given = parser.parse_args()
    try:
        print(write(given.study, given.scale))
    except UserError as error:
        sys.exit(f"error: {error}")
