"""Log volume of every minimum of a study in the base landscape, against the amount of its intervention."""

from pathlib import Path

import pandas as pd
import tables
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

import style


def draw(study: str, scale: str) -> list[Path]:
    """Volume against level at each threshold, and test accuracy against volume at the first."""
    frame, settings = tables.volumes(scale, study), tables.settings(scale, study)
    base = frame[(frame["landscape"] == 0) & (frame["metric"] == "loss")]
    style.use()
    figure, (left, right) = plt.subplots(1, 2, figsize=(style.DOUBLE_COLUMN, 2.7), width_ratios=(1.25, 1))
    _levels(left, base, settings)
    _accuracy(right, base, settings)
    figure.suptitle(f"{settings['title']} — data: {frame['data'].iloc[0]}", x=0.01, ha="left")
    style.label_panels((left, right))
    if scale == "quick":
        style.mark_quick(figure)
    return style.save(figure, tables.output(scale, study))


def _levels(axes: Axes, base: pd.DataFrame, settings: dict[str, object]) -> None:
    """Repeats translucent, mean ± standard deviation over repeats; minima above the threshold as crosses on the axis."""
    levels = sorted(base["level"].unique())
    place = {level: i for i, level in enumerate(levels)}
    thresholds = sorted(base["threshold"].unique(), reverse=True)
    for threshold, color in zip(thresholds, style.series_colors(len(thresholds)), strict=True):
        here = base[base["threshold"] == threshold]
        for _, repeat in here.groupby("repeat"):
            axes.plot(repeat["level"].map(place), repeat["log_volume"], color=color, alpha=0.25, lw=0.8)
        drawn = here.dropna(subset="log_volume").groupby("level")["log_volume"]
        mean, spread = drawn.mean(), drawn.std(ddof=0)
        places = [place[level] for level in mean.index]
        axes.errorbar(places, mean, spread, color=color, marker="o", capsize=2, label=f"{threshold:g}")
        if levels[0] in mean.index:
            axes.plot(0, mean[levels[0]], marker="^", ms=8, color=color, ls="none")
        outside = here[here["status"] == "unconverged"]["level"].unique()
        axes.plot(
            [place[level] for level in outside],
            [0.03] * len(outside),
            "x",
            color=color,
            transform=axes.get_xaxis_transform(),
        )
    axes.set_xticks(range(len(levels)), [f"{level:,}" for level in levels])
    axes.set_xlabel(tables.level_axis(settings))
    axes.set_ylabel("log volume ln E[$r^n$] (nats)")
    style.nats(axes.yaxis)
    repeats = base["repeat"].nunique()
    axes.set_title(f"{repeats} repeat{'s' * (repeats > 1)}, mean ± s.d.; ▲ natural, × above threshold", loc="left")
    axes.legend(title="loss threshold", title_fontsize=7)


def _accuracy(axes: Axes, base: pd.DataFrame, settings: dict[str, object]) -> None:
    """Each minimum as a point, coloured by level."""
    threshold = base["threshold"].max()
    here = base[base["threshold"] == threshold].dropna(subset="log_volume")
    levels = sorted(base["level"].unique())
    for level, color in zip(levels, style.level_colors(len(levels)), strict=True):
        points = here[here["level"] == level]
        axes.plot(points["log_volume"], points["test_accuracy"], "o", color=color, label=f"{level:,}")
    axes.set_xlabel(f"log volume at threshold {threshold:g} (nats)")
    axes.set_ylabel("test accuracy")
    style.nats(axes.xaxis)
    axes.set_title("each minimum once", loc="left")
    axes.legend(title="level", title_fontsize=7)


if __name__ == "__main__":
    tables.run(draw, __doc__)
