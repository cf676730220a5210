"""Parts that films share: type for screens, the three minima, the data size, and the loss curves."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import AbstractPathEffect
from matplotlib.ticker import FuncFormatter, NullLocator
from numpy.typing import NDArray

from minima_volume.drawing import style
from minima_volume.landscapes.node_losses import Floats
from minima_volume.planes.study_plane import StudyPlane
from videos.render import DrawFrame, Film, Scene, timeline

COLORS, MARKERS = (style.VERMILION, style.SKY, style.ORANGE), ("o", "s", "^")
LEFT, RIGHT = (-13, 0), (13, 0)  # points between a mark and its name
OUTLINED: list[AbstractPathEffect] = [patheffects.withStroke(linewidth=4.2, foreground=style.BLACK)]
PLATE = {"facecolor": "#00000099", "edgecolor": "none", "boxstyle": "round,pad=0.22"}
NAME: dict[str, Any] = {"size": 11, "weight": "bold", "color": "white", "zorder": 6, "bbox": PLATE}
HEAD: dict[str, Any] = {"mec": "white", "zorder": 5, "clip_on": False, "animated": True}
COLUMN = 0.69  # where the right column of a page starts, as a share of its width
SECONDS, PAUSE = 12.0, 1.0  # of a film without its stops, and of each stop
_TYPE: dict[Any, Any] = {
    "font.size": 11,
    "axes.labelsize": 11,
    "axes.titlesize": 11,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "lines.linewidth": 2,
}


def use() -> None:
    """Apply the project's look with type for a screen."""
    style.use()
    matplotlib.rcParams.update(_TYPE)


def combine(shows: Sequence[DrawFrame]) -> DrawFrame:
    """Return a function that draws a state in every part of a page."""

    def show(state: int) -> None:
        for part in shows:
            part(state)

    return show


def count(value: float) -> str:
    """Return a whole number with thousands separated."""
    return f"{round(value):,}"


def heading(figure: Figure, title: str, subtitle: str, scale: str) -> None:
    """Write title and subtitle at the top left, and the note of quick runs at the bottom right."""
    figure.text(0.025, 0.965, title, size=15, weight="bold", va="top")
    figure.text(0.025, 0.908, subtitle, size=11, va="top", color=style.GREY)
    if scale == "quick":
        style.mark_quick(figure)


def plane_heading(figure: Figure, data: StudyPlane) -> None:
    """Write what a film over data sizes shows, with the data and the network."""
    info = data.info
    title = f"Loss on the plane through three minima: {info['data']}"
    lines = f"white line, dashed line: loss threshold {info['threshold']:g}"
    heading(
        figure, title, f"network {info['model']}, repeat {info['repeat']}; {geometry(data)}; {lines}", info["scale"]
    )


def geometry(data: StudyPlane) -> str:
    """Return the angle between the minima, and whether they started from the same weights."""
    start = "one initialisation, " * data.info["one_initialisation"]
    return f"{start}angle at A {data.plane.angle:.0f}°"


def plane_axes(axes: Axes, data: StudyPlane) -> None:
    """Set limits and labels of a map with true lengths and angles."""
    plane = data.plane
    axes.set(xlim=plane.x[[0, -1]], ylim=plane.y[[0, -1]], aspect="equal")
    axes.set_xlabel("from A towards B (length)", labelpad=1)
    axes.set_ylabel("orthogonal to it", labelpad=0)


def progress(figure: Figure, data: StudyPlane) -> list[DrawFrame]:
    """Prepare the right column: the data size in large digits and the loss of each minimum so far."""
    curves = figure.add_axes((COLUMN, 0.13, 0.285, 0.36))
    return [counter(figure, data.sizes, COLUMN, 0.755, "training samples in the landscape"), loss_curves(curves, data)]


def counter(figure: Figure, values: Sequence[float] | NDArray[Any], x: float, y: float, words: str) -> DrawFrame:
    """Prepare a whole number per state, in large digits above its description."""
    number = figure.text(x, y, "", size=30, weight="bold", va="baseline", ha="left", animated=True)
    figure.text(x, y - 0.052, words, size=11, color=style.GREY, va="baseline")

    def show(state: int) -> None:
        number.set_text(count(values[state]))

    return show


def loss_curves(axes: Axes, data: StudyPlane) -> DrawFrame:
    """Prepare the mean loss at each minimum against the data size, up to the present one, and the threshold."""
    heights, threshold = data.at_corners().clip(data.floor, data.ceiling), data.info["threshold"]
    axes.set(xscale="log", yscale="log", xlim=(data.sizes[0] * 0.94, data.sizes[-1] * 1.06))
    axes.set_ylim(data.floor, data.ceiling)
    axes.axhspan(data.floor, threshold, color=style.PALE, alpha=0.6, lw=0)
    axes.axhline(threshold, color=style.BLACK, lw=1.2, ls="--")
    axes.set_xticks([corner["n_train"] for corner in data.info["corners"]])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set(xlabel="training samples in the landscape", ylabel=data.loss_name)
    parts = list(zip(heights, COLORS, MARKERS, data.info["corners"], strict=True))
    lines = [axes.plot([], [], color=color, animated=True)[0] for _, color, _, _ in parts]
    heads = [
        axes.plot([], [], marker, ms=8, color=color, label=corner_label(corner), **HEAD)[0]
        for _, color, marker, corner in parts
    ]
    axes.legend(loc="lower left", bbox_to_anchor=(-0.03, 1.02), fontsize=10.5, borderaxespad=0.2, handletextpad=0.3)

    def show(index: int) -> None:
        for height, line, head in zip(heights, lines, heads, strict=True):
            line.set_data(data.sizes[: index + 1], height[: index + 1])
            head.set_data([data.sizes[index]], [height[index]])

    return show


