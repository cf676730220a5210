"""Log volume of minima as data are added: each is the largest at its own size, then shrinks, and ends at its cutoff.

Up to its own size D a minimum shrinks slowly, because it fits the added examples. Every further example costs a loss ε:
the mean loss is ε(1 − D/size), and a quadratic basin loses (n/2)·ln(1 − mean loss / τ) nats. At the cutoff D/(1 − τ/ε)
the minimum itself reaches the threshold τ and has no volume. Minima of more data have a smaller ε.
"""

from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from minima_volume.drawing import style
from toy_models.closed_forms import Array, cutoff_size, lost_log_volume
from toy_models.diagram import render

THRESHOLD, N_PARAMS = 0.1, 100_000
SIZES = (100.0, 1000.0, 10_000.0)
NEW_LOSSES = (0.19, 0.145, 0.13)  # ε: mean loss of examples that the minimum was not trained on
FITTED_SLOPE, FOUND_SLOPE = -12e3, -48e3  # nats per e-fold of data: of one minimum while it fits; from one to the next
BOTTOM = 400e3
POINT: dict[str, Any] = {"marker": "o", "ms": 6.5, "mec": style.BLACK, "mew": 0.7, "zorder": 5, "ls": "none"}
CROSS = POINT | {"marker": "X", "ms": 7, "clip_on": False}


def found_log_volume(size: Array | float) -> Array:
    """Return the log volume of the minimum that training finds with this much data: a power law of the size."""
    return np.asarray(880e3 + FOUND_SLOPE * np.log(np.asarray(size) / 20))


def log_volume(size: Array, trained: float, new_loss: float) -> Array:
    """Return the log volume of one minimum in the landscape of each size."""
    fitted = found_log_volume(trained) + FITTED_SLOPE * np.log(size / trained)
    return fitted + lost_log_volume(size, trained, new_loss, THRESHOLD, N_PARAMS)


def draw_minimum(axes: Axes, trained: float, new_loss: float, color: str) -> None:
    """Draw one minimum: its curve, the point where it is found, and its cutoff on the x axis."""
    end = cutoff_size(trained, new_loss, THRESHOLD)
    alive = np.geomspace(20, end * (1 - 1e-9), 4000)
    axes.plot(alive, log_volume(alive, trained, new_loss), color=color, lw=1.5)
    axes.plot([end, end], [float(found_log_volume(end)), BOTTOM], color=color, lw=0.7, ls=":")
    axes.plot(trained, found_log_volume(trained), color=color, **POINT)
    axes.plot(end, BOTTOM, color=color, **CROSS)


def explain(axes: Axes) -> None:
    """Name the lines and marks that all minima share."""
    handles = [
        Line2D([], [], color=style.BLACK, lw=1, ls=(0, (4, 2)), label="found minimum at each data size"),
        Line2D([], [], color=style.GREY, lw=1.5, label="one minimum as data are added"),
        Line2D([], [], color=style.GREY, label="found here: the largest of its landscape", **POINT),
        Line2D([], [], color=style.GREY, label="cutoff: its mean loss passes the threshold", **CROSS),
    ]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.0, 1.0))


def draw() -> Figure:
    """Draw three minima, the curve of the minima found, and the cutoff of each."""
    figure, axes = plt.subplots(figsize=(style.SINGLE_COLUMN, 3.1))
    sizes = np.geomspace(20, 1e5, 100)
    axes.plot(sizes, found_log_volume(sizes), color=style.BLACK, lw=1, ls=(0, (4, 2)))
    for trained, new_loss, color in zip(SIZES, NEW_LOSSES, style.level_colors(len(SIZES)), strict=True):
        draw_minimum(axes, trained, new_loss, color)
    explain(axes)
    axes.set(xscale="log", xlim=(sizes[0], sizes[-1]), ylim=(BOTTOM, 900e3))
    axes.set(xlabel="data size of the landscape (examples)", ylabel="log volume (nats, schematic)")
    style.nats(axes.yaxis)
    return figure


if __name__ == "__main__":
    render("volume_vs_data", draw)
