"""Slopes of volumes and test losses, published and ours, against training samples, batch size or epochs."""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from minima_volume.analysis import power_law
from minima_volume.analysis.power_law import Slope
from minima_volume.analysis.study_settings import StudySettings
from minima_volume.storage import layout

COLUMNS = layout.COMPARISON_TREND_COLUMNS
AGAINST = {
    "extra": "training samples", "batch_size": "batch size", "epochs": "epochs", "batch_size_equal_steps": "batch size",
    "model_seed": "seed",
}  # fmt: skip
Cut = tuple[str, str, float]  # quantity, what is fixed, threshold (NaN for test losses)


def trends(ours: pd.DataFrame, theirs: pd.DataFrame, settings: StudySettings) -> pd.DataFrame:
    """Return a row for each trend that both sides have at three values or more, fitted to the values that both have.

    The slopes of volume are d(ln V/n)/d ln D by the published grid rule, with D the training samples, the batch size or
    the epochs. They are taken in each fixed landscape, in the own landscape of each minimum, and of each fixed minimum
    over landscapes. The slope of the test loss is d ln(test loss)/d ln D.

    Args:
        ours: Rows of volumes.csv of one study.
        theirs: Published rows of the same study.
        settings: The study's settings.

    Returns:
        Rows with the columns `COLUMNS`. `ours_solved_slope` is the slope of ln E[rⁿ] with solved radii. Errors are those
        of `power_law.fit`; published volumes have none from their directions. Directions are those of `direction`.
    """
    loss = ours[ours["metric"] == "loss"]
    n_params = int(loss["n_params"].iloc[0])
    known = theirs.rename(columns={"repeat_name": "repeat"}).replace(-np.inf, np.nan)
    exact = loss.assign(log_volume_grid=loss["log_volume"].where(loss["status"] == "ok"))
    mine, published, solved = (dict(_cuts(frame, settings, n_params)) for frame in (loss, known, exact))
    rows = [_row(cut, mine[cut], published[cut], solved[cut]) for cut in mine if cut in published]
    common = {"study": ours["study"].iloc[0], "against": AGAINST[settings.level_means]}
    return pd.DataFrame([common | row for row in rows if row], columns=list(COLUMNS))


def direction(line: Slope) -> str:
    """Return `falls` or `rises`, or `unclear` if the slope is within its 95 % limit of zero."""
    if not abs(line.slope) > line.limit * line.error:
        return "unclear"
    return "falls" if line.slope < 0 else "rises"


def _cuts(frame: pd.DataFrame, settings: StudySettings, n_params: int) -> Iterator[tuple[Cut, pd.DataFrame]]:
    """Points (`log_size`, `per_parameter`) of each repeat along every line through a table."""
    offset = settings.base if settings.varies_data else 0
    volumes = frame[frame["threshold"].notna()]
    volumes = volumes.assign(
        per_parameter=volumes["log_volume_grid"] / n_params, log_size=np.log(offset + volumes["level"])
    )
    if "log_volume_se" in volumes:
        volumes = volumes.assign(error=volumes["log_volume_se"] / n_params)
    for key, here in volumes.groupby("threshold"):
        threshold = float(str(key))
        for landscape, at in here.groupby("landscape"):
            yield ("log volume", f"landscape {landscape:.0f}", threshold), at
        yield ("log volume", "own landscape", threshold), here[here["landscape"] == here["level"]]
        for level, at in here.groupby("level"):
            moved = at.assign(log_size=np.log(offset + at["landscape"])) if offset else at.iloc[:0]
            yield ("log volume", f"minimum {level:.0f}", threshold), moved
    names = frame["repeat"].astype(str).str.split().str[0]  # a repeat stored in several folders counts once
    tests = frame.groupby([names, frame["level"]])["test_loss"].mean().reset_index()
    tests = tests.assign(per_parameter=np.log(tests["test_loss"]), log_size=np.log(offset + tests["level"]))
    yield ("test loss", "", math.nan), tests


def _row(cut: Cut, ours: pd.DataFrame, theirs: pd.DataFrame, solved: pd.DataFrame) -> dict[str, object] | None:
    """The cells of one trend, or None if the values that both sides have are too few."""
    sizes = [set(frame.loc[frame["per_parameter"].notna(), "log_size"].round(9)) for frame in (ours, theirs)]
    common = sorted(sizes[0] & sizes[1])
    mine, published, exact = (_fit(frame, common) for frame in (ours, theirs, solved))
    if mine is None or published is None:
        return None
    directions = {direction(mine), direction(published)}
    error = math.hypot(mine.error, published.error)
    cells = dict(zip(("quantity", "held", "threshold"), cut, strict=True)) | {
        "values": " ".join(f"{math.exp(size):.0f}" for size in common),
        **_cells("ours", mine, ours),
        **_cells("published", published, theirs),
        "direction": "unclear" if "unclear" in directions else "same" if len(directions) == 1 else "opposite",
        "standard_errors": (mine.slope - published.slope) / error if error > 0 else math.nan,
    }
    if exact is not None and cut[0] == "log volume":
        cells |= {"ours_solved_slope": exact.slope, "ours_solved_slope_se": exact.error}
    return cells


def _cells(who: str, line: Slope, frame: pd.DataFrame) -> dict[str, object]:
    """The cells of one side."""
    cells = {"repeats": frame["repeat"].nunique(), "slope": line.slope, "slope_se": line.error}
    return {f"{who}_{name}": value for name, value in (cells | {"direction": direction(line)}).items()}


def _fit(frame: pd.DataFrame, sizes: list[float]) -> Slope | None:
    return power_law.fit(frame[frame["log_size"].round(9).isin(sizes)].assign(status="ok"))
