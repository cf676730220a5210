"""The loss on a plane of random directions around minima: little and much data, before and after grokking."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from minima_volume.analysis import statements, tables
from minima_volume.drawing import marks, output, style
from minima_volume.errors import ResultsError
from minima_volume.storage import layout

TITLE = "Little and much data, before and after grokking"

Floats = NDArray[np.float64]
PAIRS = {"modulo_grokking": "modulo_data"}  # the study of the figure: the study shown left of it
LOSSES = {"seen_loss": "loss on training pairs", "unseen_loss": "loss on unseen pairs"}
LINES = ("-", "--", ":")  # of thresholds, the largest first


@dataclass(frozen=True)
class Slice:
    """The plane around one minimum.

    Attributes:
        repeat: Number of the repeat.
        titles: What the minimum was trained on, and its accuracy on the other pairs.
        radius: Radii along either axis, shape (k,).
        losses: Mean losses (k, k) by name, rows upwards.
    """

    repeat: int
    titles: tuple[str, str]  # what it was trained on, and its accuracy on the rest
    radius: Floats
    losses: dict[str, Floats]


def planes(scale: str, study: str) -> list[Slice]:
    """Return the minima of a study's slices, the smallest level first.

    Raises:
        ResultsError: There are no slices. The message names the command that makes them.
    """
    if not (layout.study_folder(scale, study) / layout.SLICES).exists():
        raise ResultsError(f"Expected slices of {study}, got none: run `make slices SCALE={scale}`.")
    settings, table, found = tables.settings(scale, study), tables.volumes(scale, study), []
    for level, rows in tables.slices(scale, study).groupby("level"):
        grids = {name: rows.pivot(index="radius_2", columns="radius_1", values=name) for name in LOSSES}
        radius = grids["seen_loss"].columns.to_numpy(dtype=float)
        epochs = settings.recipe["epochs"] if settings.varies_data else level
        repeat, trained = int(rows["repeat"].iloc[0]), f"{rows['n_train'].iloc[0]:,} pairs,\n{epochs:,} epochs"
        unseen = table.loc[(table["repeat"] == repeat) & (table["level"] == level), "unseen_accuracy"].max()
        titles = trained, f"accuracy\n{unseen:.3f}" if np.isfinite(unseen) else "accuracy\nunknown"
        found.append(Slice(repeat, titles, radius, {name: grid.to_numpy(dtype=float) for name, grid in grids.items()}))
    return found


def draw(study: str, scale: str) -> list[Path]:
    """Draw a column for each minimum: the loss on its training pairs above, on all other pairs below."""
    if study not in PAIRS:
        return []
    found = planes(scale, PAIRS[study]) + planes(scale, study)
    settings, frame = tables.settings(scale, study), tables.volumes(scale, study)
    # Losses far from all thresholds would use up the colours.
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
    caption = _caption(found[0].repeat, settings.thresholds, int(frame["n_params"].iloc[0]))
    outside = sum(statements.outside_contours(each.losses["seen_loss"], settings.thresholds) for each in found)
    warned = [f"{outside} of {len(found)} minima lie outside their own contours"] if outside else []
    titled = replace(settings, title=TITLE)
    return marks.finish(figure, grid.flat, frame, titled, scale, "slices", caption, warnings=warned)


def _panel(axes: Axes, radius: Floats, loss: Floats, colors: LogNorm, thresholds: list[float]) -> AxesImage:
    """Draw the loss as colour, the thresholds that it crosses as lines, and the minimum as a dot."""
    half = (radius[1] - radius[0]) / 2  # the outer points are centres of pixels
    reach = (radius[0] - half, radius[-1] + half)
    image = axes.imshow(loss, origin="lower", extent=reach * 2, norm=colors, interpolation="bilinear")
    for threshold, line in zip(sorted(thresholds, reverse=True), LINES, strict=False):
        if loss.min() < threshold < loss.max():
            axes.contour(radius, radius, loss, [threshold], colors="white", linewidths=1.0, linestyles=line)
    axes.plot(0, 0, "o", ms=3, color="white", mec=style.BLACK, mew=0.6)
    axes.set(xlim=radius[[0, -1]], ylim=radius[[0, -1]])
    return image


def _caption(repeat: int, thresholds: list[float], n_params: int) -> list[str]:
    """Return the sentences below the figure; the cosine of the angle between two random directions is about 1/√n."""
    names = ("solid", "dashed", "dotted")
    lines = ", ".join(f"{name} {t:g}" for name, t in zip(names, sorted(thresholds, reverse=True), strict=False))
    return [
        f"repeat {repeat}, filter-normalised coordinates",
        f"$g_1$, $g_2$: random, orthogonal up to about {np.degrees(n_params**-0.5):.1f}°",
        "dot: the minimum",
        f"white: loss thresholds ({lines}); none where the loss does not cross it",
    ]


if __name__ == "__main__":
    output.main(draw, __doc__)
