"""Film: the loss on the plane through three minima as contours, while the data set grows."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minima_volume.drawing import style
from minima_volume.planes import grid
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
        data = grid.shared(self.path)
        elements.use()
        elements.plane_heading(figure, data)
        chart = figure.add_axes((0.075, 0.115, 0.4106, 0.73))
        bar = figure.add_axes((0.505, 0.115, 0.014, 0.73))
        return elements.combine([_map(chart, bar, data), *elements.progress(figure, data)])


def _map(axes: Axes, bar: Axes, data: grid.Grid) -> DrawFrame:
    """Prepare filled contours at fixed levels, the threshold's contour, and the three minima."""
    lowest, highest = np.log10([data.floor, data.ceiling])
    levels = np.linspace(lowest, highest, round((highest - lowest) * BANDS_PER_DECADE) + 1)
    limit = float(np.log10(data.info["threshold"]))
    axes.set(xlim=data.x[[0, -1]], ylim=data.y[[0, -1]], aspect="equal", xticks=(0, 1), yticks=(0, 1))
    axes.set_xlabel(f"A → B  (distance {data.info['length_b']:.1f})", labelpad=1)
    axes.set_ylabel(f"A → C  (distance {data.info['length_c']:.1f})", labelpad=0)
    elements.frame_last(axes)
    elements.corners_on(axes, [elements.short_name(corner) for corner in data.info["corners"]])
    elements.loss_bar(bar, data, levels, data.decades())
    drawn: list[Artist] = []

    def show(index: int) -> None:
        while drawn:
            drawn.pop().remove()
        heights = data.drawn(index)
        drawn.append(axes.contourf(data.x, data.y, heights, levels, cmap=style.LEVEL_MAP, zorder=1))
        if heights.min() < limit < heights.max():
            line = axes.contour(
                data.x, data.y, heights, [limit], colors="white", linewidths=2.4, linestyles="-", zorder=2
            )
            line.set_path_effects(elements.OUTLINED)
            drawn.append(line)
        for artist in drawn:
            artist.set_animated(True)

    return show


def film(triple: Triple, scale: str, folder: Path, fps: int) -> Film:
    """Return the film of a triple; its plane is computed if necessary."""
    from minima_volume.planes import plane

    path = plane.triple_grid(triple, scale, folder)
    return elements.film_over_sizes(f"{triple.name}_contours", Contours(path), grid.read(path), fps)


FILMS: dict[str, build.Entry] = {f"{triple.name}_contours": partial(film, triple) for triple in TRIPLES}

if __name__ == "__main__":
    build.main(FILMS)
