"""Log volume per parameter of each minimum in its own landscape, against training-set size, with fitted slopes."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from minima_volume.analysis import tables
from minima_volume.analysis.power_law import Slope, fit, points
from minima_volume.drawing import marks, output, style
from minima_volume.errors import ResultsError

ESTIMATES = ("log_volume", "typical_log_volume")


def draw(study: str, scale: str) -> list[Path]:
    """Draw ln E[rⁿ] on the left and the typical volume on the right, a colour for each threshold."""
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
    figure, panels = plt.subplots(1, 2, figsize=(style.DOUBLE_COLUMN, 3.4))
    lines = [
        line
        for axes, column in zip(panels, ESTIMATES, strict=True)
        for line in _panel(axes, points(frame, settings.base, column), column)
    ]
    many = own["repeat"].nunique() > 1
    error = "mean over repeats ± standard error of the mean" if many else "± standard error"
    caption = ["minima, each in its own landscape"]
    if any(line.straight for line in lines):
        caption.append(f"slope: {error}, least squares in ln D")
    if not all(line.straight for line in lines):
        caption.append(
            "dotted: a parabola fits better at 95 % confidence (bend: its second coefficient in standard errors)"
        )
    caption += marks.caveats(own)
    return marks.finish(figure, panels, frame, settings, scale, "power_law", caption)


def _panel(axes: Axes, rows: pd.DataFrame, column: str) -> list[Slope]:
    """Draw points and fitted line of each threshold; the legend gives the slopes. Return the lines."""
    axes.set_xscale("log")
    thresholds, absent, lines = tables.thresholds(rows), [], []
    for threshold, color in zip(thresholds, style.series_colors(len(thresholds)), strict=True):
        here = rows[rows["threshold"] == threshold]
        line = fit(here)
        if line is not None:
            lines.append(line)
            ends = np.array([here["log_size"].min(), here["log_size"].max()])
            dashes = "-" if line.straight else ":"
            axes.plot(np.exp(ends), line.intercept + line.slope * ends, dashes, color=color)
        for bound, face in ((False, color), (True, "white")):
            part = here[(here["status"] == "censored") == bound]
            label = None if bound else _label(threshold, line)
            sizes = np.exp(part["log_size"])
            axes.plot(sizes, part["per_parameter"], "o", color=color, mfc=face, alpha=0.7, ms=3, label=label)
        absent.append((color, np.exp(here.loc[here["per_parameter"].isna(), "log_size"]).tolist()))
    marks.crosses((axes, absent))
    marks.log_ticks(axes.xaxis)
    axes.set_xlabel("training-set size D (samples)")
    axes.set_ylabel("ln V / n (nats)")
    axes.set_title(tables.NAMES[column], loc="left")
    title = "threshold: slope d(ln V / n) / d ln D"
    axes.legend(
        title=title,
        title_fontsize=7,
        alignment="left",
        loc="upper left",
        bbox_to_anchor=(-0.02, -0.25),
        borderaxespad=0,
    )
    return lines


def _label(threshold: float, line: Slope | None) -> str:
    """Return the legend's entry of a line, with two digits of its error."""
    if line is None:
        return f"{threshold:g}: too few points for a slope"
    if not line.straight:
        bend = f"{line.bend:+.1f}".replace("-", "\N{MINUS SIGN}")
        return f"{threshold:g}: no power law, bend {bend} errors, {line.n_points} points"
    digits = min(6, max(2, 1 - math.floor(math.log10(line.error)))) if line.error > 0 else 6
    slope = f"{line.slope:+.{digits}f} ± {line.error:.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return f"{threshold:g}: {slope}, $R^2$ = {line.r_squared:.2f}, {line.n_points} points"


if __name__ == "__main__":
    output.main(draw, __doc__)
