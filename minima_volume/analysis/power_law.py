"""Slopes of log volume per parameter against the logarithm of the training-set size."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from minima_volume.analysis import tables


@dataclass(frozen=True)
class Slope:
    """d(ln V / n)/d ln D with its standard error, the line's height at ln D = 0, and the variance that the line explains."""

    slope: float
    error: float
    intercept: float
    r_squared: float
    n_points: int


def points(frame: pd.DataFrame, base: int, column: str) -> pd.DataFrame:
    """Rows of the found minima with `log_size` = ln(base + level) and `per_parameter` = ln V / n."""
    own = tables.own_landscape(frame)
    return own.assign(log_size=np.log(base + own["level"]), per_parameter=own[column] / own["n_params"])


def fit(rows: pd.DataFrame) -> Slope | None:
    """The mean of the repeats' slopes and the standard error of that mean; of one repeat its slope and least-squares error.

    Lower bounds and rows without a number are left out, and so are repeats with fewer than three points; None if none
    is left.
    """
    exact = rows[(rows["status"] == "ok") & rows["per_parameter"].notna()]
    kept = [repeat for _, repeat in exact.groupby("repeat") if repeat["log_size"].nunique() >= 3]
    if not kept:
        return None
    lines = [np.polyfit(repeat["log_size"], repeat["per_parameter"], 1, cov=True) for repeat in kept]
    slopes = np.array([coefficients[0] for coefficients, _ in lines])
    slope, intercept = np.mean([coefficients for coefficients, _ in lines], axis=0)
    error = slopes.std(ddof=1) / np.sqrt(len(slopes)) if len(slopes) > 1 else np.sqrt(lines[0][1][0, 0])
    used = pd.concat(kept)
    left = used["per_parameter"] - (intercept + slope * used["log_size"])
    r_squared = 1 - left.var(ddof=0) / used["per_parameter"].var(ddof=0)
    return Slope(float(slope), float(error), float(intercept), float(r_squared), len(used))
