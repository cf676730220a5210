"""What every toy diagram shares: the look of the project's pictures and the option that says where they go."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

_HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(_HERE.parent / "figs"))
import style  # noqa: E402  (a diagram also runs by itself, so the look is found from here)

__all__ = ["render", "style"]


def render(name: str, draw: Callable[[], Figure]) -> None:
    """Draw one diagram and write NAME.pdf and NAME.png into the folder of `--out`."""
    parser = argparse.ArgumentParser(prog=f"{name}.py", description=f"Draw the toy diagram {name}.")
    parser.add_argument("--out", type=Path, default=_HERE / "out", metavar="DIR", help="folder of the picture")
    folder: Path = parser.parse_args().out
    style.use()
    for path in style.save(draw(), folder / name):
        print(path)
