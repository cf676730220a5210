"""An L-shaped basin measured by rays from a minimum in one bar: rays never reach the hidden part of the other bar.

Rays stop at the first edge, so the estimate π⟨r²⟩ converges to the area that is visible in straight lines, and never to
the area of the basin. With few rays its error is large as well: the bar is long in a narrow range of angles, so that one
ray along it outweighs all others.
"""

from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minima_volume.drawing import style
from toy_models.closed_forms import Array, l_area, l_radii, l_star_area, sampled_area
from toy_models.diagram import render

ARM, WIDTH = 3.0, 0.5
CENTER = (1.1, 0.25)
N_RAYS = 20_000
OUTLINE = np.array([(0, 0), (ARM, 0), (ARM, WIDTH), (WIDTH, WIDTH), (WIDTH, ARM), (0, ARM)])


def angles() -> Array:
    """Return the same random directions for all panels."""
    return np.random.default_rng(7).uniform(0, 2 * np.pi, N_RAYS)


def draw_basin(axes: Axes) -> None:
    """Draw the basin and the part of it that is visible in straight lines from the minimum."""
    axes.fill(*OUTLINE.T, fc=style.PALE, ec=style.BLACK, lw=0.8)
    around = np.linspace(0, 2 * np.pi, 7200)
    seen = l_radii(around, ARM, WIDTH, CENTER)
    axes.fill(CENTER[0] + seen * np.cos(around), CENTER[1] + seen * np.sin(around), fc=style.SKY, alpha=0.55, lw=0)
    axes.text(WIDTH / 2, 1.9, "hidden", size=7, ha="center", va="center", rotation=90)
    axes.set(aspect="equal", xlim=(-0.1, 3.1), ylim=(-0.1, 3.1), xticks=range(4), yticks=range(4))
    axes.set(xlabel="$w_1$ (arbitrary units)", ylabel="$w_2$ (arbitrary units)")


def draw_rays(axes: Axes, n_rays: int, *, width: float, size: float) -> None:
    """Draw the first rays with their end points, and write the three areas."""
    directions = angles()[:n_rays]
    radii = l_radii(directions, ARM, WIDTH, CENTER)
    ends = CENTER[0] + radii * np.cos(directions), CENTER[1] + radii * np.sin(directions)
    there_and_back = [
        np.stack([end, np.full(n_rays, start)]).T.ravel() for start, end in zip(CENTER, ends, strict=True)
    ]
    axes.plot(*there_and_back, color=style.BLUE, lw=width)
    axes.plot(*ends, "o", color=style.VERMILION, ms=size, mew=0)
    axes.plot(*CENTER, "*", color=style.YELLOW, ms=8, mec=style.BLACK, mew=0.6, zorder=6)
    area, error = sampled_area(radii)
    seen, whole = l_star_area(ARM, WIDTH, CENTER), l_area(ARM, WIDTH)
    areas = f"sampled: {area:.2f} ± {error:.2f}\nseen in straight lines: {seen:.2f}\nwhole basin: {whole:.2f}"
    axes.text(0.75, 2.95, areas, size=7, va="top", linespacing=1.5)
    axes.set_title(f"{n_rays} rays from the minimum")


def draw_convergence(axes: Axes) -> None:
    """Draw the estimate and its standard error against the number of rays, with the two exact areas."""
    radii = l_radii(angles(), ARM, WIDTH, CENTER)
    counts = np.unique(np.geomspace(4, N_RAYS, 120).astype(int))
    areas, errors = np.array([sampled_area(radii[:count]) for count in counts]).T
    axes.axhline(l_area(ARM, WIDTH), color=style.BLACK, lw=1)
    axes.axhline(l_star_area(ARM, WIDTH, CENTER), color=style.BLUE, lw=1, ls="--")
    axes.fill_between(counts, areas - errors, areas + errors, color=style.VERMILION, alpha=0.25, lw=0)
    axes.plot(counts, areas, color=style.VERMILION)
    note: dict[str, Any] = {"x": 0.85 * N_RAYS, "size": 7, "ha": "right"}
    axes.text(y=l_area(ARM, WIDTH) - 0.05, s="whole basin", va="top", **note)
    axes.text(y=l_star_area(ARM, WIDTH, CENTER) - 0.25, s="seen in straight lines", va="top", color=style.BLUE, **note)
    axes.set(xscale="log", xlim=(4, N_RAYS), ylim=(0, 3.1), xlabel="number of rays", ylabel="area (units of $w_1 w_2$)")
    axes.set_title("estimate $\\pi\\langle r^2\\rangle$ ± standard error")


def draw() -> Figure:
    """Draw 12 rays, 360 rays, and the estimate for more rays."""
    figure, (few, many, limit) = plt.subplots(1, 3, figsize=(style.PAGE, 2.5), width_ratios=(1, 1, 1.05))
    draw_basin(few)
    draw_basin(many)
    draw_rays(few, 12, width=0.8, size=3)
    draw_rays(many, 360, width=0.12, size=1.2)
    draw_convergence(limit)
    style.label_panels((few, many, limit))
    return figure


if __name__ == "__main__":
    render("l_shaped_basin", draw)
