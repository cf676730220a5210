"""How many directions it takes to order minima as all directions do, by largest radius and by typical volume."""

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from numpy.typing import NDArray

from minima_volume.analysis import radii as analysis_radii
from minima_volume.analysis import statements, tables
from minima_volume.drawing import marks, output, style
from minima_volume.errors import ResultsError

Floats = NDArray[np.float64]
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500)
SUBSETS = 500
MOST_ACROSS = 3  # the titles of more panels side by side touch each other
STATISTICS: dict[str, Callable[..., Floats]] = {"largest radius": np.max, "typical volume": np.mean}


def same_order(values: Floats, reference: Floats) -> NDArray[np.bool_]:
    """Return whether values order the minima as reference values do, ties included.

    Args:
        values: Values, shape (…, minima).
        reference: Reference values, shape (minima,).

    Returns:
        A bool for each row, shape (…).
    """
    signs = np.sign(values[..., :, None] - values[..., None, :])
    agree = np.equal(signs, np.sign(reference[:, None] - reference[None, :]))
    return np.asarray(np.all(agree, axis=(-1, -2)))


def probability(logs: Floats, size: int, statistic: Callable[..., Floats], *, seed: int = 0) -> float:
    """Return the share of random subsets of directions that order the minima as all directions do.

    Subsets are drawn without replacement, so the share of full-size subsets is 1 by construction.

    Args:
        logs: ln r, shape (minima, directions).
        size: Directions per subset.
        statistic: Function of radii along an axis, such as `np.max`.
        seed: Seed of the subsets.
    """
    chosen = subsets(logs.shape[1], size, seed)
    return float(same_order(statistic(logs[:, chosen], axis=-1).T, statistic(logs, axis=1)).mean())


@cache
def subsets(n_directions: int, size: int, seed: int) -> NDArray[np.int64]:
    """Return random subsets (SUBSETS, size) without repetition; the same for every study and repeat."""
    rng = np.random.default_rng([seed, size])
    return np.stack([rng.choice(n_directions, size, replace=False) for _ in range(SUBSETS)])


def ranked(found: dict[tuple[int, float], analysis_radii.Radii], threshold: float) -> Floats:
    """Return ln r (minima, directions) of the minima below a threshold. Rays that never cross count at the cap."""
    rows = [radii.logs for (_, bound), radii in found.items() if bound == threshold and radii.inside]
    return np.stack(rows) if rows else np.empty((0, 0))


def draw(study: str, scale: str) -> list[Path]:
    """Draw a panel for each threshold: thin lines are repeats, thick ones their mean."""
    frame, settings = tables.volumes(scale, study), tables.settings(scale, study)
    numbers = analysis_radii.repeats(scale, study, frame) or [int(frame["repeat"].min())]
    found = [analysis_radii.radii(scale, study, number, frame) for number in numbers]
    thresholds = tables.thresholds(tables.base_landscape(frame))
    if max(len(ranked(radii, t)) for radii in found for t in thresholds) < 2:
        raise ResultsError(
            f"Expected two minima of {study} to rank, got fewer below any threshold: choose a larger one."
        )
    style.use()
    down = math.ceil(len(thresholds) / MOST_ACROSS)
    across = math.ceil(len(thresholds) / down)
    size = (style.DOUBLE_COLUMN, 0.6 + 1.9 * down)
    figure, grid = plt.subplots(down, across, figsize=size, sharey=True, squeeze=False)
    panels = list(grid.flat)[: len(thresholds)]
    for axes in grid.flat[len(thresholds) :]:
        axes.remove()
    ends: dict[str, list[float]] = {label: [] for label in STATISTICS}
    for axes, threshold in zip(panels, thresholds, strict=True):
        for label, share in _panel(axes, [ranked(radii, threshold) for radii in found]).items():
            ends[label].append(share)
        axes.set_title(f"threshold {threshold:g}", loc="left")
    for axes in panels[-across:]:
        axes.set_xlabel("directions k")
    for axes in grid[:, 0]:
        axes.set_ylabel("probability of the order\nby all directions")
    first = next(axes for axes in panels if axes.lines)
    grid[0, -1].legend(*first.get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(1, 1.05))
    caption = [
        f"{len(found)} repeat{'s' * (len(found) > 1)}, {SUBSETS} random subsets for each k",
        "dotted: order by chance",
        "minima above the threshold are not ranked",
    ]
    warned = statements.uncertain_order({label: min(shares) for label, shares in ends.items()})
    return marks.finish(figure, panels, frame, settings, scale, "rank_stability", caption, warnings=warned)


def _panel(axes: Axes, repeats: list[Floats]) -> dict[str, float]:
    """Draw both statistics against k, up to half of the directions; return the probabilities there.

    Larger subsets mostly agree with themselves.
    """
    usable = [logs for logs in repeats if len(logs) > 1]
    axes.set_xscale("log")
    axes.set_ylim(-0.03, 1.03)
    if not usable:
        axes.set_xlim(1, 10)
        axes.text(0.5, 0.5, "fewer than two minima", transform=axes.transAxes, ha="center", size=7, color=style.GREY)
        marks.log_ticks(axes.xaxis)
        return {}
    sizes = [size for size in SIZES if 2 * size <= min(logs.shape[1] for logs in usable)]
    ends = {}
    for (label, statistic), color, marker in zip(STATISTICS.items(), (style.VERMILION, style.BLUE), "so", strict=True):
        curves = np.array([[probability(logs, size, statistic) for size in sizes] for logs in usable])
        axes.plot(sizes, curves.T, color=color, alpha=0.25, lw=0.7)
        axes.plot(sizes, curves.mean(axis=0), color=color, marker=marker, label=label)
        ends[label] = float(curves.mean(axis=0)[-1])
    chance = np.mean([1 / np.prod(np.arange(1.0, len(logs) + 1)) for logs in usable])
    marks.log_ticks(axes.xaxis)
    axes.axhline(float(chance), color=style.GREY, lw=0.8, ls=":")
    return ends


if __name__ == "__main__":
    output.main(draw, __doc__)
