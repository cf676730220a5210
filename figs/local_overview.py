"""ln γ at one width against the level for every study with local volumes, with rays where there are some."""

from pathlib import Path
from textwrap import fill

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from figs.local_volumes import select
from minima_volume.analysis import tables
from minima_volume.analysis.local import widths_by_values
from minima_volume.analysis.study_settings import StudySettings
from minima_volume.drawing import marks, output, style
from minima_volume.estimators.diagnostics import CONVERGED

COLUMNS = 3
TITLE_WIDTH = 24  # characters in a line above a panel
# Units of length, with the name of each in the legend and the fill of its marks.
UNITS = {"own": ("own norms", True), "first": ("norms of the first level", False)}


def draw(scale: str) -> list[Path]:
    """Draw a panel per study at the width with most levels, the widest of those."""
    found = {study: tables.local_volumes(scale, study) for study in tables.studies(scale)}
    frames = {study: frame for study, frame in found.items() if frame is not None and widest(frame) is not None}
    # Seeds on the same samples are equally large (docs/sharpness.md), and other landscapes have a figure of their own.
    known = {study: tables.settings(scale, study) for study in frames}
    frames = {
        study: frame for study, frame in frames.items()
        if known[study].level_means != "model_seed" and known[study].landscapes != "beyond"
    }  # fmt: skip
    if not frames:
        return []
    style.use()
    columns = min(COLUMNS, len(frames))
    n_rows = -(-len(frames) // columns)
    size = style.DOUBLE_COLUMN, 1.1 + 1.9 * n_rows
    figure, grid = plt.subplots(n_rows, columns, figsize=size, squeeze=False)
    for axes, (study, frame) in zip(grid.flat, frames.items(), strict=False):
        _panel(axes, frame, tables.orderings(scale, study), tables.settings(scale, study))
    for axes in grid.flat[len(frames) :]:
        axes.set_axis_off()
    for row in grid:
        row[0].set_ylabel(r"ln $\gamma_\sigma$ (nats)")
    style.label_panels(grid.flat[: len(frames)])
    named = {
        label: handle for axes in grid.flat for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=3)
    marks.title(
        figure, "Sampled volume of each minimum in the base landscape, in its own and in common units of length"
    )
    return marks.close(figure, output.figure_path(scale, "local_volumes"), quick=scale == "quick")


def widest(frame: pd.DataFrame) -> float | None:
    """Return the width with most trusted values below 0, in both units; the largest of those that tie, None without any."""
    return next(iter(widths_by_values(frame[frame["landscape"] == 0])), None)


def _panel(axes: Axes, frame: pd.DataFrame, rays: pd.DataFrame | None, settings: StudySettings) -> None:
    """Draw one study."""
    sigma, steps = widest(frame), marks.places(map(int, frame["level"].unique()), settings)
    at = frame[frame["sigma"] == sigma]
    blue, orange, *_ = style.series_colors(3)
    for (norms, (label, filled)), color in zip(UNITS.items(), (blue, orange), strict=True):
        for number, (_, own) in enumerate(select(at, "base", norms).sort_values("level").groupby("repeat")):
            low = own[own["status"] != "ok"]
            axes.plot(low["level"].map(steps), low["log_gamma"], "v", mfc="none", ms=5, color=color)
            own = own[own["status"] == "ok"]
            x = own["level"].map(steps)
            inside = color if filled else "white"
            axes.errorbar(x, own["log_gamma"], own["error"], color=color, lw=0.8, marker="o", ms=4, mfc=inside,
                          label=label if number == 0 else None)  # fmt: skip
    lowest = 1.15 * float((at["log_gamma"] - at["error"]).min()) - 0.02
    if rays is not None:
        known = (rays["estimator"] == "gamma") & rays["verdict"].isin(CONVERGED) & rays["level"].isin(steps)
        same = rays[known & (rays["sigma"] == sigma) & (rays["value"] >= lowest)]
        x = same["level"].map(steps).to_numpy() + 0.2
        axes.plot(x, same["value"], "s", ms=3, color=style.GREY, label="rays that converged" if len(x) else None)
    axes.set_ylim(lowest, -0.05 * lowest)
    axes.set_title(rf"{fill(settings.title, TITLE_WIDTH)}" + "\n" + rf"$\sigma$ = {sigma:g}", loc="left", fontsize=7)
    axes.set_xlabel(settings.level_axis, fontsize=7)
    marks.level_ticks(axes, steps, settings, crowded=True)
    style.nats(axes.yaxis)
