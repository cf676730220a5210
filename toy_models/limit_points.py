"""An invented landscape in which each ray shows one limit of measuring volume along rays.

Only ray 1 is simple. Ray 2 crosses the threshold, enters another basin and crosses twice more: only the first crossing
counts. Ray 3 follows a channel and never crosses within the largest coefficient: its radius is censored. Ray 4 grazes the
edge of a neck: directions on its two sides have very different radii, and everything behind the edge is hidden. The
minimum with a cross is above the threshold: it has no basin and no volume.
"""

from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minima_volume.drawing import style
from toy_models.closed_forms import Array
from toy_models.diagram import render

THRESHOLD, CAP = 0.4, 3.4
CHANNEL = np.deg2rad(12.0)
SHALLOW = (1.5, 2.0)
CROSSING: dict[str, Any] = {"marker": "o", "ms": 5, "mec": "white", "mew": 0.5, "zorder": 5}
RAYS = {"1": 100.0, "2": 152.0, "3": 12.0, "4": 303.2}  # degrees
NAMES = ("crosses once", "crosses three times", "never crosses", "grazes an edge")
# x, y, depth and width of each well; a neck joins the third to the first
WELLS = ((0.0, 0.0, 1.0, 1.0), (-2.25, 1.2, 0.95, 0.62), (0.5, -1.7, 0.93, 0.9), (*SHALLOW, 0.5, 0.6))


def loss(x: Array, y: Array) -> Array:
    """Return ∏(1 − well) over Gaussian wells and one channel: 1 far away, 0 at the minimum in the origin."""
    along, across = x * np.cos(CHANNEL) + y * np.sin(CHANNEL), y * np.cos(CHANNEL) - x * np.sin(CHANNEL)
    result = 1 - 0.92 * np.exp(-((across / 0.3) ** 2)) / (1 + np.exp(-(along - 0.4) / 0.2))
    for at_x, at_y, depth, width in WELLS:
        result = result * (1 - depth * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / width**2))
    return np.asarray(result)


def radii(angles: Array) -> Array:
    """Return the first crossings of the threshold on rays from the origin, or the cap where there is none."""
    steps = np.linspace(0, CAP, 700)
    above = loss(np.outer(np.cos(angles), steps), np.outer(np.sin(angles), steps)) > THRESHOLD
    return np.where(above.any(axis=1), steps[above.argmax(axis=1)], CAP)


def draw_basins(axes: Axes) -> None:
    """Draw the basins, the part of the middle one that rays see, and the minimum without a basin."""
    side = np.linspace(-3.9, 3.9, 300)
    grid = np.meshgrid(side, side)
    values = loss(*grid)
    axes.contourf(*grid, values, levels=[-1, THRESHOLD], colors=[style.PALE])
    axes.contour(*grid, values, levels=[0.1, 0.9], colors=style.GREY, linewidths=0.35, alpha=0.6)
    around = np.linspace(0, 2 * np.pi, 1000)
    axes.fill(radii(around) * np.cos(around), radii(around) * np.sin(around), color=style.SKY, alpha=0.5, lw=0)
    axes.contour(*grid, values, levels=[THRESHOLD], colors=style.BLACK, linewidths=0.8)
    axes.plot(CAP * np.cos(around), CAP * np.sin(around), color=style.GREY, lw=0.6, ls=":")
    axes.plot(*SHALLOW, "X", color=style.YELLOW, ms=6, mec=style.BLACK, mew=0.6)
    axes.text(SHALLOW[0], SHALLOW[1] - 0.55, "above\nthreshold", size=6.5, ha="center", linespacing=0.95)
    axes.set(aspect="equal", xlim=side[[0, -1]], ylim=side[[0, -1]], title="basins (grey), what rays see (blue)")
    axes.set(xlabel="$u_1$ (filter units)", ylabel="$u_2$ (filter units)")


def draw_rays(axes: Axes, colors: dict[str, str]) -> None:
    """Draw the rays up to the largest radius and mark their first crossings."""
    for name, degrees in RAYS.items():
        angle = np.deg2rad([degrees])
        x, y, first = np.cos(angle)[0], np.sin(angle)[0], radii(angle)[0]
        axes.plot([0, CAP * x], [0, CAP * y], color=colors[name], lw=1.1)
        axes.text(1.07 * CAP * x, 1.07 * CAP * y, name, color=colors[name], weight="bold", ha="center", va="center")
        if first < CAP:
            axes.plot(first * x, first * y, color=colors[name], **CROSSING)
    axes.plot(0, 0, "*", color=style.YELLOW, ms=9, mec=style.BLACK, mew=0.6, zorder=6)


def draw_profiles(axes: Axes, colors: dict[str, str]) -> None:
    """Draw the loss along each ray and its first crossing."""
    steps = np.linspace(0, CAP, 500)
    axes.axhline(THRESHOLD, color=style.BLACK, lw=0.8, ls="--")
    for (name, degrees), text in zip(RAYS.items(), NAMES, strict=True):
        angle = np.deg2rad(degrees)
        axes.plot(
            steps, loss(steps * np.cos(angle), steps * np.sin(angle)), color=colors[name], label=f"{name}  {text}"
        )
        first = radii(np.array([angle]))[0]
        if first < CAP:
            axes.plot(first, THRESHOLD, color=colors[name], **CROSSING)
    axes.text(0.04, THRESHOLD + 0.015, "threshold", size=7, va="bottom")
    axes.set(
        xlim=(0, CAP),
        ylim=(0, 1.5),
        xlabel="radius $|u|$ (filter units)",
        ylabel="loss (arbitrary units)",
        title="loss along the rays",
    )
    axes.set(yticks=[0, 0.4, 1.0])
    axes.legend(loc="upper center", ncols=2)


def draw_radii(axes: Axes, colors: dict[str, str]) -> None:
    """Draw the first crossing against the direction: it jumps where rays graze an edge, and stops at the cap."""
    degrees = np.linspace(0, 360, 1441)
    first = radii(np.deg2rad(degrees))
    jumps = np.abs(np.diff(first, append=first[-1])) > 0.5
    axes.plot(degrees, np.where(jumps, np.nan, first), color=style.BLACK, lw=1)
    for name, angle in RAYS.items():
        axes.axvline(angle, color=colors[name], lw=0.9)
        axes.text(angle + 4, 2.55, name, color=colors[name], weight="bold")
    axes.axhline(CAP, color=style.GREY, lw=0.6, ls=":")
    axes.text(218, CAP - 0.06, "largest radius tried", size=7, ha="center", va="top")
    axes.set(
        xlim=(0, 360),
        ylim=(0, 3.8),
        xticks=range(0, 361, 90),
        xlabel="direction (degrees)",
        ylabel="radius $r$ (filter units)",
    )
    axes.set_title("radius in every direction")


def draw() -> Figure:
    """Draw the landscape, the loss along its rays and the radius in all directions."""
    figure, panels = plt.subplot_mosaic("ab;ac", figsize=(style.PAGE, 3.7), width_ratios=(1.15, 1))
    colors = dict(zip(RAYS, style.series_colors(len(RAYS)), strict=True))
    draw_basins(panels["a"])
    draw_rays(panels["a"], colors)
    draw_profiles(panels["b"], colors)
    draw_radii(panels["c"], colors)
    style.label_panels(panels.values())
    return figure


if __name__ == "__main__":
    render("limit_points", draw)
