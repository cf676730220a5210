"""Which minimum is the largest at each data size, in every study with nested landscapes, and where smaller ones end."""

from pathlib import Path

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from minima_volume.analysis import claims, estimates, tables
from minima_volume.analysis.checks import rows_at
from minima_volume.drawing import marks, output, style

COLUMNS = 3


def draw(scale: str) -> list[Path]:
    """Draw a panel for each study: n·E[ln r] of every minimum against the data size of the landscape, up to its own size."""
    have = tables.studies(scale)
    shown = {study: threshold for study, threshold in claims.NESTED.items() if study in have}
    if not shown:
        return []
    style.use()
    n_rows = -(-len(shown) // COLUMNS)
    columns = min(COLUMNS, len(shown))
    figure, grid = plt.subplots(n_rows, columns, figsize=(style.DOUBLE_COLUMN, 0.9 + 2.0 * n_rows), squeeze=False)
    found = [
        _panel(axes, scale, study, threshold)
        for axes, (study, threshold) in zip(grid.flat, shown.items(), strict=False)
    ]
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    style.label_panels(grid.flat[: len(shown)])
    ring = {"marker": "o", "lw": 0, "mfc": "none", "color": style.BLACK}
    figure.legend(
        handles=[
            Line2D([], [], color=style.level_colors(3)[0], label="least data (dark) to most (light)"),
            Line2D([], [], ms=8, label="largest measured, every repeat", **ring),
            Line2D([], [], color=style.GREY, ls=":", label="ends: above the threshold from here"),
        ],
        loc="outside lower center", ncols=2,
    )  # fmt: skip
    leads, count = (sum(numbers) for numbers in zip(*found, strict=True))
    marks.title(figure, f"The minimum of exactly the data reaches farthest in {leads} of {count} landscapes")
    return marks.close(figure, output.figure_path(scale, "reranking"), quick=scale == "quick")


def largest(frame: pd.DataFrame) -> pd.Series:
    """Return, for each landscape, the level whose value is the largest in every repeat; landscapes without one are missing.

    Args:
        frame: Rows of one estimator with `repeat`, `level`, `landscape` and `value`.
    """
    best = frame.loc[frame.groupby(["landscape", "repeat"])["value"].idxmax()]
    agreed = best.groupby("landscape")["level"].agg(["nunique", "first"])
    return agreed.loc[agreed["nunique"] == 1, "first"]


def _panel(axes: Axes, scale: str, study: str, threshold: float) -> tuple[int, int]:
    """Draw one study; return in how many landscapes the minimum of exactly its samples leads, and of how many."""
    settings = tables.settings(scale, study)
    volumes = rows_at(scale, study, threshold)
    frame = estimates.of_volumes(volumes)["typical"]
    n_params = int(volumes["n_params"].iloc[0])
    ends = tables.cutoffs(scale, study)
    ends = ends[ends["threshold"] == threshold].groupby("level")["cutoff"].agg(["median", "count", "size"])
    means = frame.groupby(["level", "landscape"])["value"].mean() / n_params
    levels = sorted(frame["level"].unique())
    top, bottom = means.max(), means.min()
    for level, color in zip(levels, style.level_colors(len(levels)), strict=True):
        here = means.loc[level]
        axes.plot(settings.base + here.index, here, "o-", ms=3, color=color)
        # A minimum ends where the median repeat does, if it ends in every repeat.
        if level in ends.index and ends.loc[level, "count"] == ends.loc[level, "size"]:
            end = ends.loc[level, "median"]
            axes.plot([end, end], [here.iloc[-1], bottom - 0.12 * (top - bottom)], ":", color=color, lw=0.9)
    winners = largest(frame)
    axes.plot(settings.base + winners.index, [means.loc[level, landscape] for landscape, level in winners.items()], "o",
              ms=8, mfc="none", color=style.BLACK, mew=0.8)  # fmt: skip
    axes.set_xscale("log")
    axes.set_ylim(bottom - 0.12 * (top - bottom), top + 0.1 * (top - bottom))
    marks.log_ticks(axes.xaxis)
    axes.set_title(f"{study}\nthreshold {threshold:g}", loc="left", fontsize=7)
    axes.set_xlabel("samples of the landscape", fontsize=7)
    axes.set_ylabel("typical volume / n (nats)", fontsize=7)
    led = sum(landscape == level for landscape, level in winners.items())
    count = frame["landscape"].nunique()
    said = f"own size leads in\n{led} of {count}"
    axes.text(0.98, 0.97, said, transform=axes.transAxes, ha="right", va="top", size=6.5, color=style.GREY)
    return led, count
