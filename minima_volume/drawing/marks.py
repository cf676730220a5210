"""Marks for numbers with a caveat, and ticks and captions that figures share.

Hollow marks are lower bounds: some rays reach the cap. Crosses at an axis mean that there is no volume.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from minima_volume.analysis import tables
from minima_volume.analysis.tables import summary
from minima_volume.drawing import output, style

OPEN = "open: lower bound, some rays never cross"
CROSS = "×: no volume, the minimum itself fails the threshold"
DAMAGED = "no number in the table"
# What a reader must know about a data set to interpret its losses.
REMARKS = {"modulo": ("a network that answers 0 to every pair has loss 1/97 = 0.0103, just above threshold 0.01",)}
Absent = Sequence[tuple[str, Sequence[float]]]  # colour of a series, and the places where it has no number
_NOTE, _LINE = 0.06, 0.125  # inches below a figure: a margin, and for each line of the caption
_STRIP = 0.07  # of the axes' height, for one row of crosses
_ASIDE = 0.07  # distance of neighbouring series in steps, so that error bars do not overlap


def series(
    axes: Axes, frame: pd.DataFrame, places: Mapping[int, float], column: str, *, by: str = "level", color: str,
    label: str, marker: str = "o", line: str = "-",
) -> list[float]:  # fmt: skip
    """Draw the mean of repeats with error bars, and single repeats faintly; hollow marks are lower bounds.

    Lines break where there is no number, because nothing is known of what lies between.

    Args:
        axes: Where to draw.
        frame: Rows of volumes.csv.
        places: Place on the x axis of each value of `by`.
        column: The column to draw.
        by: The column along the x axis.
        color: Colour of the series.
        label: Name in the legend.
        marker: Marker of the means.
        line: Line style.

    Returns:
        The places at which some row has no number.
    """
    if frame["repeat"].nunique() > 1:
        for _, repeat in frame.groupby("repeat"):
            ordered = repeat.sort_values(by)
            axes.plot(ordered[by].map(places), ordered[column], line, color=color, alpha=0.25, lw=0.8)
    table = summary(frame, column, by)
    at = [places[level] for level in table.index]
    axes.errorbar(at, table["mean"], table["spread"], color=color, ls=line, capsize=2, marker=marker, label=label)
    bounds = table[table["bound"]]
    axes.plot([places[level] for level in bounds.index], bounds["mean"], marker, color=color, mfc="white", zorder=3)
    return [places[level] for level in table.index[table["missing"] > 0]]


def crosses(*panels: tuple[Axes, Absent]) -> None:
    """Draw crosses below the data at the places where a series has no number, one row for each colour.

    Panels that share their y axis must be given in one call, after everything else is drawn, so that the axis is extended
    once.

    Args:
        panels: Pairs of axes and (colour, places) of each series.
    """
    rows = [[(color, places) for color, places in absent if places] for _, absent in panels]
    most = max(map(len, rows))
    if most:
        share = _STRIP * (most + 0.5)
        wanted = [_with_room_below(axes.get_ylim(), axes.get_yscale() == "log", share) for axes, _ in panels]
        for (axes, _), limits in zip(panels, wanted, strict=True):
            axes.set_ylim(limits)
    for (axes, _), here in zip(panels, rows, strict=True):
        for row, (color, places) in enumerate(here):
            at = [_STRIP * (row + 0.5)] * len(places)
            axes.plot(places, at, "x", color=color, transform=axes.get_xaxis_transform())


def crosses_left(axes: Axes, absent: Absent) -> None:
    """Draw crosses left of the data at the heights where a series has no number."""
    rows = [(color, heights) for color, heights in absent if heights]
    if rows:
        axes.set_xlim(_with_room_below(axes.get_xlim(), axes.get_xscale() == "log", 1.5 * _STRIP))
    for color, heights in rows:
        axes.plot([_STRIP / 2] * len(heights), heights, "x", color=color, transform=axes.get_yaxis_transform())


def _with_room_below(limits: tuple[float, float], log: bool, share: float) -> tuple[float, float]:
    """Return limits whose lower end leaves the given share of the axis free below the old one."""
    low, high = limits
    stretch = share / (1 - share)
    return (low * (low / high) ** stretch if log else low - (high - low) * stretch), high


def caveats(frame: pd.DataFrame, column: str = "log_volume") -> list[str]:
    """Return the sentences that explain the marks of these rows."""
    damaged = int((frame[column].isna() & (frame["status"] != "unconverged")).sum())
    present = {
        CROSS: bool((frame["status"] == "unconverged").any()),
        f"×: {damaged} row{'s' * (damaged > 1)} with {DAMAGED}": damaged > 0,
        OPEN: bool((frame["status"] == "censored").any()),
    }
    return [sentence for sentence, holds in present.items() if holds]


def repeats(frame: pd.DataFrame) -> str:
    """Return how many repeats there are and what the error bars show."""
    return f"{count_repeats(frame)}, mean ± s.d." if frame["repeat"].nunique() > 1 else "1 repeat ± standard error"


def count_repeats(frame: pd.DataFrame) -> str:
    """Return the number of repeats in words."""
    count = frame["repeat"].nunique()
    return f"{count} repeat{'s' * (count > 1)}"


def places(levels: Iterable[int]) -> dict[int, float]:
    """Return equally spaced places for levels, which often start at 0 and span decades."""
    return {level: float(place) for place, level in enumerate(sorted(set(levels)))}


def beside(steps: Mapping[int, float], number: int, count: int) -> dict[int, float]:
    """Return the places of series `number` out of `count`, side by side and centred on the steps."""
    aside = _ASIDE * (number - (count - 1) / 2)
    return {level: place + aside for level, place in steps.items()}


def level_ticks(axes: Axes, steps: Mapping[int, float], *, crowded: bool = False) -> None:
    """Set a tick for every level, slanted if they are crowded."""
    crowded = crowded or len(steps) > 6
    names = [f"{level:,}" for level in steps]
    axes.set_xticks(list(steps.values()), names, rotation=45 if crowded else 0, ha="right" if crowded else "center")
    axes.set_xlim(-0.4, len(steps) - 0.6)


def log_ticks(axis: Axis) -> None:
    """Set plain numbers on a logarithmic axis, more per decade if there are few decades."""
    low, high = sorted(axis.get_view_interval())
    few, some = (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    axis.set_major_locator(LogLocator(subs=(1.0,) if high > 300 * low else few if high > 8 * low else some))
    axis.set_minor_formatter(NullFormatter())
    style.nats(axis)


def finish(
    figure: Figure, panels: Iterable[Axes], frame: pd.DataFrame, settings: tables.Settings, scale: str, name: str,
    caption: Iterable[str],
) -> list[Path]:  # fmt: skip
    """Add title, panel letters, caption and the note of quick runs, and write the figure.

    Args:
        figure: The figure.
        panels: Axes that get letters, if there are several.
        frame: Rows of volumes.csv, for the names of study and data.
        settings: The study's settings, for the title.
        scale: `quick` or `paper`.
        name: Name of the figure, or an empty string for a study's main figure.
        caption: Sentences below the figure.

    Returns:
        The files that were written.
    """
    data = str(frame["data"].iloc[0])
    figure.suptitle(settings.title if data in settings.title else f"{settings.title} — data: {data}", x=0.01, ha="left")
    panels = list(panels)
    if len(panels) > 1:
        style.label_panels(panels)
    if scale == "quick":
        style.mark_quick(figure)
    sentences = [*caption, *REMARKS.get(settings.data, ())]
    style.keep_free(figure, _NOTE + _LINE * _caption(figure, sentences, 112 if scale == "quick" else 142))
    return style.save(figure, output.figure_path(scale, str(frame["study"].iloc[0]), name))


def _caption(figure: Figure, sentences: Iterable[str], width: int) -> int:
    """Write the sentences below the figure, with line breaks only between them; return the number of lines."""
    blank = "\N{NO-BREAK SPACE}"
    whole = f"{blank}· ".join(sentence.replace(" ", blank) for sentence in sentences)
    lines = [line.rstrip(f"{blank}·") for line in textwrap.wrap(whole, width)]
    figure.text(0.01, 0.01, "\n".join(lines), ha="left", va="bottom", size=6.5, color=style.GREY, linespacing=1.3)
    return len(lines)
