"""Two readings of the volume hypothesis, as lines of log volume against log data size with one minimum found on each.

Each line is one minimum measured in landscapes of growing size. The point is the size at which training found it. The two
statements are our reading, in a form that the tables of this project can test.

Strong hypothesis: at every data size training finds the largest minimum of that landscape. The points lie on the upper
envelope of all lines, and one larger minimum that training did not find would refute it.

Weak hypothesis: volume is an advantage and no guarantee. Minima found with more data shrink more slowly, so each gains on
those found with less up to its own size. A still larger minimum may exist there, and the distance of the points from the
envelope is free.
"""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from minima_volume.drawing import style
from toy_models.diagram import render

SIZES = np.array([30.0, 300.0, 3000.0, 30000.0])
SLOPES = np.array([-66e3, -38e3, -19e3, -6e3])  # nats per e-fold of data; less steep for minima of more data
SHORTFALL = np.array([58e3, 46e3, 40e3, 62e3])  # nats below the envelope at the size where each was found
RANGE = np.geomspace(10, 1e5, 200)


def envelope_points() -> np.ndarray:
    """Return log volumes at SIZES for which each line is the highest at its own size: a convex chain of slopes."""
    steps = np.diff(np.log(SIZES)) * (SLOPES[:-1] + SLOPES[1:]) / 2
    return 820e3 + np.concatenate([[0.0], np.cumsum(steps)])


def lines(points: np.ndarray) -> np.ndarray:
    """Return the log volume of each minimum (rows) over RANGE: linear in the logarithm of the data size."""
    return np.asarray(points[:, None] + SLOPES[:, None] * np.log(RANGE / SIZES[:, None]))


def draw_minima(axes: Axes, points: np.ndarray, envelope: np.ndarray) -> None:
    """Draw the largest volume of each landscape, and for every minimum its line and the point where it was found."""
    axes.plot(RANGE, envelope, color=style.GREY, lw=6, alpha=0.3, label="largest minimum of the landscape")
    for size, point, line, color in zip(SIZES, points, lines(points), style.level_colors(len(SIZES)), strict=True):
        axes.plot(RANGE, line, color=color)
        axes.plot(size, point, "o", color=color, ms=6.5, mec=style.BLACK, mew=0.7, zorder=5)
    axes.set(xscale="log", xlim=(RANGE[0], RANGE[-1]), ylim=(380e3, 960e3), xlabel="data size $D$ (examples)")
    style.nats(axes.yaxis)


def draw() -> Figure:
    """Draw the strong hypothesis on the left and the weak one on the right, under the same envelope."""
    figure, (strong, weak) = plt.subplots(1, 2, figsize=(style.PAGE, 2.9), sharey=True)
    top = envelope_points()
    envelope = lines(top).max(axis=0)
    draw_minima(strong, top, envelope)
    draw_minima(weak, top - SHORTFALL, envelope)
    gap = {"color": style.VERMILION, "lw": 1.3, "ls": (0, (1.5, 1)), "zorder": 4}
    weak.vlines(SIZES, top - SHORTFALL, top, label="gap: a larger minimum that was not found", **gap)
    found = [
        Line2D([], [], color=color, marker="o", mec=style.BLACK, mew=0.7, label=f"{size:,.0f} examples")
        for size, color in zip(SIZES, style.level_colors(len(SIZES)), strict=True)
    ]
    strong.legend(handles=found, title="minimum found with", loc="lower left", alignment="left", title_fontsize=7)
    weak.legend(loc="upper right")
    strong.set_title("strong: training finds the largest minimum")
    weak.set_title("weak: training finds a large minimum")
    strong.set_ylabel("log volume (nats, schematic)")
    weak.set_ylabel("log volume (nats, schematic)")
    weak.tick_params(labelleft=True)
    style.label_panels((strong, weak))
    return figure


if __name__ == "__main__":
    render("volume_hypotheses", draw)
