"""The published numbers beside ours, minimum by minimum and trend by trend, as two tables."""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from minima_volume.analysis import tables as analysis_tables
from minima_volume.analysis import trends
from minima_volume.errors import ResultsError
from minima_volume.storage import layout
from minima_volume.storage import tables as storage_tables

PUBLISHED = Path("figs/published.csv")  # facts of github.com/rfangit/minima-volume-project
PUBLISHED_COLUMNS = (
    "study", "repeat_name", "level", "landscape", "threshold", "log_volume_grid", "loss_at_zero", "test_loss",
    "test_accuracy", "source",
)  # fmt: skip
COLUMNS = (
    "study", "level", "landscape", "threshold", "ours_repeats", "ours_without_volume", "ours_log_volume_grid",
    "ours_spread", "published_repeats", "published_without_volume", "published_log_volume_grid", "published_spread",
    "relative_difference", "grid_steps", "standard_errors", "within", "ours_loss_at_zero", "published_loss_at_zero",
    "ours_test_loss", "published_test_loss", "test_loss_standard_errors", "ours_test_accuracy", "published_test_accuracy",
)  # fmt: skip
KEY = ["level", "landscape", "threshold"]
OUTCOMES = ["test_loss", "test_accuracy"]


def published_rows(study: str) -> pd.DataFrame:
    """Published rows of a study; `log_volume_grid` −∞ means above the threshold, NaN that only test results are known."""
    rows = [row for row in storage_tables.read_table(PUBLISHED, PUBLISHED_COLUMNS) if row["study"] == study]
    frame = pd.DataFrame(rows, columns=list(PUBLISHED_COLUMNS))
    for name in PUBLISHED_COLUMNS[2:-1]:
        frame[name] = pd.Series(analysis_tables.numbers(frame[name].tolist()), dtype=float)
    return frame


def grid_step(log_volume: float, n_params: int) -> float:
    """Nats between neighbouring points of the published grid c = (k/99)² at a volume: 2n/k, from r = c √n."""
    k = 99 * np.exp(log_volume / n_params / 2) / n_params**0.25
    return float(2 * n_params / k)


def combined_error(ours: pd.Series, theirs: pd.Series, rounding: float = 0.0) -> float:
    """Standard error of the difference of two means over repeats: s √(1/N + 1/M), s the pooled spread of all repeats.

    Where the spread is below the error of `rounding`, that counts instead: repeats on one grid point seem to agree
    exactly. NaN if one side has nothing, both have a single repeat, or nothing spreads.
    """
    parts = [values[np.isfinite(values)] for values in (ours, theirs)]
    freedom = sum(map(len, parts)) - 2
    if min(map(len, parts)) == 0 or freedom < 1:
        return math.nan
    spread = math.sqrt(sum(((part - part.mean()) ** 2).sum() for part in parts) / freedom)
    return max(spread, rounding) * math.sqrt(sum(1 / len(part) for part in parts)) or math.nan


def compare_study(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """A row for each level, landscape and threshold that both have: means over repeats that have a volume.

    `relative_difference` is (ours − published)/|published|; `grid_steps` the same difference in steps of the published
    grid and `standard_errors` in combined standard errors over repeats, each radius rounded by step/√12; `within` says
    which of the two explains it. `loss_at_zero` is the geometric mean, over repeats, of the loss of the minima themselves
    in the landscape, a clock of how long they were trained. Test results are means over repeats of the level, whatever
    the landscape.
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
    difference = cells["ours_log_volume_grid"] - cells["published_log_volume_grid"]
    step = grid_step(cells["published_log_volume_grid"], n_params)
    cells["relative_difference"] = difference / abs(cells["published_log_volume_grid"])
    cells["grid_steps"] = difference / step
    cells["standard_errors"] = difference / combined_error(ours, theirs, step / math.sqrt(12))
    explained = {"a grid step": abs(cells["grid_steps"]) <= 1, "two errors": abs(cells["standard_errors"]) <= 2}
    cells["within"] = (
        "" if np.isnan(difference) else next((name for name, holds in explained.items() if holds), "neither")
    )
    return cells


def _losses(ours: pd.Series, theirs: pd.Series) -> dict[str, float]:
    """The cells about the losses of the minima themselves."""
    known = {"ours": ours[ours > 0], "published": theirs[theirs > 0]}
    return {f"{who}_loss_at_zero": np.exp(np.log(losses).mean()) for who, losses in known.items()}


def _once(frame: pd.DataFrame, repeat: str) -> pd.DataFrame:
    """Test results by level and repeat; one stored in several folders or landscapes counts once: its name without them."""
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
    """Volumes and trends of all studies that both have; raises ResultsError if there is none."""
    volumes, slopes = [], []
    for study in analysis_tables.studies("paper"):
        theirs = published_rows(study)
        if not theirs.empty:
            ours, settings = analysis_tables.volumes("paper", study), analysis_tables.settings("paper", study)
            volumes.append(compare_study(ours, theirs))
            slopes.append(trends.trends(ours, theirs, settings))
    if not volumes:
        raise ResultsError("Expected paper results of a published study, got none: run `make mnist_poison` or another.")
    return pd.concat(volumes, ignore_index=True), pd.concat(slopes, ignore_index=True)


def main() -> list[Path]:
    """Write both tables."""
    paths = [layout.ROOT / "paper" / name for name in ("comparison.csv", "comparison_trends.csv")]
    for path, frame in zip(paths, compare_all(), strict=True):
        storage_tables.write_table(
            path,
            list(frame.columns),
            [{str(name): cell for name, cell in row.items()} for row in frame.to_dict("records")],
        )
    return paths


if __name__ == "__main__":
    try:
        print(*map(layout.display_path, main()), sep="\n")
    except ResultsError as error:
        sys.exit(f"error: {error}")
