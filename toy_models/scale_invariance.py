"""One function at two scales of its weights: exact areas agree, sampled ones agree in filter-normalised units only.

The model f(x) = w₁w₂x has the minima (a, 1/a), and the basin |w₁w₂ − 1| ≤ √τ has two infinite arms. The part that is
visible in straight lines from a minimum is finite, because the tangents to the far edge cut off the arms, and its area is
the same for every a: the rescaling (a·w₁, w₂/a) preserves areas and straight lines. A finite number of rays does not find
this area: raw directions rarely point along a stretched basin. In filter-normalised coordinates uᵢ = wᵢ/|wᵢ*| all minima
and all their radii are the same.
"""

from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minima_volume.drawing import style
from toy_models.closed_forms import Array, product_horizon, product_radii, product_star_area, sampled_area
from toy_models.diagram import render

SLACK = 0.5  # √τ: the basin is (w₁w₂ − 1)² ≤ τ = 0.25
LOOKS = {1.0: (style.BLUE, "-"), 3.0: (style.VERMILION, (0, (3, 2)))}  # scale a: colour, line
N_RAYS, N_EXPERIMENTS = 50, 800
NOTE: dict[str, Any] = {"size": 7, "arrowprops": {"arrowstyle": "-", "lw": 0.5, "shrinkB": 0}}
STRETCH = np.geomspace(1, 30, 15)
ANGLES = np.random.default_rng(1).uniform(0, 2 * np.pi, (N_EXPERIMENTS, N_RAYS))


def draw_basin(axes: Axes, extent: float) -> None:
    """Shade the basin between its two hyperbolas for positive weights."""
    w = np.linspace(0.02, extent, 2000)
    axes.fill_between(w, (1 - SLACK) / w, (1 + SLACK) / w, color=style.PALE, lw=0)
    axes.plot(w, 1 / w, color=style.GREY, lw=0.6, ls="--")
    axes.text(0.1, 0.97, "basin: infinite", size=7, va="top", color=style.GREY, transform=axes.transAxes)


def draw_star(axes: Axes, scale: float, units: Array) -> None:
    """Draw the part of the basin that is visible from one minimum, in the given units of the two weights."""
    color, line = LOOKS[scale]
    angles = np.linspace(0, 2 * np.pi, 6000)
    radii = product_radii(angles, scale, SLACK)
    edge = np.stack([scale + radii * np.cos(angles), 1 / scale + radii * np.sin(angles)]) / units[:, None]
    axes.fill(*edge, fc=color, alpha=0.2, lw=0)
    axes.plot(*edge, color=color, ls=line)
    axes.plot(scale / units[0], 1 / scale / units[1], "*", color=style.YELLOW, ms=8, mec=style.BLACK, mew=0.6, zorder=6)


def write_areas(axes: Axes, *, normalised: bool) -> None:
    """Write the exact visible area and the area that the first experiment samples from each minimum."""
    axes.text(
        0.97, 0.97, f"exact: {product_star_area(SLACK):.2f}", size=7, ha="right", va="top", transform=axes.transAxes
    )
    for row, (scale, (color, _)) in enumerate(LOOKS.items(), start=1):
        area, error = sampled_area(product_radii(ANGLES[0], 1.0 if normalised else scale, SLACK))
        text = f"{N_RAYS} rays, $a$ = {scale:g}: {area:.2f} ± {error:.2f}"
        axes.text(0.97, 0.97 - 0.09 * row, text, size=7, ha="right", va="top", color=color, transform=axes.transAxes)


def log_estimates(scales: Array) -> Array:
    """Return ln π⟨r²⟩ for minima of each scale (rows) in each experiment (columns), with the same directions."""
    return np.stack([np.log(np.pi * (product_radii(ANGLES, scale, SLACK) ** 2).mean(axis=1)) for scale in scales])


def draw_estimates(axes: Axes) -> None:
    """Draw median and central 68 % of the sampled log areas against the scale, with and without normalisation."""
    in_filter_units = np.ones(1)  # every minimum is at (1, 1) there
    for scales, color, name in ((STRETCH, style.VERMILION, "raw"), (in_filter_units, style.BLUE, "filter-normalised")):
        quantiles = np.quantile(log_estimates(scales), (0.16, 0.5, 0.84), axis=1)
        low, middle, high = np.broadcast_to(quantiles, (3, len(STRETCH)))
        axes.fill_between(STRETCH, low, high, color=color, alpha=0.22, lw=0)
        axes.plot(STRETCH, middle, color=color, lw=2, label=name)
    axes.axhline(np.log(product_star_area(SLACK)), color=style.BLACK, lw=1, ls="--", label="exact, every scale")
    axes.set(xscale="log", xlim=(STRETCH[0], STRETCH[-1]), xlabel="scale $a$ of the minimum $(a, 1/a)$")
    axes.set(ylabel="log area seen (nats)", xticks=[1, 3, 10, 30], xticklabels=["1", "3", "10", "30"])
    axes.set_title(f"{N_RAYS} rays, median and 68 %")
    axes.legend(loc="lower left")


def draw() -> Figure:
    """Draw the basin in raw and in filter-normalised coordinates, and the estimates against the scale."""
    figure, (raw, filtered, sampled) = plt.subplots(1, 3, figsize=(style.PAGE, 2.6))
    draw_basin(raw, 14)
    draw_basin(filtered, 5)
    for scale in LOOKS:
        draw_star(raw, scale, np.ones(2))
        draw_star(filtered, scale, np.array([scale, 1 / scale]))
    write_areas(raw, normalised=False)
    write_areas(filtered, normalised=True)
    touch, hit = product_horizon(1.0, SLACK)
    filtered.annotate("beyond this tangent\nthe arm is hidden", (touch + hit)[:, 1] / 2, (1.75, 2.3), **NOTE)
    raw.annotate("all minima, $w_1w_2 = 1$", (9.0, 1 / 9), (5.8, 1.5), **NOTE)
    raw.set(
        xlim=(0, 14),
        ylim=(0, 5),
        xlabel="$w_1$ (arbitrary units)",
        ylabel="$w_2$ (arbitrary units)",
        title="raw weights",
    )
    filtered.set(xlim=(0, 5), ylim=(0, 5), xlabel="$u_1 = w_1/|w_1^*|$", ylabel="$u_2 = w_2/|w_2^*|$")
    filtered.set_title("filter-normalised weights")
    draw_estimates(sampled)
    style.label_panels((raw, filtered, sampled))
    return figure


if __name__ == "__main__":
    render("scale_invariance", draw)
