"""Slopes of log volume per parameter against the logarithm of the training-set size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from minima_volume.analysis import tables
from minima_volume.analysis.markdown import MISSING, signed, table, with_error
from minima_volume.analysis.student import join_errors, limit_95

# The columns of errors that are not named after their volume: the published rule counts the radii of the same directions.
ERRORS = {"log_volume_grid": "log_volume_se"}


@dataclass(frozen=True)
class Slope:
    """A fitted line ln V / n = intercept + slope · ln D.

    Attributes:
        slope: d(ln V / n) / d ln D, in nats.
        error: Standard error of the slope, in nats.
        intercept: Height of the line at ln D = 0, in nats.
        r_squared: Share of the variance that the line explains.
        n_points: Number of points that were fitted.
        limit: What the slope must exceed to differ from 0 at 95 %, in errors; see `student.join_errors`.
        bend: Coefficient of (ln D)² in standard errors, from a parabola with a height of its own for each repeat.
        bend_freedom: Degrees of freedom of that error; 0 if there are too few points to tell.
    """

    slope: float
    error: float
    intercept: float
    r_squared: float
    n_points: int
    limit: float
    bend: float
    bend_freedom: int

    @property
    def straight(self) -> bool:
        """Whether a line fits: the bend is within its 95 % limit. Few points cannot tell, and pass."""
        return not abs(self.bend) > limit_95(self.bend_freedom)


def points(frame: pd.DataFrame, base: int, column: str) -> pd.DataFrame:
    """Return the points of a power law: minima, each in its own landscape.

    Args:
        frame: Rows of volumes.csv.
        base: Number of training samples at level 0.
        column: The volume, in nats.

    Returns:
        The rows with `log_size` = ln(base + level), `per_parameter` = ln V / n and its standard error `error`.
    """
    own = tables.own_landscape(frame)
    return own.assign(
        log_size=np.log(base + own["level"]),
        per_parameter=own[column] / own["n_params"],
        error=own[ERRORS.get(column, f"{column}_se")] / own["n_params"],
    )


def fit(rows: pd.DataFrame) -> Slope | None:
    """Fit a line to each repeat by least squares, and return the mean of the lines.

    The error joins the standard error of the mean slope over repeats (for a single repeat that of the fit) and that from
    the directions. All repeats share their directions, so the second does not average out; its minima are taken as
    independent, which is a bound: along common directions their errors mostly go the same way. Lower bounds (`status` is
    not `ok`), rows without a number, and repeats with fewer than three sizes are left out.

    Args:
        rows: Rows with `repeat`, `status`, `log_size`, `per_parameter` and, if directions were sampled, `error`, as from
            `points`.

    Returns:
        The line, or None if no repeat is left.
    """
    kept = [repeat for _, repeat in _exact(rows).groupby("repeat") if repeat["log_size"].nunique() >= 3]
    if not kept:
        return None
    lines = [np.polyfit(repeat["log_size"], repeat["per_parameter"], 1, cov=True) for repeat in kept]
    slopes = np.array([coefficients[0] for coefficients, _ in lines])
    slope, intercept = np.mean([coefficients for coefficients, _ in lines], axis=0)
    single = len(kept) == 1
    spread = np.sqrt(lines[0][1][0, 0]) if single else slopes.std(ddof=1) / np.sqrt(len(slopes))
    used = pd.concat(kept)
    residuals = used["per_parameter"] - (intercept + slope * used["log_size"])
    r_squared = 1 - residuals.var(ddof=0) / used["per_parameter"].var(ddof=0)
    error, limit = join_errors(spread, len(used) - 2 if single else len(kept) - 1, _direction_error(kept))
    return Slope(float(slope), float(error), float(intercept), float(r_squared), len(used), limit, *_bend(used))


def _direction_error(repeats: list[pd.DataFrame]) -> float:
    """Return the error of the slope of a repeat from its directions, in the mean over repeats; 0 without directions."""
    if "error" not in repeats[0]:
        return 0.0
    parts = []
    for rows in repeats:
        x = rows["log_size"] - rows["log_size"].mean()
        weights = x / (x**2).sum()  # slope = Σ weights · per_parameter
        parts.append(float((weights**2 * rows["error"] ** 2).sum()))
    return math.sqrt(np.mean(parts))


def residuals(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that `fit` uses, with `residual`: what the least-squares line of their own repeat leaves over."""
    kept = [repeat for _, repeat in _exact(rows).groupby("repeat") if repeat["log_size"].nunique() >= 3]
    if not kept:
        return rows.iloc[:0].assign(residual=0.0)
    lines = [np.polyfit(repeat["log_size"], repeat["per_parameter"], 1) for repeat in kept]
    return pd.concat(
        repeat.assign(residual=repeat["per_parameter"] - np.polyval(line, repeat["log_size"]))
        for repeat, line in zip(kept, lines, strict=True)
    )


