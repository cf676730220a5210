"""Every estimator of the same minima side by side: which order of the levels survives, and which values converged."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from minima_volume.analysis import statements, tables
from minima_volume.analysis.study_settings import StudySettings
from minima_volume.drawing import marks, output, style
from minima_volume.estimators.diagnostics import CONVERGED

TITLES = {
    "grid": "published grid rule",
    "log_volume": "ln E[$r^n$], solved",
    "typical": "typical, $n$ E[ln $r$]",
}
# If rays give ln γ this low and the sampler a few nats, only a logarithmic axis shows both.
FAR = -100.0


def panels(frame: pd.DataFrame) -> list[tuple[str, float | None]]:
    """Return the estimators to show: three volumes, and ln γ at three widths, those of the sampler if there are any."""
    gold = sorted(frame.loc[frame["estimator"] == "gold", "sigma"].unique())
    widths = gold or sorted(frame.loc[frame["estimator"] == "gamma", "sigma"].unique())[1:4]
    return [(name, None) for name in TITLES] + [("gamma", float(width)) for width in widths]


def draw(study: str, scale: str) -> list[Path]:
    """Draw a panel per estimator and a line per repeat."""
    frame = tables.orderings(scale, study)
    if frame is None or frame.empty:
        return []
    style.use()
    settings = tables.settings(scale, study)
    chosen = panels(frame)
    figure, grid = plt.subplots(2, 3, figsize=(style.DOUBLE_COLUMN, 4.2), sharex=True)
    steps = marks.places(map(int, frame["level"].unique()), settings)
    for axes, (name, sigma) in zip(grid.flat, chosen, strict=False):
        _panel(axes, frame, steps, settings, name, sigma)
    grid[1, 1].set_xlabel(settings.level_axis)
    for axes in grid.flat[len(chosen) :]:
        axes.set_axis_off()
    style.label_panels(grid.flat[: len(chosen)])
    marks.title(figure, _finding(frame, settings))
    figure.legend(handles=_handles(sorted(frame["repeat"].unique()), "gold" in set(frame["estimator"])),
                  loc="outside lower center", ncols=6, columnspacing=1)  # fmt: skip
    rays, chain = (frame[frame["estimator"] == name] for name in ("gamma", "gold"))
    warned = statements.far_from_sampler(rays, chain)
    return marks.close(figure, output.figure_path(scale, study, "trust"), quick=scale == "quick", warnings=warned)


def _finding(frame: pd.DataFrame, settings: StudySettings) -> str:
    """Return the title: how many values of each estimator have converged."""
    shares = [
        f"{name} {int(here['verdict'].isin(CONVERGED).sum())} of {len(here)}"
        for key, name in {"log_volume": "ln E[$r^n$]", "gamma": "ln γ by rays", "gold": "by the sampler"}.items()
        if len(here := frame[frame["estimator"] == key])
    ]
    return f"{settings.title}, threshold {frame['threshold'].iloc[0]:g}. Converged: {', '.join(shares)}"


def _panel(
    axes: Axes, frame: pd.DataFrame, steps: dict[int, float], settings: StudySettings, name: str, sigma: float | None
) -> None:
    """Draw one estimator; hollow marks have not converged."""
    repeats = sorted(frame["repeat"].unique())
    for number, (repeat, color) in enumerate(zip(repeats, style.series_colors(len(repeats)), strict=True)):
        shift = 0.12 * (number - (len(repeats) - 1) / 2)
        for kind, marker in ((name, "o"), ("gold", "D")):
            same = frame["sigma"] == sigma if sigma is not None else frame["sigma"].isna()
            rows = frame[(frame["estimator"] == kind) & same & (frame["repeat"] == repeat)].sort_values("level")
            if rows.empty:
                continue
            x = rows["level"].map(steps).to_numpy() + shift
            dashed = ":" if kind == "gold" else "-"
            axes.plot(x, rows["value"], dashed, color=color, lw=0.8)
            error = rows["error"].fillna(0)
            # ln γ is the logarithm of a probability, so that no bar goes above 0.
            above = error if sigma is None else error.clip(upper=-rows["value"].clip(upper=0))
            axes.errorbar(x, rows["value"], np.stack([error, above]), fmt="none", ecolor=color, lw=0.8)
            hollow = ~rows["verdict"].isin(CONVERGED).to_numpy()
            axes.scatter(x, rows["value"], s=16, marker=marker, edgecolor=color, lw=0.8, zorder=3,
                         facecolor=np.where(hollow, "white", color))  # fmt: skip
    marks.level_ticks(axes, steps, settings)
    axes.set_title(TITLES.get(name, rf"ln $\gamma_\sigma$, $\sigma$ = {sigma:g}" if sigma else name), loc="left")
    axes.set_ylabel("log volume (nats)" if sigma is None else r"ln $\gamma_\sigma$ (nats)")
    if sigma is not None:
        # Error bars of values that have not converged may be longer than all differences.
        lowest = frame.loc[frame["estimator"].isin((name, "gold")) & (frame["sigma"] == sigma), "value"].min()
        if lowest < FAR:
            axes.set_yscale("symlog", linthresh=1)
            axes.set_ylabel(r"ln $\gamma_\sigma$ (nats, symlog)")
            axes.set_yticks([0, *(-(10.0**power) for power in range(5) if -(10.0**power) > 2 * lowest)])
            axes.set_ylim(2 * lowest, 0.5)
        elif lowest < 0:
            axes.set_ylim(1.2 * lowest, -0.05 * lowest)
    style.nats(axes.yaxis)


def _handles(repeats: list[float], gold: bool) -> list[Line2D]:
    """Return the entries of the legend."""
    colors = style.series_colors(len(repeats))
    shown = [Line2D([], [], color=c, label=f"repeat {r:g}") for r, c in zip(repeats, colors, strict=True)]
    plain: dict[str, Any] = {"color": style.GREY, "lw": 0, "markersize": 4}
    shown += [
        Line2D([], [], marker="o", label="rays", **plain),
        Line2D([], [], marker="o", markerfacecolor="white", label="not converged", **plain),
    ]
    return shown + ([Line2D([], [], marker="D", label="sampler", **plain)] if gold else [])


if __name__ == "__main__":
    output.main(draw, __doc__)
