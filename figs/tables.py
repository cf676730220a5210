"""The committed tables as data frames, and which studies have any: all that a figure may know."""

import argparse
import sys
from pathlib import Path

import pandas as pd

from minima_volume import results
from minima_volume.errors import ResultsError

SHOWN = {"extra": "extra training samples", "batch_size": "batch size", "epochs": "epochs"}
KINDS = {"poison": "mislabelled training samples added", "noise": "noise samples added"}


def volumes(scale: str, study: str) -> pd.DataFrame:
    """Rows of volumes.csv; raises ResultsError for a table without rows."""
    path = results.study_folder(scale, study) / "volumes.csv"
    results.read_table(path, results.VOLUME_COLUMNS)
    frame = pd.read_csv(path)
    if frame.empty:
        raise ResultsError(f"Expected rows in {path}, got none: run `make {study} SCALE={scale}`.")
    return frame


def settings(scale: str, study: str) -> dict[str, object]:
    """The study's settings as run.json recorded them."""
    return dict(results.read_json(results.study_folder(scale, study) / "run.json")["settings"])


def level_axis(row: dict[str, object]) -> str:
    """The axis label of a study's levels."""
    return KINDS.get(str(row["intervention"]), SHOWN[str(row["level_means"])])


def studies(scale: str) -> list[str]:
    """Studies of a scale that have a table, by name."""
    return sorted(path.parent.name for path in (results.ROOT / scale).glob("*/volumes.csv"))


def arguments(description: str) -> argparse.Namespace:
    """The command line that all figure scripts share: a study and a scale."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("study")
    parser.add_argument("--scale", default="paper", choices=("quick", "paper"))
    return parser.parse_args()


def output(scale: str, name: str) -> Path:
    """Where a figure goes, without suffix."""
    return Path(__file__).parent / scale / name


def run(draw: object, description: str) -> None:
    """Draw from the command line; a table that cannot be drawn gives one sentence and exit code 1."""
    given = arguments(description)
    try:
        for path in draw(given.study, given.scale):  # type: ignore[operator]
            print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    except ResultsError as error:
        sys.exit(f"error: {error}")
