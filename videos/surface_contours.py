"""Film: the loss on the plane through three minima as contours, while the data set grows."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minima_volume.drawing import style
from minima_volume.planes import study_plane
from minima_volume.planes.study_plane import StudyPlane
from minima_volume.planes.triples import TRIPLES, Triple
from videos import build, elements
from videos.render import DrawFrame, Film

BANDS_PER_DECADE = 6


@dataclass(frozen=True)
class Contours:
    """The map on the left, data size and loss of each minimum on the right. The state is an index of data sizes."""

    path: Path

    def prepare(self, figure: Figure) -> DrawFrame:
        """Lay out the page and draw what does not change."""
        data = study_plane.shared(self.path)
        elements.use()
        elements.plane_heading(figure, data)
        chart = figure.add_axes((0.075, 0.115, 0.4106, 0.73))
        bar = figure.add_axes((0.505, 0.115, 0.014, 0.73))
        return elements.combine([_map(chart, bar, data), *elements.progress(figure, data)])


def _map(axes: Axes, bar: Axes, data: StudyPlane) -> DrawFrame:
    """Prepare filled contours at fixed levels, the threshold's contour, and the three minima."""
    lowest, highest = np.log10([data.floor, data.ceiling])
    levels = np.linspace(lowest, highest, round((highest - lowest) * BANDS_PER_DECADE) + 1)
    limit = float(np.log10(data.info["threshold"]))
    elements.plane_axes(axes, data)
    elements.frame_last(axes)
    elements.corners_on(axes, data, [elements.short_name(corner) for corner in data.info["corners"]])
    elements.loss_bar(bar, data, levels, data.decades())
    drawn: list[Artist] = []

    def show(index: int) -> None:
        while drawn:
            drawn.pop().remove()
        heights = data.drawn(index)
        drawn.append(axes.contourf(data.plane.x, data.plane.y, heights, levels, cmap=style.LEVEL_MAP, zorder=1))
        if heights.min() < limit < heights.max():
            line = axes.contour(
                data.plane.x, data.plane.y, heights, [limit], colors="white", linewidths=2.4, linestyles="-", zorder=2
            )
            line.set_path_effects(elements.OUTLINED)
            drawn.append(line)
        for artist in drawn:
            artist.set_animated(True)

    return show


def film(triple: Triple, scale: str, folder: Path, fps: int) -> Film:
    """Return the film of a triple; its plane is computed if necessary."""
    from minima_volume.planes import through_minima

    path = through_minima.triple_plane(triple, scale, folder)
    return elements.film_over_sizes(f"{triple.name}_contours", Contours(path), study_plane.read(path), fps)


FILMS: dict[str, build.Entry] = {f"{triple.name}_contours": partial(film, triple) for triple in TRIPLES}

if __name__ == "__main__":
    build.main(FILMS)
