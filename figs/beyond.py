"""Every minimum in landscapes between and beyond the training sets, beside the toy diagram; which is the largest."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from minima_volume.analysis import claims, overtaking, tables
from minima_volume.analysis.study_settings import StudySettings
from minima_volume.drawing import marks, output, style
from toy_models import volume_vs_data as toy

STRIPS = {"typical": "rays", "own": "sampler", "first": "same unit"}
CROSS: dict[str, Any] = {"marker": "X", "mec": style.BLACK, "mew": 0.4, "lw": 0, "zorder": 6}
ALPHA = {"told": 1.0, "agreed": 0.45, "alone": 0.15}


def draw(scale: str) -> list[Path]:
    """Draw the toy diagram, and a panel with its strips for each study that has such landscapes."""
    have = tables.studies(scale)
    shown = {study: threshold for study, threshold in claims.BEYOND.items() if study in have}
    if not shown:
        return []
    style.use()
    n_rows = -(-(len(shown) + 1) // 2)
    size = style.DOUBLE_COLUMN, 0.9 + 2.9 * n_rows
    figure = plt.figure(figsize=size)
    grid = figure.add_gridspec(2 * n_rows, 2, height_ratios=[3.2, 1] * n_rows)
    panels = [figure.add_subplot(grid[2 * (i // 2), i % 2]) for i in range(len(shown) + 1)]
    _toy(panels[0])
    overtaken, pairs = 0, 0
    for number, (study, threshold) in enumerate(shown.items(), start=1):
        frames = overtaking.estimates_everywhere(scale, study, threshold)
        strips = figure.add_subplot(grid[2 * (number // 2) + 1, number % 2], sharex=panels[number])
        last = int(tables.volumes(scale, study)["landscape"].max())
        count, some = _panel(panels[number], strips, frames, tables.settings(scale, study), last)
        overtaken, pairs = overtaken + count, pairs + some
    style.label_panels(panels)
    marks.title(
        figure,
        f"{overtaken} of {pairs} minima are overtaken while they fit: ahead of the next one at their own size and behind it "
        "where they last fit, in every repeat by more than two errors",
    )
    figure.legend(handles=_handles(), loc="outside lower center", ncols=2)
    return marks.close(figure, output.figure_path(scale, "beyond"), quick=scale == "quick")


def _toy(axes: Axes) -> None:
    """Draw the toy diagram, where each minimum is overtaken."""
    sizes = np.geomspace(20, 1e5, 100)
    axes.plot(sizes, toy.found_log_volume(sizes), color=style.BLACK, lw=1, ls=(0, (4, 2)))
    for trained, loss, color in zip(toy.SIZES, toy.NEW_LOSSES, style.level_colors(len(toy.SIZES)), strict=True):
        toy.draw_minimum(axes, trained, loss, color)
    axes.set(xscale="log", xlim=(sizes[0], sizes[-1]), ylim=(toy.BOTTOM, 900e3))
    axes.set_title("toy diagram", loc="left")
    axes.set_xlabel("samples of the landscape")
    axes.set_ylabel("log volume\n(nats, schematic)")
    style.nats(axes.yaxis)


def _panel(
    axes: Axes, strips: Axes, frames: dict[str, pd.DataFrame], settings: StudySettings, last: int
) -> tuple[int, int]:
    """Draw one study; return how many minima are certainly overtaken in typical directions, and how many could be."""
    frame = frames["typical"]
    levels = sorted(frame["level"].unique())
    colors = dict(zip(levels, style.level_colors(len(levels)), strict=True))
    # A mean over repeats would jump where one of them leaves the threshold.
    for (level, _), here in frame.sort_values("landscape").groupby(["level", "repeat"]):
        color, at = colors[level], here.set_index("landscape")["value"]
        axes.plot(settings.base + at.index, at, color=color, lw=0.8, alpha=0.8)
        if level in at.index:
            axes.plot(settings.base + level, at[level], color=color, **(toy.POINT | {"ms": 3.5, "mew": 0.5}))
        if at.index[-1] < last:
            axes.plot(settings.base + at.index[-1], at.iloc[-1], color=color, **(CROSS | {"ms": 3.5}))
    axes.set_xscale("log")
    axes.margins(x=0.05)
    marks.log_ticks(axes.xaxis)
    axes.tick_params(labelbottom=False)
    title = settings.title.removeprefix("Growing landscapes of ")
    axes.set_title(f"{title}, {marks.count_repeats(frame)}", loc="left")
    axes.set_ylabel("typical log volume\n$n$ E[ln $r$] (nats)")
    style.nats(axes.yaxis)
    shown = [name for name in STRIPS if name in frames]
    for row, name in enumerate(shown):
        _strip(strips, row, frames[name], colors, settings.base)
    strips.set_ylim(len(shown) - 0.5, -0.5)
    strips.set_yticks(range(len(shown)), [STRIPS[name] for name in shown])
    strips.tick_params(axis="y", length=0)
    strips.spines[["left", "right", "top"]].set_visible(False)
    strips.set_xlabel("samples of the landscape")
    marks.log_ticks(strips.xaxis)
    found = [
        bool((own["margin"] < -2 * own["error"]).all() and (end["margin"] > 2 * end["error"]).all())
        for _, own, end in overtaking.overtaken(frame)
    ]
    return sum(found), len(found)


def _strip(axes: Axes, row: int, frame: pd.DataFrame, colors: dict[int, str], base: int) -> None:
    """Draw in one row which minimum is the largest of each landscape: faint where that is within the errors."""
    found = overtaking.leaders(frame)
    sizes = base + np.array(sorted(found))
    # Each landscape reaches halfway to its neighbours.
    edges = np.exp(np.convolve(np.log(np.r_[sizes[0], sizes, sizes[-1]]), [0.5, 0.5], "valid"))
    for (_, leader), left, right in zip(sorted(found.items()), edges[:-1], edges[1:], strict=True):
        if leader.confidence == "differ":
            axes.barh(row, right - left, 0.7, left=left, color="none", edgecolor=style.GREY, lw=0, hatch="/////")
        else:
            alpha = ALPHA[leader.confidence]
            axes.barh(row, right - left, 0.7, left=left, color=colors[leader.level], alpha=alpha, lw=0)


def _handles() -> list[Line2D | Patch]:
    """Return the entries of the legend."""
    point = toy.POINT | {"color": style.GREY}
    return [
        Line2D([], [], label="its own training set", **(point | {"ms": 3.5, "mew": 0.5})),
        Line2D([], [], color=style.GREY, ms=4, label="the last landscape that a repeat fits", **CROSS),
        Patch(color=style.BLUE, label="strips: the largest, told in every repeat"),
        Patch(color=style.BLUE, alpha=ALPHA["agreed"], label="the largest in every repeat, within errors"),
        Patch(color=style.BLUE, alpha=ALPHA["alone"], label="the only one that fits"),
        Patch(facecolor="none", edgecolor=style.GREY, lw=0, hatch="/////", label="repeats differ"),
    ]  # fmt: skip
