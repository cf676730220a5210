"""Marks for numbers with a caveat, and ticks and captions that figures share.

Hollow marks are lower bounds: some rays reach the cap. Crosses at an axis mean that there is no volume.
"""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from minima_volume.analysis.study_settings import StudySettings
from minima_volume.analysis.tables import summary
from minima_volume.drawing import output, style

OPEN = "open: lower bound, some rays never cross"
CROSS = "×: no volume, the minimum itself fails the threshold"
SURVIVORS = "small open: single repeats where others have no volume"
DAMAGED = "no number in the table"
# What a reader must know about a data set to interpret its losses.
REMARKS = {"modulo": ("a network that answers 0 to every pair has loss 1/97 = 0.0103, just above threshold 0.01",)}
Absent = Sequence[tuple[str, Sequence[float]]]  # colour of a series, and the places where it has no number
_NOTE, _LINE = 0.06, 0.125  # inches below a figure: a margin, and for each line of the caption
_STRIP = 0.07  # of the axes' height, for one row of crosses
TITLE_WIDTH = 74  # letters of a title across a whole width
_APART = 0.45  # least distance of two names below an axis, in steps
_TICK_X, _TICK_Y = 0.28, 0.15  # inches that the number at a tick takes
_ASIDE = 0.07  # distance of neighbouring series in steps, so that error bars do not overlap


