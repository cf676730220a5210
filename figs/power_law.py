"""Log volume per parameter of each minimum in its own landscape: fitted slopes, what they leave over, local slopes."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from minima_volume.analysis import tables
from minima_volume.analysis.power_law import Slope, fit, local_exponents, points, residuals
from minima_volume.drawing import marks, output, style
from minima_volume.errors import ResultsError

ESTIMATES = ("log_volume", "typical_log_volume")
SHORT = {"log_volume": "ln E[$r^n$]", "typical_log_volume": "typical"}


def draw(study: str, scale: str) -> list[Path]:
    """Draw ln E[rⁿ] on the left and the typical volume on the right, a colour for each threshold.

    The rows are the volumes with fitted lines, their residuals, and the local slopes between neighbouring sizes.
    """
    settings = tables.settings(scale, study)
    if settings.landscapes != "nested" or not settings.varies_data:
        return []
    frame = tables.volumes(scale, study)
    own = tables.own_landscape(frame)
    if own["level"].nunique() < 3:
        raise ResultsError(
            f"Expected at least three training sizes, got {own['level'].nunique()}: add levels to the study."
        )
    style.use()
    figure, grid = plt.subplots(3, 2, figsize=(style.DOUBLE_COLUMN, 6.6), sharex="col", height_ratios=[1.6, 1, 1])
    lines: list[Slope] = []
    entries: dict[float, list[str]] = {}
    for column, (top, middle, bottom) in zip(ESTIMATES, grid.T, strict=True):
        rows = points(frame, settings.base, column)
        for threshold, line in _volumes(top, rows, column).items():
            entries.setdefault(threshold, []).append(f"{SHORT[column]} {_label(line)}")
            lines += [] if line is None else [line]
        _what_is_left(middle, bottom, rows)
    dots = [Line2D([], [], marker="o", ms=3, lw=0, color=c) for c in style.series_colors(len(entries))]
    figure.legend(
        dots, [f"{threshold:g}: {'; '.join(said)}" for threshold, said in entries.items()],
        title="threshold: own slope d(ln V / n) / d ln D", alignment="left", fontsize=6.5, loc="outside lower left",
    )  # fmt: skip
    many = own["repeat"].nunique() > 1
    error = "mean over repeats ± standard error of the mean" if many else "± standard error"
    caption = [f"{len(own.drop_duplicates(['repeat', 'level']))} minima, each in its own landscape"]
    if any(line.straight for line in lines):
        caption.append(f"own slope: {error}, least squares in ln D")
    if not all(line.straight for line in lines):
        caption += [
            "dotted: a parabola fits better at 95 % confidence",
            "bend: its second coefficient in standard errors",
        ]
    caption += marks.caveats(own)
    straight = sum(line.straight for line in lines)
    finding = f"A straight line fits {straight} of {len(lines)} sets of volumes: {_verdict(straight, len(lines))}"
    return marks.finish(figure, grid.flat, frame, settings, scale, "power_law", caption, finding=finding)


def _verdict(straight: int, count: int) -> str:
    """Return what the tests of curvature say together."""
    if straight == count:
        return "a power law is not ruled out"
    return "no power law" if straight == 0 else "a power law at some thresholds only"


def _volumes(axes: Axes, rows: pd.DataFrame, column: str) -> dict[float, Slope | None]:
    """Draw points and fitted line of each threshold; return the lines, None where there are too few points."""
    axes.set_xscale("log")
    thresholds, absent, lines = tables.thresholds(rows), [], {}
    for threshold, color in zip(thresholds, style.series_colors(len(thresholds)), strict=True):
        here = rows[rows["threshold"] == threshold]
        line = lines[threshold] = fit(here)
        if line is not None:
            ends = np.array([here["log_size"].min(), here["log_size"].max()])
            dashes = "-" if line.straight else ":"
            axes.plot(np.exp(ends), line.intercept + line.slope * ends, dashes, color=color)
        for bound, face in ((False, color), (True, "white")):
            part = here[(here["status"] == "censored") == bound]
            sizes = np.exp(part["log_size"])
            axes.plot(sizes, part["per_parameter"], "o", color=color, mfc=face, alpha=0.7, ms=3)
        absent.append((color, np.exp(here.loc[here["per_parameter"].isna(), "log_size"]).tolist()))
    marks.crosses((axes, absent))
    axes.set_ylabel("ln V / n (nats)")
    axes.set_title(tables.NAMES[column], loc="left")
    return lines


def _what_is_left(middle: Axes, bottom: Axes, rows: pd.DataFrame) -> None:
    """Draw the residuals of each repeat's own line, and the slope between every two neighbouring sizes."""
    thresholds = tables.thresholds(rows)
    for axes in (middle, bottom):
        axes.axhline(0, color=style.GREY, lw=0.6)
    for threshold, color in zip(thresholds, style.series_colors(len(thresholds)), strict=True):
        here = rows[rows["threshold"] == threshold]
        left, local = residuals(here), local_exponents(here)
        middle.plot(np.exp(left["log_size"]), left["residual"], "o", color=color, alpha=0.7, ms=3)
        for axes, frame, column in ((middle, left, "residual"), (bottom, local, "exponent")):
            means = frame.groupby(frame["log_size"].astype(float).round(9))[column].mean()
            axes.plot(np.exp(means.index), means, "-", color=color, lw=0.9)
        bottom.plot(np.exp(local["log_size"].astype(float)), local["exponent"], "o", color=color, alpha=0.7, ms=3)
    if np.ptp(middle.get_ylim()) < 0.01:
        middle.set_ylim(-0.005, 0.005)  # rounding is not magnified
    middle.set_title("residuals of each repeat's line", loc="left")
    middle.set_ylabel("ln V / n − line")
    bottom.set_title("slope from size to size", loc="left")
    bottom.set_ylabel("local slope")
    bottom.set_xlabel("training-set size D (samples)")
    marks.log_ticks(bottom.xaxis)


def _label(line: Slope | None) -> str:
    """Return what the legend says of a line, with two digits of its error."""
    if line is None:
        return "too few points"
    if not line.straight:
        bend = f"{line.bend:+.1f}".replace("-", "\N{MINUS SIGN}")
        return f"no power law, bend {bend} errors"
    digits = min(6, max(2, 1 - math.floor(math.log10(line.error)))) if line.error > 0 else 6
    slope = f"{line.slope:+.{digits}f} ± {line.error:.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return f"{slope}, $R^2$ = {line.r_squared:.2f}"


if __name__ == "__main__":
    output.main(draw, __doc__)
