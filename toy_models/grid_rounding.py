"""Radii that are rounded up to a grid give log volumes in steps as large as the effects.

The published estimator takes the first of the coefficients c = (k/99)² whose loss is above the threshold as the radius
r = c·‖g‖. A log volume n·ln r can then only take the values n·ln((k/99)²√n), which lie 2n·ln((k+1)/k) ≈ 2n/k nats apart,
and it is always too large. The points are the log volumes that the original repository (arXiv 2511.04808) stores for its
MNIST network with n = 235,146 parameters: minima of 60 to 60,000 examples in the landscape of 60 at threshold 0.1.
"""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minima_volume.drawing import style
from toy_models.closed_forms import Array, grid_step, rounded_index
from toy_models.diagram import render

N_PARAMS, N_DIRECTIONS = 235_146, 500
SIZES = np.array([60, 600, 2000, 6000, 20_000, 60_000])
PUBLISHED = {  # nats, repeats 1 to 3
    "repeat 1": (922_978, 892_617, 843_233, 788_134, 767_783, 725_000),
    "repeat 2": (923_200, 893_060, 825_579, 807_315, 746_009, 724_951),
    "repeat 3": (937_900, 877_386, 825_660, 806_684, 767_752, 702_290),
}
FIRST, LAST = 18, 36
MARKS = ("o", "s", "^")


def log_volume(coefficient: Array) -> Array:
    """Return n·ln(c·√n) − ln N: one direction of typical norm determines the mean over N directions."""
    return np.asarray(N_PARAMS * np.log(coefficient * np.sqrt(N_PARAMS)) - np.log(N_DIRECTIONS))


def draw_staircase(axes: Axes) -> None:
    """Draw the log volume of the solved crossing and of the crossing rounded up to the grid."""
    true = np.linspace((22.4 / 99) ** 2, (28.3 / 99) ** 2, 3000)
    index = rounded_index(true)
    axes.plot(true, log_volume((index / 99) ** 2), color=style.VERMILION, label="rounded up to the grid")
    axes.plot(true, log_volume(true), color=style.BLUE, label="solved")
    height = float(grid_step(np.array(27.0), N_PARAMS))
    at, top = (27 / 99) ** 2, float(log_volume(np.array((28 / 99) ** 2)))
    axes.annotate(
        "", (at, top), (at, top - height), arrowprops={"arrowstyle": "<->", "lw": 0.7, "shrinkA": 0, "shrinkB": 0}
    )
    axes.text(
        at - 0.0005,
        top - 0.5 * height,
        f"$2n\\,\\ln(28/27)$ = {height / 1e3:.0f}k nats",
        size=7,
        ha="right",
        va="center",
    )
    axes.set(
        xlabel="coefficient $c$ where the loss crosses the threshold",
        title=f"one direction, $n$ = {N_PARAMS:,}",
    )
    axes.legend(loc="upper left")


def draw_published(axes: Axes) -> None:
    """Draw the published volumes and the only values that the grid allows."""
    index = np.arange(FIRST, LAST)
    levels = log_volume((index / 99) ** 2)
    axes.hlines(levels, 40, 1.2e5, color=style.GREY, lw=0.4)
    for k, level in zip((*index, "$k$"), (*levels, levels[-1] + 17e3), strict=True):
        axes.text(1.35e5, level, f"{k}", size=6, va="center", ha="left")
    looks = zip(
        (0.85, 1.0, 1.18), MARKS, style.series_colors(3), strict=True
    )  # side by side, so that equal volumes stay visible
    for (name, volumes), (shift, mark, color) in zip(PUBLISHED.items(), looks, strict=True):
        axes.plot(SIZES * shift, volumes, mark, color=color, ms=5, mec="white", mew=0.4, label=name)
    axes.set(xscale="log", xlim=(40, 1.2e5), xlabel="training-set size (examples)", title="published MNIST volumes")
    axes.legend(loc="upper right", frameon=True, framealpha=1, edgecolor="none")


def draw() -> Figure:
    """Draw the staircase that rounding makes, and the published volumes on its steps."""
    figure, (staircase, published) = plt.subplots(1, 2, figsize=(style.PAGE, 3.0))
    draw_staircase(staircase)
    draw_published(published)
    for axes in (staircase, published):
        axes.set_ylabel("log volume (nats)")
        style.nats(axes.yaxis)
    style.label_panels((staircase, published))
    return figure


if __name__ == "__main__":
    render("grid_rounding", draw)
