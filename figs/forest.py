"""Ours beside published, all studies in one picture: slopes in the base landscape, and differences of volumes."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from minima_volume.analysis import published, statements
from minima_volume.analysis.student import limit_95
from minima_volume.drawing import marks, output, style

OURS, THEIRS, SOLVED = style.BLUE, style.VERMILION, style.GREEN
STEEP = 1.0  # slopes beyond this, of the poison studies, have a panel of their own


def draw(scale: str) -> list[Path]:
    """Draw both figures. There is nothing to compare with at quick scale."""
    if scale != "paper":
        return []
    volumes, trends = published.compare_all()
    style.use()
    slopes = base_slopes(trends)
    return (_slopes(slopes) if len(slopes) else []) + _differences(volumes)


def base_slopes(trends: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of comparison_trends.csv for the base landscape, at the largest threshold of each study."""
    base = trends[trends["held"] == "landscape 0"]
    largest = base.groupby("study")["threshold"].transform("max")
    return base[base["threshold"] == largest].sort_values("study", ascending=False)


def _slopes(rows: pd.DataFrame) -> list[Path]:
    """Draw the base slopes with 95 % intervals; a study has a line."""
    steep = rows["published_slope"].abs() > STEEP
    parts = [part for part in (rows[~steep], rows[steep]) if len(part)]
    figure, grid = plt.subplots(
        1, len(parts), figsize=(style.DOUBLE_COLUMN, 1.2 + 0.24 * max(map(len, parts))), squeeze=False,
        width_ratios=[2, 1][: len(parts)],
    )  # fmt: skip
    for axes, part in zip(grid[0], parts, strict=True):
        at = np.arange(len(part))
        axes.axvline(0, color=style.GREY, lw=0.6)
        _bars(axes, part, at + 0.22, "published", THEIRS, "s", "published, by its rule")
        _bars(axes, part, at, "ours", OURS, "o", "ours, by the published rule")
        axes.plot(part["ours_solved_slope"], at - 0.22, "D", ms=3, color=SOLVED, label="ours, ln E[$r^n$] solved")
        axes.set_yticks(at, part["study"])
        axes.set_ylim(len(part) - 0.5 - max(map(len, parts)), len(part) - 0.3)  # lines of equal height in all panels
        axes.set_title(f"slopes up to {STEEP:g}" if part.index.equals(rows[~steep].index) else "steeper", loc="left")
        axes.set_xlabel("base slope")
        edge = 1.25 * part[["published_slope", "ours_slope"]].to_numpy().min()
        axes.set_xlim(edge, max(0.25, -0.15 * edge))
    solved, *bars = zip(*grid[0, 0].get_legend_handles_labels(), strict=True)
    figure.legend(*zip(*bars, solved, strict=True), loc="outside lower center", ncols=3)
    style.label_panels(grid[0])
    same = (np.sign(rows["ours_slope"]) == np.sign(rows["published_slope"])).sum()
    marks.title(
        figure, f"{same} of {len(rows)} slopes in the base landscape have the published sign (bars: 95 % intervals)"
    )
    apart = [
        row["study"] for row in rows.to_dict("records")
        if abs(row["ours_slope"] - row["published_slope"]) > 4 * (row["ours_slope_se"] + row["published_slope_se"])
    ]  # fmt: skip
    warned = [f"intervals that miss each other by far: {', '.join(apart)}"] if apart else []
    return marks.close(figure, output.figure_path("paper", "forest_slopes"), warnings=warned)


def _bars(axes: Axes, rows: pd.DataFrame, at: np.ndarray, who: str, color: str, marker: str, label: str) -> None:
    """Draw slopes with their 95 % intervals, cut at the edge of the panel."""
    repeats = rows[f"{who}_repeats"]
    freedom = [count - 1 if count > 1 else len(str(sizes).split()) - 2
               for count, sizes in zip(repeats, rows["values"], strict=True)]  # fmt: skip
    half = rows[f"{who}_slope_se"].to_numpy() * [limit_95(int(each)) for each in freedom]
    axes.errorbar(rows[f"{who}_slope"], at, xerr=half, fmt=marker, ms=3.5, color=color, lw=0.9,
                  mfc=color if who == "ours" else "white", label=label)  # fmt: skip


def _differences(volumes: pd.DataFrame) -> list[Path]:
    """Draw ours minus published in steps of the published grid, a dot for each compared volume."""
    known = volumes.dropna(subset=["grid_steps"])
    studies = sorted(known["study"].unique(), reverse=True)
    figure, axes = plt.subplots(figsize=(style.DOUBLE_COLUMN, 1.2 + 0.2 * len(studies)))
    axes.axvspan(-1.5, 1.5, color=style.PALE, lw=0, label="within one step, rounded")
    axes.axvline(0, color=style.GREY, lw=0.6)
    for word, color, marker in (("a grid step", OURS, "o"), ("two errors", style.SKY, "o"), ("neither", THEIRS, "D")):
        here = known[known["within"] == word]
        # Dots of one study stand beside each other, so that equal differences do not hide each other.
        shift = here.groupby("study").cumcount() % 5 * 0.12 - 0.24
        label = {"a grid step": "explained by the grid", "two errors": "explained by the scatter of repeats"}.get(word)
        axes.plot(here["grid_steps"], [studies.index(s) for s in here["study"]] + shift, marker, ms=3, color=color,
                  label=label or "explained by neither")  # fmt: skip
    axes.set_yticks(range(len(studies)), studies)
    axes.set_ylim(-0.6, len(studies) - 0.4)
    axes.set_xlabel("ln E[$r^n$] by the published rule, ours − published (steps of the grid)")
    within = (known["within"] == "a grid step").sum()
    marks.title(figure, f"{within} of {len(known)} compared volumes agree within one step of the published grid")
    figure.legend(loc="outside lower center", ncols=2)
    return marks.close(figure, output.figure_path("paper", "forest_volumes"), warnings=[
        f"{study}: {sentence}" for study, here in known.groupby("study") for sentence in statements.drifting(here)
    ])  # fmt: skip
