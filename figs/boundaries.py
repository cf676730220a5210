"""Decision boundaries of minima that classify the two spirals, from few training points to many."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.special import expit

from minima_volume.analysis import dense, statements, tables
from minima_volume.analysis.study_settings import StudySettings
from minima_volume.drawing import marks, output, style
from minima_volume.errors import ResultsError
from minima_volume.storage import layout

Floats = NDArray[np.float64]
DATA = "swiss_roll"
TURNS = 1.7  # of each arm, as the data set has them
REACH, PIXELS = 13.0, 200  # half the side of the square that is drawn; points along it


def arms() -> tuple[Floats, Floats]:
    """Return the spirals without noise, class 0 and class 1, each (points, 2)."""
    angle = np.linspace(0, TURNS * 2 * np.pi, 400)
    arm = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * angle[:, None]
    return arm, -arm


def draw(study: str, scale: str) -> list[Path]:
    """Draw the first repeat: the probability of class 1 as colour and the boundary as a line, a panel per level."""
    settings = tables.settings(scale, study)
    if settings.data != DATA:
        return []
    frame = tables.volumes(scale, study)
    repeat = int(frame["repeat"].min())
    base = tables.base_landscape(frame[frame["repeat"] == repeat])
    rows = base[base["threshold"] == tables.thresholds(base)[0]].sort_values("level")
    folder = layout.repeat_folder(scale, study, repeat)
    paths = [layout.minimum_path(folder, int(level)) for level in rows["level"]]
    if not all(path.exists() for path in paths):
        raise ResultsError(
            f"Expected the minima of repeat {repeat}, got only tables: run `make {study} SCALE={scale}`."
        )
    style.use()
    columns = min(len(paths), 3)
    lines = -(-len(paths) // columns)
    size = (style.DOUBLE_COLUMN, 0.6 + 2.3 * lines)
    figure, grid = plt.subplots(lines, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    regions = {}
    for axes, path, (_, row) in zip(grid.flat, paths, rows.iterrows(), strict=False):
        count = _panel(axes, dense.read_layers(path), _title(settings, row))
        regions[int(row["level"])] = count, float(row["test_accuracy"])
    for axes in grid.flat[len(paths) :]:
        axes.remove()
    for axes in grid.flat[len(paths) - columns : len(paths)]:
        axes.tick_params(labelbottom=True)
    figure.colorbar(grid[0, 0].images[0], ax=list(grid.flat[: len(paths)]), label="probability of class 1", shrink=0.6)
    caption = [
        f"repeat {repeat}; axes: the two inputs",
        "black: decision boundary",
        "white: the spirals without noise, class 1 dashed",
        f"nats: ln E[$r^n$] in the base landscape, threshold {base['threshold'].max():g}",
    ]
    return marks.finish(
        figure,
        grid.flat[: len(paths)],
        frame,
        settings,
        scale,
        "boundaries",
        caption,
        warnings=statements.torn(regions),
    )


def _panel(axes: Axes, layers: dense.Layers, title: str) -> int:
    """Draw the probability of class 1 over the square, its contour at one half, and the spirals.

    Returns:
        The number of connected regions of either class.
    """
    side = np.linspace(-REACH, REACH, PIXELS)
    x, y = np.meshgrid(side, side)
    values = dense.outputs(layers, np.column_stack([x.ravel(), y.ravel()]))[:, 0].reshape(x.shape)
    square = (-REACH, REACH, -REACH, REACH)
    axes.imshow(expit(values), origin="lower", extent=square, cmap="coolwarm", vmin=0, vmax=1, interpolation="bilinear")
    if values.min() < 0 < values.max():
        axes.contour(x, y, values, [0.0], colors=style.BLACK, linewidths=0.9)
    for arm, line in zip(arms(), ("-", "--"), strict=True):
        axes.plot(*arm.T, line, color="white", lw=0.9)
    axes.set_xticks([-10, 0, 10])
    axes.set_yticks([-10, 0, 10])
    axes.set_title(title, loc="left", size=7)
    return int(sum(label(part)[1] for part in (values > 0, values <= 0)))


def _title(settings: StudySettings, row: "pd.Series[Any]") -> str:
    """Return what a minimum was trained on, its volume and its test accuracy."""
    extra = f"\n+ {row['level']:,} mislabelled" if settings.intervention == "poison" else ""
    points = settings.base if extra else settings.base + row["level"]
    nats = f"{row['log_volume']:,.0f} nats".replace("-", "\N{MINUS SIGN}")
    volume = "above threshold" if np.isnan(row["log_volume"]) else nats
    return f"{points:,} points{extra}\n{volume}\naccuracy {row['test_accuracy']:.3f}"


if __name__ == "__main__":
    output.main(draw, __doc__)
