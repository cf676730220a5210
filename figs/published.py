"""Published numbers and ours: volumes by the published estimator, their differences, and test results."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from minima_volume.analysis import published, statements, tables
from minima_volume.drawing import marks, output, style
from minima_volume.errors import ResultsError

OURS, THEIRS = style.BLUE, style.VERMILION


def draw(study: str, scale: str) -> list[Path]:
    """Draw the comparison. There is none at quick scale, where networks and data are smaller."""
    theirs = published.published_rows(study)
    if scale != "paper" or theirs.empty:
        return []
    frame, settings = tables.volumes(scale, study), tables.settings(scale, study)
    rows = published.compare_study(frame, theirs)
    if rows.empty:
        raise ResultsError(
            f"Expected a level, landscape and threshold of {study} that were published too, "
            "got none: run the study with the published levels."
        )
    style.use()
    figure, grid = plt.subplots(2, 2, figsize=(style.DOUBLE_COLUMN, 4.8))
    panels = grid.ravel()
    steps = marks.places(rows["level"], settings)
    first = rows[rows["landscape"] == rows["landscape"].min()]
    threshold = first["threshold"].max()
    shown = (frame["metric"] == "loss") & (frame["threshold"] == threshold) & frame["level"].isin(steps)
    _volumes(panels[0], tables.base_landscape(frame[shown]), theirs[theirs["threshold"] == threshold], steps)
    panels[0].set_title(f"base landscape, threshold {threshold:g}", loc="left")
    _differences(panels[1], rows, steps)
    once = frame[frame["level"].isin(steps)].drop_duplicates(["repeat", "level"]).assign(status="ok")
    for axes, outcome in zip(panels[2:], ("test_loss", "test_accuracy"), strict=True):
        _outcome(axes, once, theirs[theirs["level"].isin(steps)], steps, outcome)
    for axes in panels:
        marks.level_ticks(axes, steps, settings, crowded=len(steps) > 5)
        axes.set_xlabel(settings.level_axis)
    caption = [
        f"ours: {marks.repeats(frame)}",
        "published: github.com/rfangit/minima-volume-project, each repeat a square",
        "grey: within one step of the grid, 2n/k nats, rounded",
        *(
            ["×: above the threshold"]
            if rows[["ours_without_volume", "published_without_volume"]].any(axis=None)
            else []
        ),
    ]
    known = rows.dropna(subset="grid_steps")
    close = int((known["grid_steps"].abs() <= 1.5).sum())
    return marks.finish(
        figure, panels, frame, settings, scale, "published", caption, warnings=statements.drifting(rows),
        finding=f"{close} of {len(known)} mean volumes agree with the published ones within one grid step",
    )  # fmt: skip


def _volumes(axes: Axes, ours: pd.DataFrame, theirs: pd.DataFrame, steps: dict[int, float]) -> None:
    """Draw both by the published grid rule in the base landscape, with published repeats as squares."""
    absent = [(OURS, marks.series(axes, ours, steps, "log_volume_grid", color=OURS, label="ours"))]
    base = theirs[(theirs["landscape"] == theirs["landscape"].min()) & theirs["level"].isin(steps)]
    known = base[np.isfinite(base["log_volume_grid"])]
    at = known["level"].map(steps) + 0.12
    axes.plot(at, known["log_volume_grid"], "s", color=THEIRS, mfc="none", label="published")
    gone = base[base["log_volume_grid"] == -np.inf]
    marks.crosses((axes, [*absent, (THEIRS, (gone["level"].map(steps) + 0.12).tolist())]))
    axes.set_ylabel("log volume on the\npublished grid (nats)")
    style.nats(axes.yaxis)
    axes.legend()


def _differences(axes: Axes, rows: pd.DataFrame, steps: dict[int, float]) -> None:
    """Draw ours minus published, means over repeats, a colour for each landscape and threshold."""
    groups = rows.dropna(subset="grid_steps").groupby(["landscape", "threshold"])
    axes.axhline(0, color=style.GREY, lw=0.6)
    axes.axhspan(-1.5, 1.5, color=style.PALE, lw=0)
    for (key, here), color in zip(groups, style.level_colors(len(groups)), strict=True):
        label = f"+{key[0]:,.0f} samples, {key[1]:g}"
        axes.plot(here["level"].map(steps), here["grid_steps"], "o-", color=color, label=label)
    axes.set_ylabel("ours − published\n(steps of its grid)")
    axes.set_title("difference", loc="left")
    axes.legend(title="landscape, threshold", title_fontsize=7, loc="upper left", bbox_to_anchor=(1, 1.05))


def _outcome(axes: Axes, once: pd.DataFrame, theirs: pd.DataFrame, steps: dict[int, float], outcome: str) -> None:
    """Draw a test result of the same minima."""
    marks.series(axes, once, steps, outcome, color=OURS, label="ours")
    axes.plot(theirs["level"].map(steps) + 0.12, theirs[outcome], "s", color=THEIRS, mfc="none", label="published")
    if outcome == "test_loss":
        axes.set_yscale("log")
        marks.log_ticks(axes.yaxis)
    stored = theirs[outcome].notna().any()
    axes.set_title("generalisation" if stored else "generalisation (none published)", loc="left")
    axes.set_ylabel(outcome.replace("_", " "))


if __name__ == "__main__":
    output.main(draw, __doc__)
