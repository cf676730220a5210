"""Draw every figure whose results exist, and name the commands that make the others."""

import argparse
import os
import re
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType

from figs import (
    beyond,
    boundaries,
    claim_matrix,
    cutoffs,
    fixed_landscape,
    forest,
    generalisation,
    grokking,
    local_overview,
    local_volumes,
    methods,
    power_law,
    profiles,
    published,
    radii,
    rank_stability,
    reranking,
    sharpness,
    slices,
    trust,
    varying_landscape,
)
from minima_volume import analysis, drawing
from minima_volume.analysis import claims, tables
from minima_volume.drawing import output
from minima_volume.errors import ResultsError, UserError, WriteError
from minima_volume.pipeline.chain import AHEAD
from minima_volume.pipeline.parent import end_with_make, end_with_parent
from minima_volume.pipeline.settings import threads
from minima_volume.storage import layout
from minima_volume.storage.tables import changed_at
from minima_volume.text import prepare_streams

# Each has draw(study, scale), which returns the files that it wrote, none if the study has no such figure.
FIGURES: tuple[ModuleType, ...] = (
    fixed_landscape, varying_landscape, power_law, generalisation, methods, grokking, radii, cutoffs, rank_stability,
    published, boundaries, slices, profiles, local_volumes, trust,
)  # fmt: skip

# Each has draw(scale), and shows all studies.
OVERVIEWS: tuple[ModuleType, ...] = (claim_matrix, forest, reranking, beyond, local_overview, sharpness)


Skipped = tuple[str, str, str]  # figure, study (empty for a figure of all studies), reason


def main(names: Iterable[str], scale: str, *, only_claims: bool = False) -> None:
    """Draw all figures of a scale that are older than their results, a line for each; then say once what was skipped.

    Args:
        names: Studies to name if they have no results yet.
        scale: `quick` or `paper`.
        only_claims: Whether to draw only what the page of the claims shows.

    Raises:
        WriteError: A picture cannot be written.
    """
    have, skipped = tables.studies(scale), []
    # Spawned, because a forked copy of a process with several threads may hang.
    count, start = max(1, min(threads(), len(have))), partial(end_with_parent, os.getpid())
    with ProcessPoolExecutor(count, get_context("spawn"), start) as pool:
        for drawn, left in pool.map(partial(draw_study, scale=scale, only_claims=only_claims), have):
            _print_lines(drawn)
            skipped += left
    for overview in OVERVIEWS:
        try:
            _print_lines(_drew(overview.draw(scale)))
        except WriteError:
            raise
        except ResultsError as error:
            skipped.append((name_of(overview), "", str(error)))
    quick = " SCALE=quick" * (scale == "quick")
    reason = f"no {scale} results; `make <study>{quick}` makes them"
    _print_lines(summary([*skipped, *(("all figures", study, reason) for study in sorted(set(names) - set(have)))]))


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def draw_study(study: str, scale: str, only_claims: bool = False) -> tuple[list[str], list[Skipped]]:
    """Draw the figures of one study that are out of date; return a line for each, and what was skipped."""
    shown = {claim.figure for claim in claims.CLAIMS}
    lines: list[str] = []
    skipped: list[Skipped] = []
    for figure in FIGURES:
        name = "" if figure is fixed_landscape else name_of(figure)
        path = output.figure_path(scale, study, name)
        if (only_claims and path.name not in shown) or _is_fresh(path, study, scale):
            continue
        try:
            lines += _drew(figure.draw(study, scale))
        except WriteError:
            raise
        except ResultsError as error:
            skipped.append((name_of(figure), study, str(error)))
    return lines, skipped


def summary(skipped: Iterable[Skipped]) -> list[str]:
    """Return one line for each reason, with the figures and the studies that it holds for.

    Reasons that differ by the name of a study or the number of a repeat are one.

    Example:
        >>> summary([("radii", "a", "run `make a`"), ("radii", "b", "run `make b`"), ("trust", "b", "run `make b`")])
        ['skipped radii of a, radii, trust of b: run `make <study>`']
    """
    reasons: dict[str, dict[str, list[str]]] = {}
    for figure, study, reason in skipped:
        known = re.sub(r"\brepeat \d+", "a repeat", re.sub(rf"\b{study}\b", "<study>", reason) if study else reason)
        reasons.setdefault(known, {}).setdefault(study, []).append(figure)
    lines = []
    for reason, by_study in reasons.items():
        alike: dict[str, list[str]] = {}
        for study, figures in by_study.items():
            alike.setdefault(", ".join(figures), []).append(study)
        parts = [
            f"{figures} of {', '.join(studies)}" if any(studies) else figures for figures, studies in alike.items()
        ]
        lines.append(f"skipped {', '.join(parts)}: {reason}")
    return lines


def _drew(paths: Iterable[Path]) -> list[str]:
    """Return a line for each picture: its PDF and its PNG are one."""
    shown: dict[Path, list[str]] = {}
    for path in paths:
        shown.setdefault(layout.display_path(path.with_suffix("")), []).append(path.suffix[1:])
    return [f"drew {stem}.{{{','.join(suffixes)}}}" for stem, suffixes in shown.items()]


def name_of(figure: ModuleType) -> str:
    """Return the figure's name, which is part of its file names."""
    return figure.__name__.rpartition(".")[2]


def _is_fresh(picture: Path, study: str, scale: str) -> bool:
    """Return whether both files of a picture are newer than its results and than the code that draws it."""
    here = Path(__file__).parent
    code = [here, *(Path(str(package.__file__)).parent for package in (analysis, drawing))]
    needed = [here / "published.csv", *(path for folder in code for path in folder.glob("*.py"))]
    for name in {study, (methods.PAIRS | slices.PAIRS).get(study, study)}:
        folder = layout.study_folder(scale, name)
        for pattern in ("*.csv", layout.RUN_RECORD, f"repeat_*/{layout.RAYS_RECORD}"):
            needed += folder.glob(pattern)
    files = [picture.with_suffix(suffix) for suffix in (".pdf", ".png")]
    if not all(file.exists() for file in files):
        return False
    drawn, made = [file.stat().st_mtime for file in files], max(map(changed_at, needed))
    return min(drawn) >= made and max(drawn) <= time.time() + AHEAD


if __name__ == "__main__":
    prepare_streams()
    end_with_make()
    parser = argparse.ArgumentParser(prog="python -m figs.draw", description=__doc__)
    parser.add_argument("studies", nargs="*", help="studies to name if they have no results yet")
    parser.add_argument("--scale", default="paper", choices=("quick", "paper"))
    parser.add_argument("--only-claims", action="store_true", help="draw only what the page of the claims shows")
    given = parser.parse_args()
    try:
        main(given.studies, given.scale, only_claims=given.only_claims)
    except UserError as error:
        sys.exit(f"error: {error}")
