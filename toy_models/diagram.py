"""The common command line of the toy diagrams."""

import argparse
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from minima_volume.drawing import style
from minima_volume.text import prepare_streams

_HERE = Path(__file__).resolve().parent


def render(name: str, draw: Callable[[], Figure]) -> None:
    """Draw a diagram and write NAME.pdf and NAME.png into the folder that `--out` names."""
    prepare_streams()
    parser = argparse.ArgumentParser(prog=f"python -m toy_models.{name}", description=f"Draw the toy diagram {name}.")
    parser.add_argument(
        "--out", type=Path, default=_HERE / "out", metavar="DIR", help="folder of the pictures; default: %(default)s"
    )
    folder: Path = parser.parse_args().out
    style.use()
    for path in style.save(draw(), folder / name):
        print(path)
