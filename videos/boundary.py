"""Film: the decision boundary of a minimum on the two spirals, along a random direction up to the loss threshold."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from minima_volume.drawing import style
from minima_volume.storage import archives
from videos import build, elements
from videos.render import DrawFrame, Film, timeline

STUDY = "swiss_data_x5"
SECONDS = 10.0
LEFT = 0.63  # where the right column starts
CLASSES = (style.BLUE, style.VERMILION)
PROBABILITY = LinearSegmentedColormap.from_list("probability", ["#A5CDE3", "#FFFFFF", "#F2C6A0"])


@lru_cache(maxsize=1)
def _stored(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read a stored deformation once per process, however many frames it draws."""
    return archives.read_arrays(path)


@dataclass(frozen=True)
class Boundary:
    """The plane of inputs on the left, loss against radius on the right. The state is a step along the ray."""

    path: Path

    def prepare(self, figure: Figure) -> DrawFrame:
        """Lay out the page and draw what does not change."""
        info, arrays = _stored(self.path)
        elements.use()
        elements.heading(
            figure, "A decision boundary along a ray out of the minimum: " + info["data"],
            f"network {info['model']} trained on {elements.count(info['n_train'])} points; "
            f"random filter-normalised direction {info['direction']}", info["scale"],
        )  # fmt: skip
        chart = figure.add_axes((0.075, 0.115, 0.4106, 0.73))
        curve = figure.add_axes((LEFT, 0.13, 0.345, 0.40))
        shows = [_map(chart, arrays), _loss(curve, arrays, info["threshold"]), _radius(figure, arrays)]
        return elements.combine(shows)


def _map(axes: Axes, arrays: dict[str, NDArray[Any]]) -> DrawFrame:
    """Prepare the probability of class 1 as colour, the boundary now and at the minimum, and the training points."""
    side, targets, points = arrays["side"], arrays["targets"], arrays["points"]
    axes.set(xlim=side[[0, -1]], ylim=side[[0, -1]], aspect="equal", xlabel="input $x_1$", ylabel="input $x_2$")
    extent = (side[0], side[-1], side[0], side[-1])
    image = axes.imshow(arrays["logits"][0], origin="lower", extent=extent, cmap=PROBABILITY, vmin=0, vmax=1, aspect="equal",
                        interpolation="bilinear", animated=True)  # fmt: skip
    start = np.float64(arrays["logits"][0])
    axes.contour(side, side, start, [0], colors=style.GREY, linewidths=1.2, linestyles=":", zorder=2).set_animated(True)
    elements.frame_last(axes)
    for number, (color, marker) in enumerate(zip(CLASSES, ("o", "s"), strict=True)):
        here = points[targets == number]
        axes.plot(*here.T, marker, ms=3.6, color=color, mec="white", mew=0.4, ls="none", zorder=3, animated=True)
    rings = axes.plot([], [], "o", ms=9, mfc="none", mec=style.BLACK, mew=1.3, zorder=4, animated=True)[0]
    drawn: list[Artist] = []

    def show(state: int) -> None:
        while drawn:
            drawn.pop().remove()
        logits = np.float64(arrays["logits"][state])
        image.set_data(1 / (1 + np.exp(-np.clip(logits, -30, 30))))
        if logits.min() < 0 < logits.max():
            drawn.append(axes.contour(side, side, logits, [0], colors=style.BLACK, linewidths=2.2, zorder=3))
            drawn[-1].set_animated(True)
        rings.set_data(*points[arrays["wrong"][state]].T)

    return show


def _loss(axes: Axes, arrays: dict[str, NDArray[Any]], threshold: float) -> DrawFrame:
    """Prepare the mean loss over the training points along the ray, up to the threshold."""
    radii, losses = arrays["radii"], arrays["losses"]
    low = 10.0 ** np.floor(np.log10(losses.min()))
    axes.set(yscale="log", xlim=(0, radii[-1] * 1.05), ylim=(low, threshold * 3))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.axhspan(low, threshold, color=style.PALE, alpha=0.6, lw=0)
    axes.axhline(threshold, color=style.BLACK, lw=1.2, ls="--")
    axes.text(0.02 * radii[-1], threshold * 1.2, f"threshold {threshold:g}", size=10, va="bottom")
    axes.set(xlabel="radius $|u|$ (filter-normalised)", ylabel="mean cross-entropy (nats)")
    line = axes.plot([], [], color=style.PURPLE, animated=True)[0]
    head = axes.plot([], [], "o", ms=9, color=style.PURPLE, **elements.HEAD)[0]

    def show(state: int) -> None:
        line.set_data(radii[: state + 1], losses[: state + 1])
        head.set_data([radii[state]], [losses[state]])

    return show


def _radius(figure: Figure, arrays: dict[str, NDArray[Any]]) -> DrawFrame:
    """Prepare the radius in large digits and the number of training points on the wrong side."""
    number = figure.text(LEFT, 0.755, "", size=30, weight="bold", va="baseline", animated=True)
    words = figure.text(LEFT, 0.703, "", size=11, color=style.GREY, va="baseline", animated=True)
    keys = "black: boundary now; dotted: at the minimum\nblue ●, orange ■: classes; ring: wrong side"
    figure.text(LEFT, 0.655, keys, size=10, color=style.GREY, va="top", linespacing=1.5)

    def show(state: int) -> None:
        number.set_text(f"r = {arrays['radii'][state]:.2f}")
        wrong, count = int(arrays["wrong"][state].sum()), len(arrays["points"])
        words.set_text(f"{wrong} of {elements.count(count)} training points on the wrong side")

    return show


def film(scale: str, folder: Path, fps: int) -> Film:
    """Return the film of the minimum of the study's last level; its deformation is computed if necessary."""
    from minima_volume.planes import deformation

    path = deformation.deformation_file(STUDY, scale, folder)
    steps = len(_stored(path)[1]["radii"])
    states = timeline(steps, SECONDS, fps, [(0, 1.0), (steps - 1, 2.0)])
    return Film("swiss_boundary", Boundary(path), states, steps - 1, _stored(path)[0]["fingerprint"])


FILMS: dict[str, build.Entry] = {"swiss_boundary": film}

if __name__ == "__main__":
    build.main(FILMS)
