"""How each measure of flatness ranks minima by test loss, across levels and at the same level, for every study."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from minima_volume.analysis import sharpness, tables
from minima_volume.drawing import output, style


def draw(scale: str) -> list[Path]:
    """Draw a panel for each pairing, a row for each measure and a mark for each study."""
    known = [study for study in tables.studies(scale) if tables.sharpness(scale, study) is not None]
    frames = {study: sharpness.concordances(scale, study) for study in known}
    frames = {study: frame for study, frame in frames.items() if len(frame)}
    if not frames:
        return []
    style.use()
    figure, panels = plt.subplots(1, 2, figsize=(style.DOUBLE_COLUMN, 4.6), sharex=True, sharey=True)
    for axes, (pairing, title) in zip(panels, sharpness.PAIRINGS.items(), strict=True):
        _panel(axes, frames, scale, pairing)
        axes.set_title(title, loc="left", fontsize=8)
    panels[0].set_xlabel("below 0 sharper is better,\nabove 0 flatter is better")
    panels[1].set_xlabel("concordance with test loss\n(lines: ±2 deviations of chance)")
    names = list(sharpness.NAMES.values())
    panels[0].set_yticks(range(len(names)), [name.replace("λ_max", r"$\lambda_{\max}$") for name in names], fontsize=7)
    panels[0].invert_yaxis()
    panels[0].set_xlim(-1.12, 1.12)
    style.label_panels(panels)
    handles = {h.get_label(): h for axes in panels for h in axes.get_legend_handles_labels()[0]}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
    if scale == "quick":
        style.mark_quick(figure)
    return style.save(figure, output.figure_path(scale, "sharpness"))


def _panel(axes: Axes, frames: dict[str, pd.DataFrame], scale: str, pairing: str) -> None:
    """Draw one pairing: the concordance of each study with two chance deviations around 0 as a line."""
    axes.axvline(0, color=style.GREY, lw=0.6)
    offsets = np.linspace(-0.28, 0.28, len(frames)) if len(frames) > 1 else np.zeros(1)
    for (study, frame), color, offset in zip(frames.items(), style.series_colors(len(frames)), offsets, strict=True):
        rows = frame[frame["pairing"] == pairing].set_index(["measure", "coordinates"])
        places = [(place, key) for place, key in enumerate(sharpness.NAMES) if key in rows.index]
        if not places:
            continue
        y = np.array([place for place, _ in places]) + offset
        values, chance = (rows.loc[[key for _, key in places], name].to_numpy() for name in ("concordance", "chance"))
        axes.hlines(y, -2 * chance, 2 * chance, color=color, lw=0.8, alpha=0.5)
        axes.plot(values, y, "o", ms=3.5, color=color, label=tables.settings(scale, study).title)
