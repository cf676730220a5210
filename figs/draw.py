"""Every figure whose results exist, and the commands that would make the others."""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import fixed_landscape
import tables

from minima_volume.errors import ResultsError

# Each takes a study and a scale and returns the files it wrote, none where the study has no such figure.
FIGURES: tuple[Callable[[str, str], list[Path]], ...] = (fixed_landscape.draw,)


def main(names: Iterable[str], scale: str) -> None:
    """Draw all figures of a scale; name what was skipped and what makes it."""
    have = set(tables.studies(scale))
    for study in sorted(have):
        for draw in FIGURES:
            try:
                written = draw(study, scale)
            except ResultsError as error:
                print(f"skipped {study}: {error}")
                continue
            print(*(f"drew {path.relative_to(Path(__file__).parent.parent)}" for path in written), sep="\n")
    for study in names:
        if study not in have:
            print(
                f"skipped {study}: no {scale} results; `make {study}{' SCALE=quick' * (scale == 'quick')}` makes them"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="*")
    parser.add_argument("--scale", default="paper", choices=("quick", "paper"))
    given = parser.parse_args()
    main(given.studies, given.scale)
