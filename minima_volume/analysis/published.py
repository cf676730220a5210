"""Compare our numbers with the published ones, minimum by minimum and trend by trend, in two tables."""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from minima_volume.analysis import tables as analysis_tables
from minima_volume.analysis import trends
from minima_volume.analysis.student import limit_95
from minima_volume.errors import ResultsError
from minima_volume.storage import layout
from minima_volume.storage import tables as storage_tables
from minima_volume.text import prepare_streams

PUBLISHED = Path("figs/published.csv")  # facts of github.com/rfangit/minima-volume-project
PUBLISHED_COLUMNS = (
    "study", "repeat_name", "level", "landscape", "threshold", "log_volume_grid", "loss_at_zero", "test_loss",
    "test_accuracy", "source",
)  # fmt: skip
COLUMNS = layout.COMPARISON_COLUMNS
KEY = ["level", "landscape", "threshold"]
OUTCOMES = ["test_loss", "test_accuracy"]


def published_rows(study: str) -> pd.DataFrame:
    """Return the published rows of a study.

    Args:
        study: Name of the study.

    Returns:
        Rows with the columns `PUBLISHED_COLUMNS`. A `log_volume_grid` of −∞ means that the minimum lies above the
        threshold; NaN means that only test results are known.
    """
    rows = [
        row for row in storage_tables.read_table(PUBLISHED, PUBLISHED_COLUMNS, recorded=False) if row["study"] == study
    ]
    frame = pd.DataFrame(rows, columns=list(PUBLISHED_COLUMNS))
    for name in PUBLISHED_COLUMNS[2:-1]:
        frame[name] = pd.Series(analysis_tables.numbers(frame[name].tolist()), dtype=float)
    return frame


def grid_index(log_volume: float, n_params: int) -> float:
    """Return the index k of the published grid c = (k/99)² that a volume belongs to.

    With V = rⁿ and a direction of typical norm, r = c √n, so k = 99 √(V^(1/n) / √n). A volume that is a mean over
    directions or repeats lies between two points of the grid.

    Args:
        log_volume: ln V, in nats.
        n_params: Number of parameters n.

    Example:
        >>> n = 235_146
        >>> round(grid_index(n * math.log((32 / 99) ** 2 * n**0.5), n), 6)
        32.0
    """
    return float(99 * np.exp(log_volume / n_params / 2) / n_params**0.25)


def grid_step(log_volume: float, n_params: int) -> float:
    """Return the distance 2n/k between neighbouring points of the published grid at a volume, in nats."""
    return 2 * n_params / grid_index(log_volume, n_params)


def combined_error(ours: pd.Series, theirs: pd.Series, rounding: float = 0.0) -> float:
    """Return the standard error s √(1/N + 1/M) of the difference of two means over N and M repeats.

    s is the pooled standard deviation of all repeats, as in Student's t test. If s is smaller than `rounding`, that is
    taken instead: repeats that were rounded to the same grid point seem to agree exactly.

    Args:
        ours: A value per repeat; values that are not finite are left out.
        theirs: The same for the other side.
        rounding: Standard deviation that rounding alone would give.

    Returns:
        The error, or NaN if a side has no value, both have a single one, or the error is 0.
    """
    parts = [values[np.isfinite(values)] for values in (ours, theirs)]
    freedom = pooled_freedom(ours, theirs)
    if freedom < 1:
        return math.nan
    spread = math.sqrt(sum(((part - part.mean()) ** 2).sum() for part in parts) / freedom)
    return max(spread, rounding) * math.sqrt(sum(1 / len(part) for part in parts)) or math.nan


def pooled_freedom(ours: pd.Series, theirs: pd.Series) -> int:
    """Return the degrees of freedom N + M − 2 of `combined_error`, or 0 if a side has no value."""
    counts = [int(np.isfinite(values).sum()) for values in (ours, theirs)]
    return max(0, sum(counts) - 2) if min(counts) else 0


def reason(grid_steps: float, standard_errors: float, freedom: int) -> str:
    """Return what explains the difference of two volumes.

    Args:
        grid_steps: The difference in points of the published grid.
        standard_errors: The difference in combined standard errors, or NaN.
        freedom: Degrees of freedom of the combined error.

    Returns:
        `a grid step` if the difference, rounded to whole grid points, is at most one; else `two errors` if it is within
        the 95 % limit of Student's t; else `neither`. Empty if there is no difference to explain.
    """
    if math.isnan(grid_steps):
        return ""
    if abs(round(grid_steps)) <= 1:
        return "a grid step"
    return "two errors" if abs(standard_errors) <= limit_95(freedom) else "neither"