def series(
    axes: Axes, frame: pd.DataFrame, places: Mapping[int, float], column: str, *, by: str = "level", color: str,
    label: str, marker: str = "o", line: str = "-",
) -> list[float]:  # fmt: skip
    """Draw the mean of repeats with error bars, and single repeats faintly; hollow marks are lower bounds.

    Lines break where a repeat has no number; the others are small open marks there, because a mean over survivors compares
    other minima than its neighbours.

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
    # A mean over the repeats that are left would compare other minima than its neighbours.
    whole = table.where(table["missing"] == 0)
    at = [places[level] for level in table.index]
    axes.errorbar(at, whole["mean"], whole["spread"], color=color, ls=line, capsize=2, marker=marker, label=label)
    left = frame[frame[by].isin(table.index[table["missing"] > 0])]
    axes.plot(left[by].map(places), left[column], marker, color=color, mfc="white", ms=2.5)
    bounds = table[table["bound"] & (table["missing"] == 0)]
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
        SURVIVORS: _survives(frame, column),
        f"×: {damaged} row{'s' * (damaged > 1)} with {DAMAGED}": damaged > 0,
        OPEN: bool((frame["status"] == "censored").any()),
    }
    return [sentence for sentence, holds in present.items() if holds]


def _survives(frame: pd.DataFrame, column: str) -> bool:
    """Return whether some repeats of a minimum have a number and others have none."""
    known = frame[column].notna().groupby([frame[name] for name in ("level", "landscape", "threshold", "metric")])
    return bool((known.any() & ~known.all()).any())


def repeats(frame: pd.DataFrame) -> str:
    """Return how many repeats there are and what the error bars show."""
    return f"{count_repeats(frame)}, mean ± s.d." if frame["repeat"].nunique() > 1 else "1 repeat ± standard error"


def count_repeats(frame: pd.DataFrame) -> str:
    """Return the number of repeats in words."""
    count = frame["repeat"].nunique()
    return f"{count} repeat{'s' * (count > 1)}"


def places(levels: Iterable[int], settings: StudySettings) -> dict[int, float]:
    """Return places for levels on an axis whose length is their number, so that slopes of lines have a meaning.

    Training sets, batch sizes and epochs stand at their logarithm, and numbers of spoilt samples, which start at 0, at the
    inverse hyperbolic sine of level / first level above 0. Seeds are equally spaced.
    """
    ordered = np.array(sorted(set(levels)), dtype=float)
    if settings.level_means == "model_seed" or len(ordered) < 3:
        at = np.arange(len(ordered), dtype=float)
    elif settings.counts_training_samples:
        at = np.log(settings.base + ordered)
    else:
        at = np.log(ordered) if ordered[0] > 0 else np.arcsinh(ordered / ordered[1])
    at = (at - at[0]) * (len(at) - 1) / max(float(at[-1] - at[0]), 1e-9)
    return {int(level): float(place) for level, place in zip(ordered, at, strict=True)}


def beside(steps: Mapping[int, float], number: int, count: int) -> dict[int, float]:
    """Return the places of series `number` out of `count`, side by side and centred on the steps."""
    aside = _ASIDE * (number - (count - 1) / 2)
    return {level: place + aside for level, place in steps.items()}


def level_ticks(axes: Axes, steps: Mapping[int, float], settings: StudySettings, *, crowded: bool = False) -> None:
    """Set a tick for every level, slanted if they are crowded; names that would overlap the one before are left out."""
    largest, gaps = max(map(settings.shown, steps)), np.diff(sorted(steps.values()))
    crowded = crowded or len(steps) > 6 or largest >= 10_000 or (largest >= 1000 and bool((gaps < 0.9).any()))
    apart, names, last = max(_APART, 0.1 * len(steps)), [], -math.inf
    for level, place in steps.items():
        free = place - last >= apart
        names.append(f"{settings.shown(level):,}" if free else "")
        last = place if free else last
    axes.set_xticks(list(steps.values()), names, rotation=45 if crowded else 0, ha="right" if crowded else "center")
    axes.set_xlim(-0.4, len(steps) - 0.6)


def log_ticks(axis: Axis) -> None:
    """Set plain numbers on a logarithmic axis, more per decade if there are few decades and room for them."""
    low, high = sorted(axis.get_view_interval())
    one, few, some = (1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    choices = [one] if high > 300 * low else [few, one] if high > 8 * low else [some, few]
    box = axis.axes.get_window_extent()
    inches, each = (box.width, _TICK_X) if isinstance(axis, XAxis) else (box.height, _TICK_Y)
    room = inches / axis.axes.figure.dpi / each / math.log10(high / low)  # for numbers in a decade
    axis.set_major_locator(LogLocator(subs=next((subs for subs in choices if len(subs) <= room), choices[-1])))
    axis.set_minor_formatter(NullFormatter())
    style.nats(axis)


def finish(
    figure: Figure, panels: Iterable[Axes], frame: pd.DataFrame, settings: StudySettings, scale: str, name: str,
    caption: Iterable[str], *, finding: str = "", warnings: Iterable[str] = (),
) -> list[Path]:  # fmt: skip
    """Add title, panel letters, caption, warnings and the note of quick runs, and write the figure.

    Args:
        figure: The figure.
        panels: Axes that get letters, if there are several.
        frame: Rows of volumes.csv, for the names of study and data.
        settings: The study's settings, for the title.
        scale: `quick` or `paper`.
        name: Name of the figure, or an empty string for a study's main figure.
        caption: Sentences below the figure.
        finding: The title: what the figure shows, with its number. The study's title then goes into the caption.
        warnings: What makes this figure wrong, if anything does.

    Returns:
        The files that were written.
    """
    data = str(frame["data"].iloc[0])
    subject = settings.title if data in settings.title else f"{settings.title} — data: {data}"
    title(figure, finding or subject)
    warned = [f"Warning: {sentence}" for sentence in warnings]
    panels = list(panels)
    if len(panels) > 1:
        style.label_panels(panels)
    if scale == "quick":
        style.mark_quick(figure)
    sentences = [*([subject] if finding else []), *caption, *REMARKS.get(settings.data, ())]
    lines = _caption(figure, sentences, 80 if scale == "quick" else 106)
    style.keep_free(figure, _NOTE + _LINE * (lines + _warn(figure, warned, _NOTE + _LINE * lines)))
    return style.save(figure, output.figure_path(scale, str(frame["study"].iloc[0]), name))


def close(figure: Figure, path: Path, *, quick: bool = False, warnings: Iterable[str] = ()) -> list[Path]:
    """Add warnings and the note of quick runs to a figure without a caption, and write it.

    Args:
        figure: The figure.
        path: Where, without a suffix.
        quick: Whether it shows a quick run.
        warnings: What makes this figure wrong, if anything does.

    Returns:
        The files that were written.
    """
    if quick:
        style.mark_quick(figure)
    start = _NOTE + _LINE * quick
    lines = _warn(figure, [f"Warning: {sentence}" for sentence in warnings], start)
    if lines:
        style.keep_free(figure, start + _NOTE + _LINE * lines)
    return style.save(figure, path)


def title(figure: Figure, text: str) -> None:
    """Write the title of a figure in lines that fit its width."""
    width = int(TITLE_WIDTH * figure.get_figwidth() / style.DOUBLE_COLUMN)
    figure.suptitle(textwrap.fill(text, width, break_on_hyphens=False), x=0.01, ha="left")


def _warn(figure: Figure, sentences: Sequence[str], inches: float) -> int:
    """Write warnings above the caption, which is so high; return the number of lines."""
    lines = [line for sentence in sentences for line in textwrap.wrap(sentence, 96)]
    if lines:
        figure.text(0.01, inches / figure.get_figheight(), "\n".join(lines), ha="left", va="bottom", size=6.5,
                    color=style.VERMILION, weight="bold", linespacing=1.3)  # fmt: skip
    return len(lines)


def _caption(figure: Figure, sentences: Iterable[str], width: int) -> int:
    """Write the sentences below the figure, with line breaks only between them; return the number of lines."""
    blank = "\N{NO-BREAK SPACE}"
    whole = f"{blank}· ".join(sentence.replace(" ", blank) for sentence in sentences)
    lines = [line.rstrip(f"{blank}·") for line in textwrap.wrap(whole, width)]
    figure.text(0.01, 0.01, "\n".join(lines), ha="left", va="bottom", size=6.5, color=style.GREY, linespacing=1.3)
    return len(lines)
