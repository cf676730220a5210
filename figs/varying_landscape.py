"""Log volume of each minimum in every landscape up to its own, and the data size at which it exceeds the threshold."""

from pathlib import Path

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from minima_volume.analysis import statements, tables
from minima_volume.drawing import marks, output, style

MARGIN, APART = 0.08, 0.012  # as shares of the axis: outside the data, and between levels at one size
CUTOFF = "below: where each repeat's mean loss first exceeds the threshold (|: own size, >: nowhere in the data)"


def draw(study: str, scale: str) -> list[Path]:
    """Draw a column for each threshold: volumes above, cutoffs below, one colour for each training-set size."""
    settings = tables.settings(scale, study)
    if settings.landscapes != "nested":
        return []
    frame, cutoffs = tables.volumes(scale, study), tables.cutoffs(scale, study)
    rows = frame[frame["metric"] == "loss"]
    thresholds = tables.thresholds(rows)
    levels = sorted(rows["level"].unique())
    colors = dict(zip(levels, style.level_colors(len(levels)), strict=True))
    style.use()
    height = 3.1 + 0.13 * len(levels)
    figure, grid = plt.subplots(
        2, len(thresholds), figsize=(style.DOUBLE_COLUMN, height), sharex="col", sharey="row", squeeze=False,
        height_ratios=(2.2, 0.13 * len(levels)),
    )  # fmt: skip
    absent = []
    for upper, lower, threshold in zip(grid[0], grid[1], thresholds, strict=True):
        absent.append((upper, _volumes(upper, rows[rows["threshold"] == threshold], settings.base, colors)))
        _cutoffs(lower, cutoffs[cutoffs["threshold"] == threshold], settings.base, colors)
        upper.set_title(f"threshold {threshold:g}", loc="left")
        marks.log_ticks(lower.xaxis)
    marks.crosses(*absent)
    grid[0, 0].set_ylabel(f"{tables.NAMES['log_volume']} (nats)")
    style.nats(grid[0, 0].yaxis)
    grid[1, 0].set_ylabel("cutoff")
    grid[1, 0].set_xlabel("data size (samples)", loc="left")  # once: three of them would touch
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside right upper", title="trained on\n(samples)")
    caption = [marks.repeats(rows), "large dot: own landscape", CUTOFF, *marks.caveats(rows)]
    largest = rows[rows["threshold"] == thresholds[0]]
    return marks.finish(
        figure, grid[0], frame, settings, scale, "varying_landscape", caption,
        finding=statements.shrinking(largest, settings.base), warnings=statements.rising_with_data(largest),
    )  # fmt: skip


def _volumes(axes: Axes, frame: pd.DataFrame, base: int, colors: dict[int, str]) -> marks.Absent:
    """Draw a curve for each level, with its own landscape as a large dot; return where a row has no number."""
    axes.set_xscale("log")
    span = (base + max(colors)) / base
    axes.set_xlim(base * span**-MARGIN, base * span ** (1 + MARGIN))
    absent = []
    for place, (level, color) in enumerate(colors.items()):
        rows = frame[frame["level"] == level]
        aside = span ** (APART * (place - (len(colors) - 1) / 2))
        sizes = {landscape: aside * (base + landscape) for landscape in rows["landscape"]}
        table = tables.summary(rows, "log_volume", by="landscape")
        drawn = table[table["count"] > 0]
        at = [sizes[landscape] for landscape in drawn.index]
        label = f"{base + level:,}"
        axes.errorbar(at, drawn["mean"], drawn["spread"], color=color, marker="o", ms=2.5, capsize=1.5, label=label)
        if level in drawn.index:
            face, edge = ("white", color) if drawn["bound"][level] else (color, style.BLACK)
            axes.plot(sizes[level], drawn["mean"][level], "o", ms=7, mfc=face, mec=edge, zorder=3, clip_on=False)
        bounds = drawn[drawn["bound"] & (drawn.index != level)]
        axes.plot([sizes[landscape] for landscape in bounds.index], bounds["mean"], "o", color=color, mfc="white")
        absent.append((color, [sizes[landscape] for landscape in table.index[table["missing"] > 0]]))
    return absent


def _cutoffs(axes: Axes, cutoffs: pd.DataFrame, base: int, colors: dict[int, str]) -> None:
    """Draw a row for each level: its own size, the cutoff of each repeat, and an arrow if there is none."""
    for row, (level, color) in enumerate(colors.items()):
        here = cutoffs[cutoffs["level"] == level]
        ends = here["cutoff"].dropna()
        axes.plot(base + level, row, "|", color="black", ms=7, zorder=3, clip_on=False)
        axes.plot(ends, [row] * len(ends), "o", color=color, ms=3, alpha=0.7)
        if here["cutoff"].isna().any():
            axes.plot(here["n_samples"].max(), row, ">", color=color, mfc="white", zorder=4)
    axes.set_yticks(range(len(colors)), [f"{base + level:,}" for level in colors], size=6)
    axes.set_ylim(len(colors) - 0.4, -0.6)
    axes.grid(axis="y")


if __name__ == "__main__":
    output.main(draw, __doc__)
