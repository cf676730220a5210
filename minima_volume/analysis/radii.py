"""Radii along every stored direction of one repeat in its base landscape, checked against the table of volumes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from minima_volume.analysis import tables
from minima_volume.errors import ResultsError
from minima_volume.estimators.volume import log_radii
from minima_volume.storage import archives, layout


@dataclass(frozen=True)
class Radii:
    """The radii around one minimum at one threshold, a value per direction.

    Attributes:
        logs: ln r at the crossing, or at the cap c = 1 if the ray never crosses. NaN if the minimum is above the threshold.
        censored: Whether the ray never crosses up to the cap.
        cap: The largest radius at c = 1.
        inside: False if the minimum is above the threshold and has no radii.
    """

    logs: NDArray[np.float64]
    censored: NDArray[np.bool_]
    cap: float
    inside: bool


def radii(scale: str, study: str, repeat: int, frame: pd.DataFrame) -> dict[tuple[int, float], Radii]:
    """Return the radii by (level, threshold).

    Args:
        scale: `quick` or `paper`.
        study: Name of the study.
        repeat: Number of the repeat.
        frame: The study's rows of volumes.csv.

    Raises:
        ResultsError: Only tables are stored, or the rays do not belong to the table.
    """
    settings = tables.settings(scale, study)
    rows = tables.base_landscape(frame[frame["repeat"] == repeat])
    blocks = _blocks(layout.repeat_folder(scale, study, repeat), int(rows["n_directions"].max()))
    if not blocks:
        raise ResultsError(f"Expected the rays of repeat {repeat}, got only tables: run `make {study} SCALE={scale}`.")
    parts = [archives.read_arrays(path)[1] for path in blocks]
    # Blocks of older runs do not name their directions; a copy of another one repeats its norms.
    norms = np.concatenate([part["norms"] for part in parts if "norms" in part])
    if len(np.unique(norms)) < len(norms):
        raise ResultsError(f"Expected different directions in all rays of {study}, got copies: run `make {study}`.")
    found = {}
    for level in sorted(rows["level"].unique()):
        norms, coefficients = _joined(parts, int(level), study, scale)
        for column, threshold in enumerate(settings.thresholds):
            here = rows[(rows["level"] == level) & (rows["threshold"] == threshold)]
            c = coefficients[:, column]
            if len(here) != 1 or (len(c), int((c > 0).sum())) != _counts(here):
                raise ResultsError(
                    f"Expected the rays of {study} to be those of its table, got others: run `make {study}`."
                )
            found[int(level), threshold] = _radii(c, norms)
    return found


def repeats(scale: str, study: str, frame: pd.DataFrame) -> list[int]:
    """Return the repeats of a table whose rays are stored."""
    counts = frame.groupby("repeat")["n_directions"].max()
    folders = {int(number): layout.repeat_folder(scale, study, int(number)) for number in counts.index}
    return [number for number, folder in folders.items() if _blocks(folder, int(counts[number]))]


def _blocks(folder: Path, n_directions: int) -> list[Path]:
    """Return files that together hold the first `n_directions`. A run with another number may have left others behind."""
    spans = layout.blocks_in(folder)
    chosen, at = [], 0
    while at < n_directions:
        stops = [stop for start, stop in spans if start == at and stop <= n_directions]
        if not stops:
            return []
        chosen.append(spans[at, max(stops)])
        at = max(stops)
    return chosen


def _joined(
    parts: list[dict[str, NDArray[np.float64]]], level: int, study: str, scale: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the norms and the coefficients of one level along all directions."""
    name = layout.crossings_key(level, "coefficients")
    if any(name not in part or "norms" not in part for part in parts):
        raise ResultsError(
            f"Expected rays of level {level} in all blocks of {study}, got fewer: run `make {study} SCALE={scale}`."
        )
    return np.concatenate([part["norms"] for part in parts]), np.concatenate([part[name] for part in parts])


def _counts(rows: pd.DataFrame) -> tuple[int, int]:
    """Return the numbers of directions and of crossings that the table states for a minimum."""
    return int(rows["n_directions"].iloc[0]), int(rows["n_crossed"].iloc[0])


def _radii(coefficients: NDArray[np.float64], norms: NDArray[np.float64]) -> Radii:
    """Return radii from the coefficients and norms of all directions."""
    inside = not (coefficients == 0).any()
    logs = log_radii(coefficients, norms) if inside else np.full(len(norms), np.nan)
    return Radii(logs, np.isnan(coefficients), float(norms.max()), inside)
