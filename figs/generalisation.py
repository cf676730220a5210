"""Test loss and test accuracy of every minimum against its volume in the base landscape, by two estimators."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from minima_volume.analysis import statements, tables
from minima_volume.analysis.study_settings import StudySettings
from minima_volume.drawing import marks, output, style
from minima_volume.errors import ResultsError

ESTIMATES = ("log_volume", "typical_log_volume")
OUTCOMES = {"test_loss": "test loss", "test_accuracy": "test accuracy"}


def points(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per minimum: the base landscape at the largest threshold."""
    base = tables.base_landscape(frame)
    return base[base["threshold"] == tables.thresholds(base)[0]]


def rank_correlation(rows: pd.DataFrame, column: str, outcome: str) -> float:
    """Return Spearman's ρ over the minima that have a volume, or NaN if there are fewer than three."""
    both = rows[[column, outcome]].dropna().rank()
    return float(np.corrcoef(both.T)[0, 1]) if both.nunique().min() >= 3 else float("nan")


def draw(study: str, scale: str) -> list[Path]:
    """Draw four panels: a column per estimator, a row per outcome."""
    frame, settings = tables.volumes(scale, study), tables.settings(scale, study)
    rows = points(frame)
    if rows["log_volume"].notna().sum() < 2:
        raise ResultsError(
            f"Expected minima below the threshold {rows['threshold'].iloc[0]:g}, "
            "got fewer than two: choose a larger threshold."
        )
    style.use()
    figure, grid = plt.subplots(2, 2, figsize=(style.DOUBLE_COLUMN, 4.6))
    for column, name in enumerate(ESTIMATES):
        for row, outcome in enumerate(OUTCOMES):
            _panel(grid[row, column], rows, name, outcome, settings)
        grid[1, column].set_xlabel(f"{tables.NAMES[name]} (nats)")
    handles = grid[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside right upper", title=settings.short_axis, title_fontsize=7)
    caption = [
        f"base landscape, threshold {rows['threshold'].iloc[0]:g}; bars: standard error of the volume",
        "ρ: Spearman's rank correlation over all minima",
        *marks.caveats(rows),
    ]
    finding, warned = statements.correlations(
        {name: rank_correlation(rows, name, "test_accuracy") for name in ESTIMATES}
    )
    return marks.finish(
        figure, grid.flat, frame, settings, scale, "generalisation", caption, finding=finding, warnings=warned
    )


def _panel(axes: Axes, rows: pd.DataFrame, column: str, outcome: str, settings: StudySettings) -> None:
    """Draw every minimum with the standard error of its volume, coloured by level."""
    levels, absent = sorted(rows["level"].unique()), []
    if outcome == "test_loss":
        axes.set_yscale("log")
    for level, color in zip(levels, style.level_colors(len(levels)), strict=True):
        here = rows[rows["level"] == level]
        for bound, face in ((False, color), (True, "white")):
            part = here[(here["status"] == "censored") == bound]
            label = f"{settings.shown(level):,}" if not bound else None
            axes.errorbar(
                part[column], part[outcome], xerr=part[f"{column}_se"], ls="none", marker="o", color=color, mfc=face,
                elinewidth=0.7, label=label,
            )  # fmt: skip
        absent.append((color, here.loc[here[column].isna(), outcome].tolist()))
    marks.crosses_left(axes, absent)
    if outcome == "test_loss":
        marks.log_ticks(axes.yaxis)
    axes.set_ylabel(OUTCOMES[outcome])
    style.nats(axes.xaxis)
    rho = rank_correlation(rows, column, outcome)
    axes.set_title(f"ρ = {rho:.2f}".replace("-", "\N{MINUS SIGN}"), loc="left")


if __name__ == "__main__":
    output.main(draw, __doc__)
