"""Film: a network descends during training, on the plane in which its checkpoints differ most."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from minima_volume.drawing import style
from minima_volume.landscapes.node_losses import Floats
from minima_volume.planes import study_plane
from minima_volume.planes.study_plane import StudyPlane
from videos import build, elements
from videos.render import DrawFrame, Film

STUDY = "digits_data"
STEPS = 361  # moments from the start to the last epoch, evenly in log(1 + epoch)
BANDS_PER_DECADE = 6
LINES = {"train_loss": ("training samples", style.BLUE), "test_loss": ("test samples", style.VERMILION)}


@dataclass(frozen=True)
class Descent:
    """The map with the path on the left, epochs, losses and the distance from the plane on the right."""

    path: Path

    def prepare(self, figure: Figure) -> DrawFrame:
        """Lay out the page and draw what does not change."""
        data = study_plane.shared(self.path)
        elements.use()
        info, track = data.info, elements.Track(data.info["checkpoints"], STEPS, first=1)
        elements.heading(
            figure, f"A network descends in its own plane: {info['data']}",
            f"network {info['model']}, {info['n_train']:,} samples; yellow: path projected onto the plane; "
            f"white: loss threshold {info['threshold']:g}", info["scale"],
        )  # fmt: skip
        chart = figure.add_axes((0.075, 0.115, 0.4106, 0.73))
        bar = figure.add_axes((0.505, 0.115, 0.014, 0.73))
        losses, away = figure.add_axes((0.69, 0.43, 0.285, 0.235)), figure.add_axes((0.69, 0.115, 0.285, 0.19))
        shows = [
            _map(chart, bar, data, track),
            elements.counter(figure, track.epochs, 0.69, 0.785, "epochs of training"),
        ]
        return elements.combine([*shows, _losses(losses, data, track), _distance(away, track)])


def _map(axes: Axes, bar: Axes, data: StudyPlane, track: "elements.Track") -> DrawFrame:
    """Draw the loss on the plane, and prepare the path over it up to the present moment."""
    plane, heights = data.plane, data.drawn(-1)
    lowest, highest = np.log10([data.floor, data.ceiling])
    levels = np.linspace(lowest, highest, round((highest - lowest) * BANDS_PER_DECADE) + 1)
    axes.contourf(plane.x, plane.y, heights, levels, cmap=style.LEVEL_MAP, zorder=1)
    limit = float(np.log10(data.info["threshold"]))
    if heights.min() < limit < heights.max():
        line = axes.contour(
            plane.x, plane.y, heights, [limit], colors="white", linewidths=2.4, linestyles="-", zorder=2
        )
        line.set_path_effects(elements.OUTLINED)
    axes.set(xlim=plane.x[[0, -1]], ylim=plane.y[[0, -1]], aspect="equal")
    for name, label, share in zip("xy", ("component 1", "component 2"), plane.explained, strict=True):
        getattr(axes, f"set_{name}label")(f"{label} (length; {share:.0%} of squared distances)", labelpad=1)
    elements.loss_bar(bar, data, levels, data.decades())
    return elements.trail(axes, track)


def _losses(axes: Axes, data: StudyPlane, track: "elements.Track") -> DrawFrame:
    """Prepare training and test loss up to the present epoch."""
    values = {name: track.of(name) for name in LINES}
    both = np.concatenate([*values.values()])
    axes.set(xscale="log", yscale="log", xlim=(1, track.epochs[-1] * 1.1), ylim=(both.min() / 1.5, both.max() * 1.5))
    axes.axhline(data.info["threshold"], color=style.BLACK, lw=1.2, ls="--")
    axes.set(ylabel=data.loss_name.removeprefix("mean "), xticklabels=())
    axes.yaxis.set_minor_locator(NullLocator())
    shown: dict[str, Any] = {"animated": True, "clip_on": False}
    lines = {name: axes.plot([], [], color=color, label=label, **shown)[0] for name, (label, color) in LINES.items()}
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.03, 1.0), fontsize=10, ncols=2, borderaxespad=0.2, handlelength=1.2
    )

    def show(state: int) -> None:
        for name, line in lines.items():
            line.set_data(track.epochs[: state + 1] + 1, values[name][: state + 1])

    return show


def _distance(axes: Axes, track: "elements.Track") -> DrawFrame:
    """Prepare the distance of the network from the plane up to the present epoch."""
    away: Floats = track.of("distance")
    axes.set(xscale="log", xlim=(1, track.epochs[-1] * 1.1), ylim=(0, away.max() * 1.1))
    axes.set(xlabel="1 + epochs", ylabel="distance\nfrom the plane")
    line = axes.plot([], [], color=style.PURPLE, animated=True, clip_on=False)[0]

    def show(state: int) -> None:
        line.set_data(track.epochs[: state + 1] + 1, away[: state + 1])

    return show


def film(scale: str, folder: Path, fps: int) -> Film:
    """Return the film of one run of the bundled digits; the run is recorded if necessary."""
    from minima_volume.planes import descent

    path = descent.descent_plane(STUDY, scale, folder)
    return elements.film_of_run("digits_descent", Descent(path), STEPS, fps, study_plane.read(path).info["fingerprint"])


FILMS: dict[str, build.Entry] = {"digits_descent": film}

if __name__ == "__main__":
    build.main(FILMS)
