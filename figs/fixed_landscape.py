"""Log volume of every minimum of a study in the base landscape, against the level."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from minima_volume.analysis import statements, tables
from minima_volume.analysis.study_settings import StudySettings
from minima_volume.drawing import marks, output, style

# Levels up to which the legend names each.
MOST_ROWS = 12


def draw(study: str, scale: str) -> list[Path]:
    """Draw the volume against the level at each threshold, and test accuracy against volume at the largest."""
    frame, settings = tables.volumes(scale, study), tables.settings(scale, study)
    base = tables.base_landscape(frame)
    style.use()
    height = 2.7 + 0.13 * max(0, base["level"].nunique() - 6)  # the legend has a line for each level
    figure, (left, right) = plt.subplots(1, 2, figsize=(style.DOUBLE_COLUMN, height), width_ratios=(1.1, 1))
    _levels(left, base, settings)
    _accuracy(right, base, settings)
    natural = ["▲: found with the base data alone"] if settings.varies_data else []
    caption = [*natural, *marks.caveats(base)]
    return marks.finish(
        figure, (left, right), frame, settings, scale, "", caption,
        finding=statements.along_levels(statements.at_largest_threshold(base)),
        warnings=statements.crossing_thresholds(base),
    )  # fmt: skip


def _levels(axes: Axes, base: pd.DataFrame, settings: StudySettings) -> None:
    """Draw one curve for each threshold. The minimum of the base data alone is a triangle."""
    steps, absent = marks.places(base["level"], settings), []
    thresholds = tables.thresholds(base)
    for number, (threshold, color) in enumerate(zip(thresholds, style.series_colors(len(thresholds)), strict=True)):
        here = base[base["threshold"] == threshold]
        beside = marks.beside(steps, number, len(thresholds))
        absent.append((color, marks.series(axes, here, beside, "log_volume", color=color, label=f"{threshold:g}")))
        if settings.varies_data:
            natural = tables.summary(here, "log_volume").loc[min(steps)]
            if natural["missing"]:
                continue
            face = "white" if natural["bound"] else color
            axes.plot(beside[min(steps)], natural["mean"], "^", ms=7, color=color, mfc=face, zorder=4)
    marks.crosses((axes, absent))
    marks.level_ticks(axes, steps, settings)
    axes.set_xlabel(settings.level_axis)
    axes.set_ylabel(f"{tables.NAMES['log_volume']} (nats)")
    style.nats(axes.yaxis)
    axes.set_title(marks.repeats(base), loc="left")
    axes.legend(title="loss\nthreshold", title_fontsize=7, loc="upper left", bbox_to_anchor=(1, 1.05))


def _accuracy(axes: Axes, base: pd.DataFrame, settings: StudySettings) -> None:
    """Draw each minimum as a point, coloured by level."""
    threshold = tables.thresholds(base)[0]
    here = base[base["threshold"] == threshold]
    levels, absent = sorted(base["level"].unique()), []
    for level, color in zip(levels, style.level_colors(len(levels)), strict=True):
        points = here[here["level"] == level]
        for bound, face in ((False, color), (True, "white")):
            part = points[(points["status"] == "censored") == bound]
            label = f"{settings.shown(level):,}" if not bound else None
            axes.plot(part["log_volume"], part["test_accuracy"], "o", color=color, mfc=face, label=label)
        absent.append((color, points.loc[points["log_volume"].isna(), "test_accuracy"].tolist()))
    marks.crosses_left(axes, absent)
    axes.set_xlabel(f"log volume at threshold {threshold:g} (nats)")
    axes.set_ylabel("test accuracy")
    style.nats(axes.xaxis)
    axes.set_title("each minimum once", loc="left")
    handles, labels = axes.get_legend_handles_labels()
    # A legend that is higher than the panel would take its place, so of many levels some are named.
    rows = (
        np.arange(len(labels)) if len(labels) <= MOST_ROWS else np.linspace(0, len(labels) - 1, MOST_ROWS // 2).round()
    )
    axes.legend(
        [handles[int(row)] for row in rows], [labels[int(row)] for row in rows],
        title=settings.short_axis, title_fontsize=7, loc="upper left", bbox_to_anchor=(1, 1.05),
    )  # fmt: skip


if __name__ == "__main__":
    output.main(draw, __doc__)