def local_exponents(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the slope of ln V / n between every two neighbouring sizes of a repeat.

    Returns:
        Rows with `repeat`, `log_size`, the middle of the two, and `exponent`. A power law has the same exponent everywhere.
    """
    found = []
    for repeat, here in _exact(rows).sort_values("log_size").groupby("repeat"):
        x, y = here["log_size"].to_numpy(), here["per_parameter"].to_numpy()
        found.append(
            pd.DataFrame({"repeat": repeat, "log_size": (x[1:] + x[:-1]) / 2, "exponent": np.diff(y) / np.diff(x)})
        )
    return pd.concat(found) if found else pd.DataFrame(columns=["repeat", "log_size", "exponent"])


def _exact(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with a number that is no lower bound."""
    return rows[(rows["status"] == "ok") & rows["per_parameter"].notna()]


def _bend(rows: pd.DataFrame) -> tuple[float, int]:
    """Return the coefficient of (ln D)² in standard errors, and the degrees of freedom of the error."""
    x = (rows["log_size"] - rows["log_size"].mean()).to_numpy()
    heights = pd.get_dummies(rows["repeat"]).to_numpy(dtype=float)
    design = np.column_stack([x**2, x, heights])
    freedom = len(rows) - np.linalg.matrix_rank(design)
    found, *_ = np.linalg.lstsq(design, rows["per_parameter"].to_numpy())
    left = rows["per_parameter"].to_numpy() - design @ found
    scale = float(np.abs(rows["per_parameter"]).max())
    # Of points on a line only rounding is left, whose coefficient means nothing.
    if freedom < 1 or abs(found[0]) * float((x**2).max()) <= 1e-12 * scale:
        return math.nan, 0
    error = math.sqrt(left @ left / freedom * np.linalg.inv(design.T @ design)[0, 0])
    return float(np.divide(found[0], error)), int(freedom)


def power_law_table() -> str:
    """Return slope or bend of the own landscapes of every study with nested landscapes, at its first threshold.

    The last column names all thresholds at which n·E[ln r] rules a line out. Minima above a threshold are left out there.
    """
    rows = []
    for study in tables.studies("paper"):
        settings = tables.settings("paper", study)
        if settings.landscapes != "nested" or not settings.varies_data:
            continue
        frame, threshold = tables.volumes("paper", study), settings.thresholds[0]
        lines = [_line(frame, settings.base, column, threshold) for column in ("log_volume", "typical_log_volume")]
        if any(lines):
            cells = (cell for line in lines for cell in _cells(line))
            rows.append((f"`{study}`", f"{threshold:g}", *cells, _bent(frame, settings.base, settings.thresholds)))
    header = (
        "study", "threshold", "ln E[rⁿ]: bend", "own slope, solved", "n·E[ln r]: bend", "own slope, typical",
        "no line by n·E[ln r] at thresholds",
    )  # fmt: skip
    return table(header, rows) if rows else MISSING


def _line(frame: pd.DataFrame, base: int, column: str, threshold: float) -> Slope | None:
    """Return the line at one threshold."""
    rows = points(frame, base, column)
    return fit(rows[rows["threshold"] == threshold])


def _bent(frame: pd.DataFrame, base: int, thresholds: Sequence[float]) -> str:
    """Return the thresholds at which n·E[ln r] rules a line out, of those at which this can be told."""
    lines = {each: _line(frame, base, "typical_log_volume", each) for each in thresholds}
    tested = {each: line for each, line in lines.items() if line is not None and line.bend_freedom}
    bent = [f"{each:g}" for each, line in tested.items() if not line.straight]
    return f"{', '.join(bent) or 'none'} (of {', '.join(f'{each:g}' for each in tested)})"


def _cells(line: Slope | None) -> tuple[str, str]:
    """Return the bend in standard errors with its 95 % limit, and the slope, or what replaces it if no line fits."""
    if line is None:
        return "—", "—"
    bend = f"{signed(line.bend)} (limit {limit_95(line.bend_freedom):.1f})" if line.bend_freedom else "—"
    return bend, with_error(line.slope, line.error) if line.straight else "no line"
