"""Film: the path of a network over its loss landscapes while it groks, on its training pairs and on all others."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from minima_volume.drawing import style
from minima_volume.landscapes.node_losses import Floats
from minima_volume.planes import study_plane
from minima_volume.planes.study_plane import StudyPlane
from videos import build, elements
from videos.render import DrawFrame, Film

STUDY = "modulo_grokking"
STEPS = 481  # moments between the first and the last checkpoint, evenly in log epochs
BANDS = 30  # number of colours on the maps
COLUMN = 0.815  # where the right column starts
KINDS = ("train", "unseen")
NAMES = {"train": "seen pairs", "unseen": "unseen pairs"}
COLORS = {"train": style.BLUE, "unseen": style.VERMILION}


@dataclass(frozen=True)
class Grokking:
    """Two maps of the same plane with the path on both, and the accuracies. The state is a moment of training."""

    path: Path

    def prepare(self, figure: Figure) -> DrawFrame:
        """Lay out the page and draw what does not change."""
        data = study_plane.shared(self.path)
        elements.use()
        info, track = data.info, elements.Track(data.info["checkpoints"], STEPS)
        aside = max(checkpoint["distance"] for checkpoint in info["checkpoints"])
        path = f"yellow: path, up to {aside:.0f} beside the plane" if aside > 0.5 else "yellow: path"
        elements.heading(
            figure, f"Grokking on its own landscape: {info['data']}",
            f"network {info['model']}, repeat {info['repeat']}; angle at A {data.plane.angle:.0f}°; "
            f"white: loss threshold {info['threshold']:g}; {path}",
            info["scale"],
        )  # fmt: skip
        maps = _two_landscapes(data)
        levels = np.linspace(min(heights.min() for heights in maps), max(heights.max() for heights in maps), BANDS + 1)
        charts = [figure.add_axes((left, 0.125, 0.305, 0.5422)) for left in (0.062, 0.379)]
        shows = [_map(axes, data, heights, levels, track) for axes, heights in zip(charts, maps, strict=True)]
        for axes, kind in zip(charts, KINDS, strict=True):
            axes.set_title(f"loss on {NAMES[kind]}")
        charts[1].set(ylabel="", yticklabels=())
        elements.loss_bar(figure.add_axes((0.695, 0.125, 0.011, 0.5422)), data, levels, _ticks(levels))
        curves = figure.add_axes((COLUMN, 0.135, 0.165, 0.30))
        shows += [
            elements.counter(figure, track.epochs, COLUMN, 0.775, "epochs of training"),
            _accuracies(curves, track),
        ]
        curves.legend(*_legend(curves, info["corners"]), loc="lower left", bbox_to_anchor=(-0.16, 1.02), fontsize=9.5)
        return elements.combine(shows)


def _two_landscapes(data: StudyPlane) -> list[Floats]:
    """Return log10 of the mean loss over the training pairs, which come first, and over the others."""
    n_train, n_all = (int(size) for size in data.sizes)
    train, everything = data.plane.mean_loss
    unseen = (everything * n_all - train * n_train) / (n_all - n_train)
    finite = [np.nan_to_num(values, nan=data.ceiling).clip(1e-12, data.ceiling) for values in (train, unseen)]
    return [np.log10(values) for values in finite]


def _ticks(levels: Floats) -> dict[float, str]:
    """Return log10 of the numbers 1, 2 and 5 of every decade on the scale, with their names."""
    numbers = [digit * 10.0**decade for decade in range(-12, 4) for digit in (1, 2, 5)]
    return {float(np.log10(n)): f"{n:g}" for n in numbers if levels[0] <= np.log10(n) <= levels[-1]}


def _map(axes: Axes, data: StudyPlane, heights: Floats, levels: Floats, track: elements.Track) -> DrawFrame:
    """Draw a landscape, and prepare the path over it up to the present moment."""
    limit = float(np.log10(data.info["threshold"]))
    axes.contourf(data.plane.x, data.plane.y, heights, levels, cmap=style.LEVEL_MAP, zorder=1)
    if heights.min() < limit < heights.max():
        line = axes.contour(
            data.plane.x, data.plane.y, heights, [limit], colors="white", linewidths=2.4, linestyles="-", zorder=2
        )
        line.set_path_effects(elements.OUTLINED)
    elements.plane_axes(axes, data)
    elements.corners_on(axes, data, [corner["letter"] for corner in data.info["corners"]])
    return elements.trail(axes, track)


def _legend(axes: Axes, corners: list[dict[str, Any]]) -> tuple[list[Artist], list[str]]:
    """Return the curves of a panel and the epochs of the three checkpoints."""
    handles, labels = axes.get_legend_handles_labels()
    for corner, color, marker in zip(corners, elements.COLORS, elements.MARKERS, strict=True):
        handles.append(Line2D([], [], ls="none", marker=marker, color=color, ms=7, mec="white"))
        labels.append(f"{corner['letter']}: epoch {elements.count(corner['level'])}")
    return handles, labels


def _accuracies(axes: Axes, track: elements.Track) -> DrawFrame:
    """Prepare the accuracy on both kinds of pairs up to the present epoch, with dots at checkpoints."""
    axes.set(xscale="log", xlim=(track.epochs[0] * 0.9, track.epochs[-1] * 1.1), ylim=(-0.02, 1.04))
    axes.set(xlabel="epochs", yticks=(0, 0.5, 1))
    ends = [track.epochs[0], track.epochs[-1]]
    axes.set_xticks([*ends, float(np.sqrt(ends[0] * ends[1]))])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: elements.count(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    shown: dict[str, Any] = {"animated": True, "clip_on": False}
    lines = {k: axes.plot([], [], color=COLORS[k], label=f"accuracy, {NAMES[k]}", **shown)[0] for k in KINDS}
    dots = {k: axes.plot([], [], "o", ms=4, color=COLORS[k], **shown)[0] for k in KINDS}

    def show(state: int) -> None:
        past = [c for c in track.checkpoints if np.log(c["epoch"]) <= track.moments[state] + 1e-9]
        for kind in KINDS:
            name = f"{kind}_accuracy"
            lines[kind].set_data(track.epochs[: state + 1], track.of(name)[: state + 1])
            dots[kind].set_data([c["epoch"] for c in past], [c[name] for c in past])

    return show


def film(scale: str, folder: Path, fps: int) -> Film:
    """Return the film of the study's first repeat; its plane is computed if necessary."""
    from minima_volume.planes import checkpoints

    path = checkpoints.checkpoint_plane(STUDY, scale, folder)
    return elements.film_of_run("grokking", Grokking(path), STEPS, fps, study_plane.read(path).info["fingerprint"])


FILMS: dict[str, build.Entry] = {"grokking": film}

if __name__ == "__main__":
    build.main(FILMS)
