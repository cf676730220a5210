"""The data size at which the mean loss of each minimum first exceeds a threshold."""

from pathlib import Path
from textwrap import fill

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from minima_volume.analysis import statements, tables
from minima_volume.analysis.study_settings import StudySettings
from minima_volume.drawing import marks, output, style
from minima_volume.errors import ResultsError


def beyond_own(cutoffs: pd.DataFrame, base: int) -> pd.DataFrame:
    """Return the rows with `size`, the training-set size, and `beyond` = cutoff − size.

    `beyond` is NaN if the minimum stays below the threshold over all data, and not positive if its own training data
    already exceed it.
    """
    size = base + cutoffs["level"]
    return cutoffs.assign(size=size, beyond=cutoffs["cutoff"] - size)


def draw(study: str, scale: str) -> list[Path]:
    """Draw the cutoff against training-set size, and the number of new samples up to the cutoff."""
    settings = tables.settings(scale, study)
    if not settings.varies_data:
        return []
    rows = beyond_own(tables.cutoffs(scale, study), settings.base)
    if rows["cutoff"].isna().all():
        raise ResultsError(
            f"Expected a minimum of {study} that passes a threshold within its data, got none: choose a lower threshold."
        )
    style.use()
    figure, (left, right) = plt.subplots(1, 2, figsize=(style.DOUBLE_COLUMN, 2.9))
    _sizes(left, rows)
    _beyond(right, rows, settings)
    right.set_xlabel(fill(settings.level_axis, 24))
    caption = [
        f"cutoff: number of samples from which on the mean loss exceeds the threshold; {marks.count_repeats(rows)}, each a "
        "point",
        "dotted: a minimum that ends with its own training data",
        "bars: medians of those that end",
        "open ▲: stays below over all data",
    ]
    if (rows["beyond"] <= 0).any():
        caption.append("×: ends within its own training set")
    finding, warned = statements.cutoffs(statements.at_largest_threshold(rows))
    return marks.finish(
        figure, (left, right), rows, settings, scale, "cutoffs", caption, finding=finding, warnings=warned
    )


def _sizes(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw cutoffs against training-set size. On the diagonal a minimum ends with its own training data."""
    ends = [rows["size"].min(), rows["n_samples"].max()]
    if ends[1] > 5 * ends[0]:
        axes.set_xscale("log")
        axes.set_yscale("log")
    axes.plot(ends, ends, color=style.GREY, lw=0.8, ls=":")
    thresholds = tables.thresholds(rows)
    for threshold, color in zip(thresholds, style.series_colors(len(thresholds)), strict=True):
        here = rows[rows["threshold"] == threshold]
        never = here[here["cutoff"].isna()]
        axes.plot(here["size"], here["cutoff"], "o", color=color, alpha=0.5, ms=3, label=f"{threshold:g}")
        axes.plot(never["size"], never["n_samples"], "^", color=color, mfc="none")
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            marks.log_ticks(axis)
    axes.set_xlabel("training-set size (samples)")
    axes.set_ylabel("cutoff (samples)")
    axes.set_title("where minima end", loc="left")
    axes.legend(title="loss threshold", title_fontsize=7)


def _beyond(axes: Axes, rows: pd.DataFrame, settings: StudySettings) -> None:
    """Draw new samples up to the cutoff: minima that never end at the top, those that fail at once at the bottom."""
    steps, thresholds, absent = marks.places(rows["level"], settings), tables.thresholds(rows), []
    axes.set_yscale("log")
    colors = style.series_colors(len(thresholds))
    for number, (threshold, color) in enumerate(zip(thresholds, colors, strict=True)):
        here = rows[rows["threshold"] == threshold]
        at = here["level"].map(steps) + 0.16 * (number - (len(thresholds) - 1) / 2)
        good = here["beyond"] > 0
        axes.plot(at[good], here.loc[good, "beyond"], "o", color=color, alpha=0.5, ms=3)
        medians = here[good].groupby("level")["beyond"].median()
        axes.plot(sorted(set(at[good])), medians, "_", color=color, ms=8, mew=1.5)
        for place in at[here["beyond"].isna()].unique():
            axes.plot(place, 1, "^", color=color, mfc="none", transform=axes.get_xaxis_transform(), clip_on=False)
        absent.append((color, at[here["beyond"] <= 0].tolist()))
    marks.crosses((axes, absent))
    marks.log_ticks(axes.yaxis)
    low, high = axes.get_ylim()
    axes.set_yticks([tick for tick in axes.get_yticks() if max(low, 1) <= tick <= high and tick % 1 == 0])
    marks.level_ticks(axes, steps, settings)
    axes.set_ylabel("new samples\nuntil cutoff")
    axes.set_title("how far beyond their own data", loc="left")


if __name__ == "__main__":
    output.main(draw, __doc__)
