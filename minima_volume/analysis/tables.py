"""Read a study's result tables as data frames. Missing or invalid values become NaN.

Figures read results only through this module.
"""

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pandas as pd

from minima_volume.analysis.study_settings import StudySettings
from minima_volume.errors import ResultsError
from minima_volume.estimators.diagnostics import TRUST
from minima_volume.storage import archives, layout, tables

ESTIMATES = ("log_volume", "typical_log_volume", "log_volume_grid")
NAMES = {
    "log_volume": "log volume ln E[$r^n$]",
    "typical_log_volume": "typical log volume $n$ E[ln $r$]",
}
_TEXT = {"study", "data", "model", "metric", "status", "verdict", "norms", "estimator", "measure", "coordinates"}
_WHOLE = {"repeat", "level", "landscape", "n_params", "n_directions", "n_crossed", "n_samples", "n_train"}
_ALWAYS = _WHOLE | {"threshold", "test_loss", "test_accuracy", "radius_1", "radius_2"}
_KEY = ["repeat", "level", "landscape", "threshold", "metric"]


def settings(scale: str, study: str) -> StudySettings:
    """Return a study's settings.

    Raises:
        ResultsError: run.json is missing, damaged or lacks a setting.
    """
    path = layout.study_folder(scale, study) / layout.RUN_RECORD
    found = archives.read_json(path).get("settings")
    row = found if isinstance(found, dict) else {}
    if row.get("name", study) != study:
        raise ResultsError(
            f"Expected the record of {study} in {path}, got that of {row['name']}: {_again(scale, study)}."
        )
    names = [field.name for field in fields(StudySettings)]
    missing = [name for name in names if name not in row]
    if missing:
        raise ResultsError(f"Expected the settings {', '.join(missing)} in {path}, got none: {_again(scale, study)}.")
    return StudySettings(**{name: row[name] for name in names})


def volumes(scale: str, study: str) -> pd.DataFrame:
    """Return the rows of volumes.csv.

    A volume is NaN if it is not finite or its minimum lies above the threshold, whatever the file says.

    Raises:
        ResultsError: The table is missing, empty, damaged or has a row twice.
    """
    frame = _read(scale, study, layout.VOLUMES, layout.VOLUME_COLUMNS)
    unknown = sorted(set(frame["status"]) - set(TRUST["status"]))
    if unknown:
        raise ResultsError(
            f"Expected a status among {', '.join(TRUST['status'])} in {study}, got {unknown}: {_again(scale, study)}."
        )
    for name in ESTIMATES:
        frame[name] = frame[name].where(np.isfinite(frame[name]) & (frame["status"] != "unconverged"))
        if f"{name}_se" in frame:
            frame[f"{name}_se"] = frame[f"{name}_se"].where(np.isfinite(frame[f"{name}_se"]))
    _check_unique(frame, _KEY, study)
    return frame


def cutoffs(scale: str, study: str) -> pd.DataFrame:
    """Return the rows of cutoffs.csv. `cutoff` is NaN for a minimum that stays below its threshold over all samples.

    Raises:
        ResultsError: The table is missing, empty, damaged or has a row twice.
    """
    frame = _read(scale, study, layout.CUTOFFS, layout.CUTOFF_COLUMNS)
    wrong = frame["cutoff"].notna() & ~frame["cutoff"].between(1, frame["n_samples"])
    if wrong.any():
        raise ResultsError(
            f"Expected cutoffs between 1 and {frame['n_samples'].max()} samples in {study}, "
            f"got {frame.loc[wrong, 'cutoff'].iloc[0]:g}: {_again(scale, study)}."
        )
    _check_unique(frame, ["repeat", "level", "threshold"], study)
    return frame


def slices(scale: str, study: str) -> pd.DataFrame:
    """Return the rows of slices.csv: for each level a full grid of radii with both losses.

    Raises:
        ResultsError: The table is missing, damaged, has a loss that is not a positive number, or lacks part of a grid.
    """
    again = f"delete it and run `make slices SCALE={scale}`"
    frame = _read(scale, study, layout.SLICES, layout.SLICE_COLUMNS)
    losses = frame[["seen_loss", "unseen_loss"]]
    if not (np.isfinite(losses) & (losses > 0)).all(axis=None):
        raise ResultsError(f"Expected losses above 0 in all slices of {study}, got others: {again}.")
    _check_unique(frame, ["level", "radius_1", "radius_2"], study)
    for _, plane in frame.groupby("level"):
        if len(plane) != plane["radius_1"].nunique() * plane["radius_2"].nunique():
            raise ResultsError(f"Expected complete planes in the slices of {study}, got a part of one: {again}.")
    return frame


def profiles(scale: str, study: str) -> pd.DataFrame:
    """Return the rows of profiles.csv: for each minimum and direction the same radii with three losses.

    Raises:
        ResultsError: The table is missing, damaged, has a loss that is not a positive number, or lacks part of a ray.
    """
    again = f"delete it and run `make profiles SCALE={scale}`"
    frame = _read(scale, study, layout.PROFILES, layout.PROFILE_COLUMNS)
    losses = frame[["base_loss", "train_loss", "test_loss"]]
    if not (np.isfinite(losses) & (losses > 0)).all(axis=None):
        raise ResultsError(f"Expected losses above 0 in all profiles of {study}, got others: {again}.")
    _check_unique(frame, ["repeat", "level", "direction", "radius"], study)
    if frame.groupby(["repeat", "level", "direction"]).size().nunique() > 1:
        raise ResultsError(f"Expected the same radii along every ray in the profiles of {study}, got others: {again}.")
    return frame