def compare_study(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each level, landscape and threshold that both sides have.

    Args:
        ours: Rows of volumes.csv of one study.
        theirs: Published rows of the same study.

    Returns:
        Rows with the columns `COLUMNS`. Volumes are means over the repeats that have one. `relative_difference` is
        (ours − published)/|published|; `grid_steps` is the difference of the two grid indices; `standard_errors` is the
        difference in combined standard errors over repeats, each volume rounded by step/√12; `within` is the `reason`.
        `loss_at_zero` is the geometric mean, over repeats, of the losses of the minima themselves in the landscape.
        Test results are means over the repeats of a level, whatever the landscape.
    """
    loss = ours[ours["metric"] == "loss"]
    measured = theirs[theirs["log_volume_grid"].notna()]
    tested = {"ours": _once(loss, "repeat"), "published": _once(theirs, "repeat_name")}
    published_at = dict(iter(measured.groupby(KEY)))
    rows = [
        {"study": ours["study"].iloc[0], **dict(zip(KEY, key, strict=True))}
        | _volumes(here["log_volume_grid"], published_at[key]["log_volume_grid"], int(here["n_params"].iloc[0]))
        | _losses(here["loss_at_zero"], published_at[key]["loss_at_zero"])
        | _tests(int(str(key[0])), tested)
        for key, here in loss.groupby(KEY)
        if key in published_at
    ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.sort_values(["threshold", "landscape", "level"], ascending=[False, True, True])


def _volumes(ours: pd.Series, theirs: pd.Series, n_params: int) -> dict[str, Any]:
    """The cells about grid volumes of one level, landscape and threshold."""
    cells: dict[str, Any] = {}
    for who, values in (("ours", ours), ("published", theirs)):
        known = values[np.isfinite(values)]
        cells |= {f"{who}_repeats": len(values), f"{who}_without_volume": len(values) - len(known)}
        cells |= {f"{who}_log_volume_grid": known.mean(), f"{who}_spread": known.std(ddof=1)}
    mine, published = cells["ours_log_volume_grid"], cells["published_log_volume_grid"]
    rounding = grid_step(published, n_params) / math.sqrt(12)
    cells["relative_difference"] = (mine - published) / abs(published)
    cells["grid_steps"] = grid_index(mine, n_params) - grid_index(published, n_params)
    cells["standard_errors"] = (mine - published) / combined_error(ours, theirs, rounding)
    cells["within"] = reason(cells["grid_steps"], cells["standard_errors"], pooled_freedom(ours, theirs))
    return cells


def _losses(ours: pd.Series, theirs: pd.Series) -> dict[str, float]:
    """The cells about the losses of the minima themselves."""
    known = {"ours": ours[ours > 0], "published": theirs[theirs > 0]}
    return {f"{who}_loss_at_zero": np.exp(np.log(losses).mean()) for who, losses in known.items()}


def _once(frame: pd.DataFrame, repeat: str) -> pd.DataFrame:
    """Test results by level and repeat. A repeat that is stored in several folders or landscapes counts once."""
    names = frame[repeat].astype(str).str.split().str[0].rename("name")
    return frame.groupby([frame["level"], names])[OUTCOMES].mean()


def _tests(level: int, tested: dict[str, pd.DataFrame]) -> dict[str, float]:
    """The cells about test results of one level."""
    ours, theirs = (frame.loc[level] if level in frame.index else frame.iloc[:0] for frame in tested.values())
    cells = {
        f"{who}_{name}": frame[name].mean()
        for who, frame in zip(tested, (ours, theirs), strict=True)
        for name in OUTCOMES
    }
    difference = cells["ours_test_loss"] - cells["published_test_loss"]
    return cells | {"test_loss_standard_errors": difference / combined_error(ours["test_loss"], theirs["test_loss"])}


def compare_all() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of comparison.csv and of comparison_trends.csv, for every study that both sides have.

    Raises:
        ResultsError: No published study was run at paper scale.
    """
    volumes, slopes = [], []
    for study in analysis_tables.studies("paper"):
        theirs = published_rows(study)
        if not theirs.empty:
            ours, settings = analysis_tables.volumes("paper", study), analysis_tables.settings("paper", study)
            volumes.append(compare_study(ours, theirs))
            slopes.append(trends.trends(ours, theirs, settings))
    if not volumes:
        raise ResultsError("Expected paper results of a published study, got none: run `make mnist_poison`.")
    return pd.concat(volumes, ignore_index=True), pd.concat(slopes, ignore_index=True)


def main() -> list[Path]:
    """Write both tables; return their paths."""
    paths = layout.comparison_paths("paper")
    for path, frame in zip(paths, compare_all(), strict=True):
        storage_tables.write_recorded_table(
            path,
            list(frame.columns),
            [{str(name): cell for name, cell in row.items()} for row in frame.to_dict("records")],
        )
    return list(paths)


if __name__ == "__main__":
    prepare_streams()
    try:
        print(*map(layout.display_path, main()), sep="\n")
    except ResultsError as error:
        sys.exit(f"error: {error}")
