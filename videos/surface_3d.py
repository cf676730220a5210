"""Film: the loss on the plane through three minima as a surface, while the data set grows."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from scipy.ndimage import map_coordinates

from minima_volume.drawing import style
from minima_volume.landscapes.node_losses import Floats
from minima_volume.planes import study_plane
from minima_volume.planes.study_plane import StudyPlane
from minima_volume.planes.triples import TRIPLES, Triple
from videos import build, elements
from videos.render import DrawFrame, Film

HEIGHT = 0.6  # of the box, in units of its sides
ELEVATION, AZIMUTHS = 42.0, (-66.0, -40.0)  # degrees: along the valley from B to C; a slow turn shows the depth
PIN = 0.16  # length of the pins on the minima, as a share of the box's height
LIGHT, DARKEST = np.array([-0.9, -0.5, 1.4]), 0.45  # direction of the light; brightness of a face turned away from it


@dataclass(frozen=True)
class Surface:
    """The surface on the left, data size and loss of each minimum on the right. The state is an index of data sizes."""

    path: Path

    def prepare(self, figure: Figure) -> DrawFrame:
        """Lay out the page and draw what does not change."""
        data = study_plane.shared(self.path)
        elements.use()
        elements.plane_heading(figure, data)
        space = figure.add_axes((-0.05, -0.03, 0.70, 0.98), projection="3d", computed_zorder=False, animated=True)
        space.patch.set_visible(False)  # it would hide the heading
        shows = [_surface(space, data), *elements.progress(figure, data)]
        return elements.combine(shows)


def _surface(space: Axes3D, data: StudyPlane) -> DrawFrame:
    """Prepare the coloured surface, the threshold's contour on it, and a pin on each minimum."""
    lowest, highest = np.log10([data.floor, data.ceiling])
    limit = float(np.log10(data.info["threshold"]))
    colors = matplotlib.colormaps[style.LEVEL_MAP]
    _frame(space, data)
    faces = Poly3DCollection(_faces(data, data.drawn(0)), linewidths=0, antialiaseds=False, zorder=1)
    space.add_collection3d(faces)
    drawn: list[Artist] = []

    def show(index: int) -> None:
        while drawn:
            drawn.pop().remove()
        azimuth = float(np.interp(index, (0, len(data.sizes) - 1), AZIMUTHS))
        space.view_init(ELEVATION, azimuth)
        heights = data.drawn(index)
        corners = _faces(data, heights)
        paint = colors((corners[..., 2].mean(axis=1) - lowest) / (highest - lowest))
        paint[:, :3] *= _brightness(corners, rise=(highest - lowest) / HEIGHT, span=np.ptp(data.plane.x))[:, None]
        faces.set_verts(corners)
        faces.set_facecolor(paint)
        for line in data.outline(index):
            points = np.where(_visible(line, limit, heights, data, azimuth)[:, None], line, np.nan)
            drawn.extend(space.plot(*points.T, limit, color=style.BLACK, lw=4.2, zorder=2))
            drawn.extend(space.plot(*points.T, limit, color="white", lw=2.4, zorder=2))
        drawn.extend(_pins(space, data, index, PIN * (highest - lowest)))

    return show


def _faces(data: StudyPlane, heights: Floats) -> Floats:
    """Return the four corners (faces, 4, 3) of every cell of the grid."""
    nodes = np.stack([*np.meshgrid(data.plane.x, data.plane.y), heights], axis=-1)
    return np.stack([nodes[:-1, :-1], nodes[:-1, 1:], nodes[1:, 1:], nodes[1:, :-1]], axis=2).reshape(-1, 4, 3)


def _brightness(corners: Floats, *, rise: float, span: float) -> Floats:
    """Return the brightness of each face, from DARKEST to 1. Lengths are measured in the box, where all sides are equal."""
    scaled = corners / (span, span, rise)
    normals = np.cross(scaled[:, 2] - scaled[:, 0], scaled[:, 3] - scaled[:, 1])
    lit = normals @ LIGHT / np.linalg.norm(normals, axis=1) / np.linalg.norm(LIGHT)
    return DARKEST + (1 - DARKEST) * lit.clip(0, 1)


def _frame(space: Axes3D, data: StudyPlane) -> None:
    """Draw the axes with their names, and pale walls."""
    lowest, highest = np.log10([data.floor, data.ceiling])
    space.set(xlim=data.plane.x[[0, -1]], ylim=data.plane.y[[0, -1]], zlim=(lowest, highest))
    space.set_proj_type("ortho")
    space.set_box_aspect((1, 1, HEIGHT), zoom=0.88)
    space.set_xlabel("from A towards B (length)", labelpad=7)
    space.set_ylabel("orthogonal to it", labelpad=7)
    decades = data.decades()
    space.set_zticks([*decades], [*decades.values()])
    space.set_zlabel(data.loss_name, labelpad=8)
    space.tick_params(axis="x", pad=0)
    space.tick_params(axis="y", pad=0)
    for side in (space.xaxis, space.yaxis, space.zaxis):
        side.set_pane_color((0.97, 0.97, 0.97))
        side._axinfo["grid"]["color"] = style.PALE


def _pins(space: Axes3D, data: StudyPlane, index: int, length: float) -> list[Artist]:
    """Draw a pin on each minimum, its head in the minimum's colour and shape, with its name."""
    drawn: list[Artist] = []
    feet = np.log10(data.at_corners()[:, index].clip(data.floor, data.ceiling))
    for mark, foot, color, marker, corner in zip(
        data.corners, feet, elements.COLORS, elements.MARKERS, data.info["corners"], strict=True
    ):
        x, y = mark.x, mark.y
        drawn += space.plot([x, x], [y, y], [foot, foot + length], color=style.BLACK, lw=1.6, zorder=3)
        drawn += space.plot([x], [y], [foot + length], marker, ms=11, color=color, mec="white", mew=1.6, zorder=5)
        name = elements.short_name(corner)
        drawn.append(space.text(x, y, foot + 1.7 * length, name, ha="center", va="bottom", **elements.NAME))
    return drawn


def _visible(
    line: Floats, level: float, heights: Floats, data: StudyPlane, azimuth: float
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which points of a contour the surface does not hide: the line of sight of each is followed to the eye."""
    e, a = np.radians([ELEVATION, azimuth])
    span, rise = np.ptp(data.plane.x), (np.log10(data.ceiling) - np.log10(data.floor)) / HEIGHT
    way = np.linspace(0.02, 1, 60)[:, None]
    x, y = (line[:, i] + way * np.cos(e) * (np.cos(a), np.sin(a))[i] * span for i in (0, 1))
    z = level + way * np.sin(e) * rise
    across, along = data.plane.x, data.plane.y
    nodes = [(y - along[0]) / span * (len(along) - 1), (x - across[0]) / span * (len(across) - 1)]
    ground = map_coordinates(heights, nodes, order=1, mode="constant", cval=-np.inf)
    return ~(ground > z + 0.02).any(axis=0)


def film(triple: Triple, scale: str, folder: Path, fps: int) -> Film:
    """Return the film of a triple; its plane is computed if necessary."""
    from minima_volume.planes import through_minima

    path = through_minima.triple_plane(triple, scale, folder)
    return elements.film_over_sizes(f"{triple.name}_surface", Surface(path), study_plane.read(path), fps)


FILMS: dict[str, build.Entry] = {f"{triple.name}_surface": partial(film, triple) for triple in TRIPLES}

if __name__ == "__main__":
    build.main(FILMS)