def local_volumes(scale: str, study: str) -> pd.DataFrame | None:
    """Return the rows of local_volumes.csv that have a value, with `error`, the larger of the two; None without the table.

    Raises:
        ResultsError: The table is empty, damaged or has a row twice.
    """
    if not _is_there(scale, study, layout.LOCAL_VOLUMES):
        return None
    frame = _read(scale, study, layout.LOCAL_VOLUMES, layout.LOCAL_VOLUME_COLUMNS)
    _check_unique(frame, ["repeat", "level", "landscape", "norms", "sigma"], study)
    error = frame[["log_gamma_se", "log_gamma_within_se"]].max(axis=1)
    return frame.assign(error=error)[frame["log_gamma"].notna()]


def sharpness(scale: str, study: str) -> pd.DataFrame | None:
    """Return the rows of sharpness.csv, one per minimum and measure; None without the table.

    Raises:
        ResultsError: The table is empty, damaged or has a row twice.
    """
    if not _is_there(scale, study, layout.SHARPNESS):
        return None
    frame = _read(scale, study, layout.SHARPNESS, layout.SHARPNESS_COLUMNS)
    _check_unique(frame, ["repeat", "level", "measure", "coordinates"], study)
    return frame


def orderings(scale: str, study: str) -> pd.DataFrame | None:
    """Return the rows of orderings.csv; None without the table. It is empty if no minimum is below the threshold.

    Raises:
        ResultsError: The table is damaged.
    """
    if not _is_there(scale, study, layout.ORDERINGS):
        return None
    return _read(scale, study, layout.ORDERINGS, layout.ORDERING_COLUMNS, may_be_empty=True)


def studies(scale: str) -> list[str]:
    """Return the studies of a scale that have a table of volumes, by name."""
    return layout.studies_with_volumes(scale)


def base_landscape(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the loss criterion in the smallest landscape."""
    base = int(frame["landscape"].min())
    return frame.loc[(frame["landscape"] == base) & (frame["metric"] == "loss")]


def own_landscape(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the loss criterion in each minimum's own landscape: everything it was trained on."""
    own = (frame["landscape"] == frame["level"]) & (frame["metric"] == "loss")
    return frame.loc[own]


def summary(frame: pd.DataFrame, column: str, by: str = "level") -> pd.DataFrame:
    """Return means over repeats with their spread and caveats.

    Args:
        frame: Rows of volumes.csv.
        column: The column to average; rows without a number are left out of the mean.
        by: The column to group by.

    Returns:
        A row per group: `mean`; `spread`, the standard deviation over repeats, or the estimate's own standard error if
        there is one repeat; `count` and `missing`, rows with and without a number; `bound`, True if some row is a lower
        bound.
    """
    groups = frame.groupby(by)
    table = pd.DataFrame(
        {
            "mean": groups[column].mean(),
            "spread": groups[column].std(ddof=1),
            "count": groups[column].count(),
            "missing": groups.size() - groups[column].count(),
            "bound": groups["status"].agg(lambda status: bool((status == "censored").any())),
        }
    )
    if f"{column}_se" in frame:
        table["spread"] = table["spread"].fillna(groups[f"{column}_se"].mean())
    return table


def thresholds(frame: pd.DataFrame) -> list[float]:
    """Return the thresholds of a table, the largest first."""
    return sorted(map(float, frame["threshold"].unique()), reverse=True)


def numbers(cells: Sequence[str | None]) -> list[float]:
    """Return cells as floats, with NaN for empty ones.

    Raises:
        ValueError: A cell holds text.
    """
    return [float(cell) if cell else float("nan") for cell in cells]


def _is_there(scale: str, study: str, name: str) -> bool:
    """Return whether a study has a table that not all studies have."""
    return (layout.study_folder(scale, study) / name).exists()


def _read(scale: str, study: str, name: str, columns: Sequence[str], *, may_be_empty: bool = False) -> pd.DataFrame:
    path = layout.study_folder(scale, study) / name
    rows = tables.read_table(path, columns)
    if not rows and not may_be_empty:
        raise ResultsError(f"Expected rows in {path}, got none: {_again(scale, study)}.")
    frame = pd.DataFrame({column: [row[column] for row in rows] for column in columns})
    for column in [column for column in columns if column not in _TEXT]:
        try:
            values = pd.Series(numbers(frame[column].tolist()))
        except ValueError as error:
            raise ResultsError(
                f"Expected numbers in column {column} of {path}, got '{error}': {_again(scale, study)}."
            ) from error
        if column in _ALWAYS and not (values.notna() & np.isfinite(values)).all():
            raise ResultsError(
                f"Expected a number in every row of column {column} of {path}, got empty cells: {_again(scale, study)}."
            )
        frame[column] = values.astype(int) if column in _WHOLE else values
    return frame


def _check_unique(frame: pd.DataFrame, key: list[str], study: str) -> None:
    twins = frame.duplicated(key)
    if twins.any():
        row = ", ".join(f"{name} {frame.loc[twins, name].iloc[0]}" for name in key)
        raise ResultsError(
            f"Expected every row of {study} once, got {row} twice: delete the table and run the same make target."
        )


def _again(scale: str, study: str) -> str:
    return f"run `make {study} SCALE={scale}`"
