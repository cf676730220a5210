"""What every toy diagram shares: the look of the project's pictures and the option that says where they go."""

import argparse
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from minima_volume.drawing import style

_HERE = Path(__file__).resolve().parent


def render(name: str, draw: Callable[[], Figure]) -> None:
    """Draw one diagram and write NAME.pdf and NAME.png into the folder of `--out`."""
    parser = argparse.ArgumentParser(prog=f"{name}.py", description=f"Draw the toy diagram {name}.")
    parser.add_argument("--out", type=Path, default=_HERE / "out", metavar="DIR", help="folder of the picture")
    folder: Path = parser.parse_args().out
    style.use()
    for path in style.save(draw(), folder / name):
        print(path)