def corner_label(corner: dict[str, Any]) -> str:
    """Return the name of a minimum in a legend."""
    return f"{corner['letter']}: trained on {count(corner['n_train'])}"


def corners_on(axes: Axes, data: StudyPlane, names: Sequence[str]) -> None:
    """Draw the three minima on a map with their names."""
    for mark, color, marker, name in zip(data.corners, COLORS, MARKERS, names, strict=True):
        axes.plot(mark.x, mark.y, marker, ms=10, color=color, mew=1.6, **HEAD)
        aside, align = (RIGHT, "left") if mark.x > data.plane.x.mean() else (LEFT, "right")
        axes.annotate(
            name, (mark.x, mark.y), aside, textcoords="offset points", ha=align, va="center", animated=True, **NAME
        )


def short_name(corner: dict[str, Any]) -> str:
    """Return a minimum's letter and its number of training samples."""
    return f"{corner['letter']}  {count(corner['n_train'])}"


def frame_last(axes: Axes) -> None:
    """Draw the frame of a map over what moves inside it."""
    for side in axes.spines.values():
        side.set_animated(True)


def loss_bar(axes: Axes, data: StudyPlane, levels: Floats, ticks: dict[float, str]) -> None:
    """Draw the colour scale with the threshold; ticks are given by log10 of the loss."""
    colors = matplotlib.colormaps[style.LEVEL_MAP]
    middle = np.linspace(0, 1, len(levels) - 1)
    axes.bar(0, np.diff(levels), 1, bottom=levels[:-1], color=colors(middle))
    axes.axhline(np.log10(data.info["threshold"]), color="white", lw=2.4, path_effects=OUTLINED)
    axes.set(xlim=(-0.5, 0.5), ylim=levels[[0, -1]], xticks=(), ylabel=data.loss_name)
    axes.set_yticks([*ticks], [*ticks.values()])
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")


def film_over_sizes(name: str, scene: Scene, data: StudyPlane, fps: int) -> Film:
    """Return a film through all data sizes that stops at each minimum's own training set."""
    own = [data.size_index(corner["n_train"]) for corner in data.info["corners"]]
    states = timeline(len(data.sizes), SECONDS, fps, [(index, PAUSE) for index in (*own, own[-1])])
    return Film(name, scene, states, poster=own[1], fingerprint=data.info["fingerprint"])


def film_of_run(name: str, scene: Scene, moments: int, fps: int, fingerprint: str) -> Film:
    """Return a film through all moments of a run that stops at its start and longer at its end."""
    states = timeline(moments, SECONDS, fps, [(0, PAUSE), (moments - 1, 2 * PAUSE)])
    return Film(name, scene, states, poster=moments - 1, fingerprint=fingerprint)


class Track:
    """What checkpoints of a run recorded, interpolated linearly in the logarithm of the epoch.

    Args:
        checkpoints: One mapping of numbers for each, `epoch` among them, in ascending order.
        steps: Number of moments.
        first: What is added to epochs before the logarithm, so that a run may start at epoch 0.
    """

    def __init__(self, checkpoints: list[dict[str, Any]], steps: int, first: int = 0) -> None:
        self.checkpoints = checkpoints
        self.known = np.log([checkpoint["epoch"] + first for checkpoint in checkpoints])
        self.moments = np.linspace(self.known[0], self.known[-1], steps)
        self.epochs = np.exp(self.moments) - first

    def of(self, name: str) -> Floats:
        """Return a recorded number at every moment."""
        return np.interp(self.moments, self.known, [checkpoint[name] for checkpoint in self.checkpoints])


def trail(axes: Axes, track: Track) -> DrawFrame:
    """Prepare the path over a map up to the present moment, with a ring where the network is."""
    x, y = track.of("x"), track.of("y")
    lines = [
        axes.plot([], [], color=color, lw=width, zorder=3, animated=True)[0]
        for color, width in ((style.BLACK, 3.2), (style.YELLOW, 1.8))
    ]
    head = axes.plot([], [], "o", ms=16, mfc="none", mec=style.YELLOW, mew=2, zorder=7, animated=True)[0]

    def show(state: int) -> None:
        for line in lines:
            line.set_data(x[: state + 1], y[: state + 1])
        head.set_data([x[state]], [y[state]])

    return show
