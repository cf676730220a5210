"""Histograms of the radii of each minimum along random directions. Rays that never cross are drawn apart."""

from itertools import product
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from numpy.typing import NDArray

from minima_volume.analysis import radii as analysis_radii
from minima_volume.analysis import statements, tables
from minima_volume.drawing import marks, output, style
from minima_volume.errors import ResultsError

BINS = 40


def counts(found: analysis_radii.Radii, edges: NDArray[np.float64]) -> tuple[NDArray[np.int64], int]:
    """Return the number of directions in each bin of the radius, and of those that never cross."""
    crossed = np.exp(found.logs[~found.censored]) if found.inside else np.array([])
    return np.histogram(crossed, edges)[0], int(found.censored.sum())


def bins(found: list[analysis_radii.Radii]) -> NDArray[np.float64] | None:
    """Return equal steps in ln r over all radii that cross, or None if none does."""
    crossed = [radii.logs[~radii.censored] for radii in found if radii.inside]
    logs = np.concatenate(crossed) if crossed else np.array([])
    if not logs.size:
        return None
    margin = max(0.02 * np.ptp(logs), 1e-6)
    return np.exp(np.linspace(logs.min() - margin, logs.max() + margin, BINS + 1))


def draw(study: str, scale: str) -> list[Path]:
    """Draw the first repeat: a row for each level, a column for each threshold."""
    frame, settings = tables.volumes(scale, study), tables.settings(scale, study)
    repeat = int(frame["repeat"].min())
    found = analysis_radii.radii(scale, study, repeat, frame)
    levels, thresholds = sorted({level for level, _ in found}), tables.thresholds(tables.base_landscape(frame))
    edges = {t: bins([found[level, t] for level in levels]) for t in thresholds}
    if all(edge is None for edge in edges.values()):
        raise ResultsError(
            f"Expected rays of {study} that cross a threshold, got none in repeat {repeat}: choose a lower threshold."
        )
    style.use()
    size = (style.DOUBLE_COLUMN, 1.1 + 0.42 * len(levels))
    figure, grid = plt.subplots(len(levels), len(thresholds), figsize=size, sharex="col", squeeze=False)
    colors = style.level_colors(len(levels))
    for (row, level), (column, threshold) in product(enumerate(levels), enumerate(thresholds)):
        _histogram(grid[row, column], found[level, threshold], edges[threshold], colors[row])
    for column, threshold in enumerate(thresholds):
        grid[0, column].set_title(f"threshold {threshold:g}", loc="left")
        if edges[threshold] is not None:
            marks.log_ticks(grid[-1, column].xaxis)
            grid[-1, column].set_xlabel("radius |c·g|")
    for row, level in enumerate(levels):
        grid[row, 0].set_ylabel(f"{settings.shown(level):,}", rotation=0, ha="right", va="center")
    figure.supylabel(settings.level_axis, size=8)
    caption = [
        f"repeat {repeat}, base landscape, {len(found[levels[0], thresholds[0]].logs):,} directions",
        f"c·g in {'filter-normalised' if settings.normalise else 'raw'} coordinates",
        "black line: median, dashed: largest",
    ]
    if any(radii.censored.any() for radii in found.values()):
        caption.append("hatched: rays that never cross, drawn beyond the cap c = 1")
    largest = [radii for (_, threshold), radii in found.items() if threshold == thresholds[0] and radii.inside]
    medians = [float(np.exp(np.median(radii.logs))) for radii in largest]
    finding = (
        f"Median radii of {min(medians):.3g} to {max(medians):.3g} at threshold {thresholds[0]:g}" if medians else ""
    )
    beyond = sum(int(radii.censored.sum()) for radii in found.values() if radii.inside)
    return marks.finish(
        figure, [], frame, settings, scale, "radii", caption, finding=finding,
        warnings=statements.capped(beyond, sum(len(radii.logs) for radii in found.values() if radii.inside)),
    )  # fmt: skip


def _histogram(axes: Axes, found: analysis_radii.Radii, edges: NDArray[np.float64] | None, color: str) -> None:
    """Draw one minimum at one threshold, as shares of its directions."""
    axes.set_xscale("log")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    if not found.inside or edges is None:
        if edges is None:
            axes.tick_params(bottom=False, labelbottom=False, which="both")
        said = "no ray crosses" if found.inside else "above the threshold"
        axes.text(0.5, 0.4, said, transform=axes.transAxes, ha="center", size=6.5, color=style.GREY)
        return
    heights, beyond = counts(found, edges)
    axes.stairs(heights / len(found.logs), edges, fill=True, color=color)
    for position, line in ((np.median(found.logs), "-"), (found.logs.max(), "--")):
        axes.axvline(np.exp(position), color=style.BLACK, lw=0.8, ls=line)
    if beyond:
        place = max(found.cap, edges[-1])  # right of every ray that crosses, so that no bar hides another
        width = place * ((edges[1] / edges[0]) ** 2 - 1)
        axes.bar(place, beyond / len(found.logs), width, align="edge", color="white", edgecolor=color, hatch="////")
        axes.text(0.01, 0.7, f"{beyond} never cross", transform=axes.transAxes, size=6.5, color=style.GREY)


if __name__ == "__main__":
    output.main(draw, __doc__)
