"""Sharp minima generalise: losses along the same rays through two minima, beside volume and accuracy of all."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from figs.generalisation import points
from minima_volume.analysis import statements, tables
from minima_volume.drawing import marks, output, style
from minima_volume.errors import ResultsError
from minima_volume.storage import layout

STUDIES = ("mnist_data",)
TITLE = "The sharper minimum generalises"
LOSSES = {"train_loss": ("own training samples", style.BLUE), "test_loss": ("test samples", style.VERMILION)}


def draw(study: str, scale: str) -> list[Path]:
    """Draw losses along rays through the minima with the least and the most data, then accuracy against volume."""
    if study not in STUDIES:
        return []
    if not (layout.study_folder(scale, study) / layout.PROFILES).exists():
        raise ResultsError(f"Expected profiles of {study}, got none: run `make profiles SCALE={scale}`.")
    rows, frame, settings = tables.profiles(scale, study), tables.volumes(scale, study), tables.settings(scale, study)
    threshold = max(settings.thresholds)
    style.use()
    figure, panels = plt.subplots(1, 3, figsize=(style.DOUBLE_COLUMN, 2.8), width_ratios=(1, 1, 1.1))
    panels[1].sharey(panels[0])
    for axes, (_, part) in zip(panels, rows.groupby("level"), strict=False):
        _profile(axes, part, threshold)
    panels[0].set_ylabel("mean loss")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower left", ncols=2)
    _volumes(panels[2], points(frame), rows["level"].unique().tolist(), settings.base)
    caption = [
        f"a, b: {rows['direction'].nunique()} random directions in {marks.count_repeats(rows)} each, thick: mean of ln loss",
        f"dashed: threshold {threshold:g}",
        f"c: minima of {marks.count_repeats(frame)} in the landscape of the base samples at this threshold",
    ]
    titled, warned = replace(settings, title=TITLE), statements.lowest_elsewhere(rows)
    return marks.finish(figure, panels, frame, titled, scale, "profiles", caption, warnings=warned)


def _profile(axes: Axes, rows: pd.DataFrame, threshold: float) -> None:
    """Draw the loss of one level's minima along every ray, on training and on test samples."""
    for name, (label, color) in LOSSES.items():
        for _, ray in rows.groupby(["repeat", "direction"]):
            axes.plot(ray["radius"], ray[name], color=color, lw=0.5, alpha=0.35)
        means = np.exp(np.log(rows[["radius", name]].set_index("radius")[name]).groupby("radius").mean())
        axes.plot(means.index, means, color=color, lw=1.6, label=label)
    axes.axhline(threshold, color=style.BLACK, lw=0.8, ls="--")
    axes.set(yscale="log", xlabel="radius", xlim=rows["radius"].agg(["min", "max"]).tolist())
    axes.set_title(f"trained on {rows['n_train'].iloc[0]:,} samples", loc="left")


def _volumes(axes: Axes, rows: pd.DataFrame, shown: list[int], base: int) -> None:
    """Draw test accuracy against typical volume in the base landscape; names mark the levels of the other panels."""
    levels = sorted(rows["level"].unique())
    for level, color in zip(levels, style.level_colors(len(levels)), strict=True):
        part = rows[rows["level"] == level]
        axes.plot(part["typical_log_volume"], part["test_accuracy"], "o", color=color, ms=4)
        if level in shown:
            place = part["typical_log_volume"].mean(), part["test_accuracy"].max()
            axes.annotate(f"{base + level:,}", place, (0, 6), textcoords="offset points", ha="center", size=7)
    axes.margins(x=0.12, y=0.15)
    axes.set(xlabel="typical log volume\n$n$ E[ln $r$] (nats)", ylabel="test accuracy")
    style.nats(axes.xaxis)
    axes.set_title("volume and accuracy", loc="left")


if __name__ == "__main__":
    output.main(draw, __doc__)
