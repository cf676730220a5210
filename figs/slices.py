"""The loss on a plane of random directions around minima: little data and much, before grokking and after."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from minima_volume.analysis import tables
from minima_volume.drawing import marks, output, style
from minima_volume.errors import ResultsError
from minima_volume.storage import layout

TITLE = "Little and much data, before and after grokking"

Floats = NDArray[np.float64]
PAIRS = {"modulo_grokking": "modulo_data"}  # the study whose figure it is, and the one that stands left of it
LOSSES = {"seen_loss": "loss on training pairs", "unseen_loss": "loss on unseen pairs"}
LINES = ("-", "--", ":")  # of the thresholds, largest first


@dataclass(frozen=True)
class Slice:
    """A minimum's plane: `radius` (k,) along either axis and the mean losses (k, k), rows upwards."""

    repeat: int
    titles: tuple[str, str]  # what it was trained on; how well it does on the rest
    radius: Floats
    losses: dict[str, Floats]


def planes(scale: str, study: str) -> list[Slice]:
    """The minima of a study's slices, the smallest level first; ResultsError with the command where there are none."""
    if not (layout.study_folder(scale, study) / "slices.csv").exists():
        raise ResultsError(f"Expected slices of {study}, got none: run `make slices SCALE={scale}`.")
    settings, table, found = tables.settings(scale, study), tables.volumes(scale, study), []
    for level, rows in tables.slices(scale, study).groupby("level"):
        grids = {name: rows.pivot(index="radius_2", columns="radius_1", values=name) for name in LOSSES}
        radius = grids["seen_loss"].columns.to_numpy(dtype=float)
        epochs = settings.recipe["epochs"] if settings.varies_data else level
        repeat, trained = int(rows["repeat"].iloc[0]), f"{rows['n_train'].iloc[0]:,} pairs,\n{epochs:,} epochs"
        unseen = table.loc[(table["repeat"] == repeat) & (table["level"] == level), "unseen_accuracy"].max()
        titles = trained, f"accuracy {unseen:.3f}" if np.isfinite(unseen) else "accuracy unknown"
        found.append(Slice(repeat, titles, radius, {name: grid.to_numpy(dtype=float) for name, grid in grids.items()}))
    return found


def draw(study: str, scale: str) -> list[Path]:
    """A column for each minimum; the loss on its training pairs above, on all other pairs below."""
    if study not in PAIRS:
        return []
    found = planes(scale, PAIRS[study]) + planes(scale, study)
    settings, frame = tables.settings(scale, study), tables.volumes(scale, study)
    # What lies far below or above all thresholds would use up the colours.
    colors = LogNorm(min(settings.thresholds) / 2, max(settings.thresholds) * 5)
    style.use()
    size = (style.DOUBLE_COLUMN, 4.1)
    figure, grid = plt.subplots(2, len(found), figsize=size, sharex=True, sharey=True, squeeze=False)
    for axes, each in zip(grid.T, found, strict=True):
        for panel, name, title in zip(axes, LOSSES, each.titles, strict=True):
            image = _panel(panel, each.radius, each.losses[name], colors, settings.thresholds)
            panel.set_title(title, loc="left")
        axes[1].set_xlabel("radius along $g_1$")
    for axes, label in zip(grid[:, 0], LOSSES.values(), strict=True):
        axes.set_ylabel(f"{label}\nradius along $g_2$")
    bar = figure.colorbar(image, ax=list(grid.flat), label="mean squared error", shrink=0.7, extend="both")
    marks.log_ticks(bar.ax.yaxis)
    caption = _caption(found[0].repeat, settings.thresholds)
    return marks.finish(figure, grid.flat, frame, replace(settings, title=TITLE), scale, "slices", caption)


def _panel(axes: Axes, radius: Floats, loss: Floats, colors: LogNorm, thresholds: list[float]) -> AxesImage:
    """The loss as colour, the thresholds that it crosses as lines, the minimum as a dot."""
    half = (radius[1] - radius[0]) / 2  # the picture's outer points are centres of its outer pixels
    reach = (radius[0] - half, radius[-1] + half)
    image = axes.imshow(loss, origin="lower", extent=reach * 2, norm=colors, interpolation="bilinear")
    for threshold, line in zip(sorted(thresholds, reverse=True), LINES, strict=False):
        if loss.min() < threshold < loss.max():
            axes.contour(radius, radius, loss, [threshold], colors="white", linewidths=1.0, linestyles=line)
    axes.plot(0, 0, "o", ms=3, color="white", mec=style.BLACK, mew=0.6)
    axes.set(xlim=radius[[0, -1]], ylim=radius[[0, -1]])
    return image


def _caption(repeat: int, thresholds: list[float]) -> list[str]:
    names = ("solid", "dashed", "dotted")
    lines = ", ".join(f"{name} {t:g}" for name, t in zip(names, sorted(thresholds, reverse=True), strict=False))
    return [
        f"repeat {repeat}, filter-normalised coordinates",
        "dot: the minimum",
        f"white: loss thresholds ({lines}); none where the loss does not cross it",
    ]


if __name__ == "__main__":
    output.main(draw, __doc__)
