"""How numbers with a caveat are drawn: open where rays reach the cap, a cross at the axis where there is no volume."""

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
# What a reader must know of a data set to read its losses.
REMARKS = {"modulo": ("a network that answers 0 to every pair has loss 1/97 = 0.0103, just above threshold 0.01",)}
Absent = Sequence[tuple[str, Sequence[float]]]  # colour of a series, where it has no number
_NOTE, _LINE = 0.06, 0.125  # inches below a figure: in all, and for each line of its caption
_STRIP = 0.07  # of the axes' height, for one row of crosses
_ASIDE = 0.07  # steps between neighbouring series, so that their error bars stand side by side


def series(
    axes: Axes, frame: pd.DataFrame, places: Mapping[int, float], column: str, *, by: str = "level", color: str,
    label: str, marker: str = "o", line: str = "-",
) -> list[float]:  # fmt: skip
    """Repeats translucent, their mean with error bars, open for a lower bound; places where some row has no number.

    Lines break where there is no number: nothing is known of what lies there.
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
    """Crosses at the places of each panel's (color, places), one row for each color, in room made below the data.

    Panels that share their heights go in one call, so that room is made once and after everything is drawn.
    """
    rows = [[(color, places) for color, places in absent if places] for _, absent in panels]
    most = max(map(len, rows))
    if most:
        share = _STRIP * (most + 0.5)
        wanted = [_lowered(axes.get_ylim(), axes.get_yscale() == "log", share) for axes, _ in panels]
        for (axes, _), limits in zip(panels, wanted, strict=True):
            axes.set_ylim(limits)
    for (axes, _), here in zip(panels, rows, strict=True):
        for row, (color, places) in enumerate(here):
            at = [_STRIP * (row + 0.5)] * len(places)
            axes.plot(places, at, "x", color=color, transform=axes.get_xaxis_transform())


def crosses_left(axes: Axes, absent: Absent) -> None:
    """Crosses at the heights of each (color, heights), in a strip made left of the data."""
    rows = [(color, heights) for color, heights in absent if heights]
    if rows:
        axes.set_xlim(_lowered(axes.get_xlim(), axes.get_xscale() == "log", 1.5 * _STRIP))
    for color, heights in rows:
        axes.plot([_STRIP / 2] * len(heights), heights, "x", color=color, transform=axes.get_yaxis_transform())


def _lowered(limits: tuple[float, float], log: bool, share: float) -> tuple[float, float]:
    """Limits whose lower end leaves `share` of the axis free below the old one."""
    low, high = limits
    stretch = share / (1 - share)
    return (low * (low / high) ** stretch if log else low - (high - low) * stretch), high


def caveats(frame: pd.DataFrame, column: str = "log_volume") -> list[str]:
    """The sentences that the marks of these rows need."""
    damaged = int((frame[column].isna() & (frame["status"] != "unconverged")).sum())
    present = {
        CROSS: bool((frame["status"] == "unconverged").any()),
        f"×: {damaged} row{'s' * (damaged > 1)} with {DAMAGED}": damaged > 0,
        OPEN: bool((frame["status"] == "censored").any()),
    }
    return [sentence for sentence, holds in present.items() if holds]


def repeats(frame: pd.DataFrame) -> str:
    """How many repeats and what the error bars are."""
    return f"{count_repeats(frame)}, mean ± s.d." if frame["repeat"].nunique() > 1 else "1 repeat ± standard error"


def count_repeats(frame: pd.DataFrame) -> str:
    """How many repeats."""
    count = frame["repeat"].nunique()
    return f"{count} repeat{'s' * (count > 1)}"


def places(levels: Iterable[int]) -> dict[int, float]:
    """Equal steps for the levels, whose sizes often start at 0."""
    return {level: float(place) for place, level in enumerate(sorted(set(levels)))}


def beside(steps: Mapping[int, float], number: int, count: int) -> dict[int, float]:
    """The places of series `number` of `count`, all of them centred on the steps."""
    aside = _ASIDE * (number - (count - 1) / 2)
    return {level: place + aside for level, place in steps.items()}


def level_ticks(axes: Axes, steps: Mapping[int, float], *, crowded: bool = False) -> None:
    """A tick for every level, slanted where they are crowded."""
    crowded = crowded or len(steps) > 6
    names = [f"{level:,}" for level in steps]
    axes.set_xticks(list(steps.values()), names, rotation=45 if crowded else 0, ha="right" if crowded else "center")
    axes.set_xlim(-0.4, len(steps) - 0.6)


def log_ticks(axis: Axis) -> None:
    """Plain numbers on a logarithmic axis, the more in each decade the fewer decades there are."""
    low, high = sorted(axis.get_view_interval())
    few, some = (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    axis.set_major_locator(LogLocator(subs=(1.0,) if high > 300 * low else few if high > 8 * low else some))
    axis.set_minor_formatter(NullFormatter())
    style.nats(axis)


def finish(
    figure: Figure, panels: Iterable[Axes], frame: pd.DataFrame, settings: tables.Settings, scale: str, name: str,
    caption: Iterable[str],
) -> list[Path]:  # fmt: skip
    """Title with the data's name, panel letters, caveats below, the quick note; written to the study's place."""
    figure.suptitle(f"{settings.title} — data: {frame['data'].iloc[0]}", x=0.01, ha="left")
    panels = list(panels)
    if len(panels) > 1:
        style.label_panels(panels)
    if scale == "quick":
        style.mark_quick(figure)
    sentences = [*caption, *REMARKS.get(settings.data, ())]
    style.keep_free(figure, _NOTE + _LINE * _caption(figure, sentences, 112 if scale == "quick" else 142))
    return style.save(figure, output.figure_path(scale, str(frame["study"].iloc[0]), name))


def _caption(figure: Figure, sentences: Iterable[str], width: int) -> int:
    """Write the sentences below everything, broken only between them; a quick figure's lines end before its note."""
    blank = "\N{NO-BREAK SPACE}"
    whole = f"{blank}· ".join(sentence.replace(" ", blank) for sentence in sentences)
    lines = [line.rstrip(f"{blank}·") for line in textwrap.wrap(whole, width)]
    figure.text(0.01, 0.01, "\n".join(lines), ha="left", va="bottom", size=6.5, color=style.GREY, linespacing=1.3)
    return len(lines)
