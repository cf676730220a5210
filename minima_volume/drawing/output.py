"""Output paths of figures and their common command line."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from minima_volume.drawing import style
from minima_volume.errors import ResultsError
from minima_volume.storage import layout
from minima_volume.text import prepare_streams

Draw = Callable[[str, str], list[Path]]  # (study, scale) -> files written, none if the study has no such figure

ROOT = Path("figs")


def figure_path(scale: str, study: str, figure: str = "") -> Path:
    """Return the path of a figure without its suffix, in the chosen style. A study's main figure has an empty name."""
    folder, chosen = ROOT / scale, style.chosen()
    return (folder if chosen == "paper" else folder / chosen) / (f"{study}_{figure}" if figure else study)


def main(draw: Draw, description: str | None) -> None:
    """Draw one figure from the command line.

    Args:
        draw: The module's drawing function.
        description: The module's docstring, shown by `--help` and if the study has no such figure.
    """
    prepare_streams()
    name = getattr(sys.modules["__main__"].__spec__, "name", None)
    parser = argparse.ArgumentParser(prog=f"python -m {name}" if name else None, description=description)
    parser.add_argument("study", help="name of a study, as in `make help`")
    parser.add_argument("--scale", default="paper", choices=("quick", "paper"))
    given = parser.parse_args()
    try:
        written = draw(given.study, given.scale)
    except ResultsError as error:
        sys.exit(f"error: {error}")
    for path in written:
        print(layout.display_path(path))
    if not written:
        sys.exit(
            f"error: {given.study} at scale {given.scale} has nothing that this figure shows: choose another. {description}"
        )
