"""ln γ of every minimum by subset simulation, against the level: in its own unit of length, in a common one, and at home."""

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from minima_volume.analysis import statements, tables
from minima_volume.analysis.local import widths_by_values
from minima_volume.analysis.study_settings import StudySettings
from minima_volume.drawing import marks, output, style
from minima_volume.estimators.diagnostics import CONVERGED

# Landscape ("base", or "own" training samples), whose filter norms, and the title of the panel.
PANELS = (
    ("base", "own", "base, own norms"),
    ("base", "first", "base, first norms"),
    ("own", "own", "own samples,\nown norms"),
)


def select(frame: pd.DataFrame, landscape: str, norms: str) -> pd.DataFrame:
    """Return the rows of a panel; the first level has the same unit and samples in all of them."""
    first = frame["level"] == frame["level"].min()
    place = frame["landscape"] == (0 if landscape == "base" else frame["level"])
    return frame[place & ((frame["norms"] == norms) | (first & (frame["norms"] == "own")))]


def draw(study: str, scale: str) -> list[Path]:
    """Draw ln γ against the level, a line per width and repeat."""
    frame, rays = tables.local_volumes(scale, study), tables.orderings(scale, study)
    settings = tables.settings(scale, study)
    if frame is None or settings.landscapes == "beyond":
        return []
    style.use()
    parts = [(select(frame, landscape, norms), title) for landscape, norms, title in PANELS]
    parts = [(rows, title) for rows, title in parts if rows["level"].nunique() > 1]
    steps = marks.places(map(int, frame["level"].unique()), settings)
    widths = [width for width in sorted(frame["sigma"].unique()) if (frame["sigma"] == width).sum() > 2]
    figure, grid = plt.subplots(1, len(parts), figsize=(style.DOUBLE_COLUMN, 2.9), sharey=True, squeeze=False)
    colors, lowest = matplotlib.colormaps["viridis"], min(-30.0, 1.3 * float(frame["log_gamma"].min()))
    for axes, (rows, title) in zip(grid[0], parts, strict=True):
        for number, width in enumerate(widths):
            color = colors(number / max(1, len(widths) - 0.5))
            _line(axes, rows[rows["sigma"] == width], steps, color, width)
            if rays is not None and title == PANELS[0][2]:
                gammas = (rays["estimator"] == "gamma") & (rays["sigma"] == width)
                same = rays[gammas & rays["repeat"].isin(rows["repeat"])]
                _rays(axes, same[same["level"].isin(steps)], steps, color, lowest)
        marks.level_ticks(axes, steps, settings)
        axes.set_title(title, loc="left")
        axes.set_xlabel(settings.level_axis)
        axes.set_yscale("symlog", linthresh=1)
        axes.set_yticks([0, -1, -10, -100])
        axes.set_ylim(lowest, 0.3)
        style.nats(axes.yaxis)
    grid[0, 0].set_ylabel(r"ln $\gamma_\sigma$ (nats)")
    style.label_panels(grid[0])
    marks.title(figure, _finding(frame, settings))
    handles, labels = grid[0, 0].get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))
    if rays is not None:
        plain = {"color": style.GREY, "lw": 0, "markersize": 3}
        named["rays"] = Line2D([], [], marker="s", **plain)
        named["rays, not converged"] = Line2D([], [], marker="s", markerfacecolor="white", **plain)
        named["rays, below the axis"] = Line2D([], [], marker="v", markerfacecolor="white", **plain)
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=4)
    warned = [] if rays is None else statements.far_from_sampler(*_both(frame, rays))
    return marks.close(figure, output.figure_path(scale, study, "local"), quick=scale == "quick", warnings=warned)


def _finding(frame: pd.DataFrame, settings: StudySettings) -> str:
    """Return the title: the change of ln γ in the base landscape along the levels, at the width with most values."""
    own = select(frame, "base", "own")
    (width, *_) = [*widths_by_values(own), float(own["sigma"].min())]
    means = own[own["sigma"] == width].groupby("level")["log_gamma"].mean()
    values = f"{means.iloc[0]:.1f} to {means.iloc[-1]:.1f}".replace("-", "\N{MINUS SIGN}")
    return f"{settings.title}: ln γ at σ = {width:g} goes from {values} nats, loss threshold {frame['threshold'].iloc[0]:g}"


def _both(frame: pd.DataFrame, rays: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return ln γ of rays and of particles in the base landscape, with the same columns."""
    sampled = frame[(frame["landscape"] == 0) & (frame["norms"] == "own")]
    return rays[rays["estimator"] == "gamma"], sampled.rename(columns={"log_gamma": "value", "status": "verdict"})


def _line(axes: Axes, rows: pd.DataFrame, steps: dict[int, float], color: object, width: float) -> None:
    """Draw one width: a line per repeat, hollow marks where the runs leave a doubt."""
    for _, own in rows.sort_values("level").groupby("repeat"):
        x = own["level"].map(steps)
        face = ["white" if status != "ok" else color for status in own["status"]]
        label = rf"$\sigma$ = {width:g}"
        axes.errorbar(x, own["log_gamma"], own["error"], color=color, lw=0.8, label=label)
        axes.scatter(x, own["log_gamma"], s=12, facecolor=face, edgecolor=color, lw=0.8, zorder=3)


def _rays(axes: Axes, rows: pd.DataFrame, steps: dict[int, float], color: object, lowest: float) -> None:
    """Draw ln γ by rays beside the particles': squares, hollow where it has not converged, at the edge where it is lower."""
    x = rows["level"].map(steps).to_numpy() + 0.18
    face = [color if word in CONVERGED else "white" for word in rows["verdict"]]
    y = rows["value"].to_numpy()
    below = y < lowest
    axes.scatter(x[~below], y[~below], s=9, marker="s", edgecolor=color, lw=0.6, zorder=2,
                 facecolor=[f for f, b in zip(face, below, strict=True) if not b])  # fmt: skip
    axes.scatter(
        x[below], np.full(below.sum(), 0.9 * lowest), s=9, marker="v", facecolor="white", edgecolor=color, lw=0.6
    )


if __name__ == "__main__":
    output.main(draw, __doc__)
