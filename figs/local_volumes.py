"""ln γ of every minimum by subset simulation, against the level: in its own unit of length, in a common one, and at home."""

from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from minima_volume.analysis import tables as analysis_tables
from minima_volume.drawing import marks, output, style
from minima_volume.storage import layout
from minima_volume.storage import tables as storage_tables

# Landscape ("base", or "own" training samples), whose filter norms, and the title of the panel.
PANELS = (
    ("base", "own", "base landscape, own norms"),
    ("base", "first", "base landscape, norms of the first"),
    ("own", "own", "own training samples, own norms"),
)
NUMBERS = ("repeat", "level", "landscape", "threshold", "sigma", "log_gamma", "log_gamma_se", "log_gamma_within_se")


def read(study: str, scale: str) -> pd.DataFrame:
    """Return the rows of local_volumes.csv that have a value, with numbers as numbers."""
    path = layout.study_folder(scale, study) / layout.LOCAL_VOLUMES
    rows = storage_tables.read_table(path, layout.LOCAL_VOLUME_COLUMNS)
    frame = pd.DataFrame(rows, columns=list(layout.LOCAL_VOLUME_COLUMNS))
    for name in NUMBERS:
        frame[name] = analysis_tables.numbers(frame[name].tolist())
    return frame[frame["log_gamma"].notna()]


def select(frame: pd.DataFrame, landscape: str, norms: str) -> pd.DataFrame:
    """Return the rows of a panel; the first level has the same unit and samples in all of them."""
    first = frame["level"] == frame["level"].min()
    place = frame["landscape"] == (0 if landscape == "base" else frame["level"])
    return frame[place & ((frame["norms"] == norms) | (first & (frame["norms"] == "own")))]


def draw(study: str, scale: str) -> list[Path]:
    """Draw ln γ against the level, a line per width and repeat."""
    if not (layout.study_folder(scale, study) / layout.LOCAL_VOLUMES).exists():
        return []
    style.use()
    frame, settings = read(study, scale), analysis_tables.settings(scale, study)
    parts = [(select(frame, landscape, norms), title) for landscape, norms, title in PANELS]
    parts = [(rows, title) for rows, title in parts if rows["level"].nunique() > 1]
    levels = sorted(frame["level"].unique())
    widths = [width for width in sorted(frame["sigma"].unique()) if (frame["sigma"] == width).sum() > 2]
    figure, grid = plt.subplots(1, len(parts), figsize=(style.DOUBLE_COLUMN, 2.6), sharey=True, squeeze=False)
    colors = matplotlib.colormaps["viridis"]
    for axes, (rows, title) in zip(grid[0], parts, strict=True):
        for number, width in enumerate(widths):
            _line(axes, rows[rows["sigma"] == width], levels, colors(number / max(1, len(widths) - 0.5)), width)
        marks.level_ticks(axes, marks.places(map(int, levels)), crowded=max(levels) >= 10_000)
        axes.set_title(title, loc="left")
        axes.set_yscale("symlog", linthresh=1)
        axes.set_yticks([0, -1, -10, -100])
        axes.set_ylim(min(-30.0, 1.3 * float(frame["log_gamma"].min())), 0.3)
        style.nats(axes.yaxis)
    grid[0, 0].set_ylabel(r"ln $\gamma_\sigma$ (nats)")
    figure.supxlabel(settings.level_axis, fontsize=matplotlib.rcParams["axes.labelsize"])
    style.label_panels(grid[0])
    figure.suptitle(f"{settings.title}, loss threshold {frame['threshold'].iloc[0]:g}")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=7)
    if scale == "quick":
        style.mark_quick(figure)
    return style.save(figure, output.figure_path(scale, study, "local"))


def _line(axes: Axes, rows: pd.DataFrame, levels: list[float], color: object, width: float) -> None:
    """Draw one width: a line per repeat, hollow marks where the runs leave a doubt."""
    for _, own in rows.sort_values("level").groupby("repeat"):
        x = [levels.index(level) for level in own["level"]]
        error = own[["log_gamma_se", "log_gamma_within_se"]].max(axis=1)
        face = ["white" if status != "ok" else color for status in own["status"]]
        label = rf"$\sigma$ = {width:g}"
        axes.errorbar(x, own["log_gamma"], error, color=color, lw=0.8, label=label)
        axes.scatter(x, own["log_gamma"], s=12, facecolor=face, edgecolor=color, lw=0.8, zorder=3)


if __name__ == "__main__":
    output.main(draw, __doc__)
