"""The result of `loss_plane`: losses on a plane, which can be drawn, saved and exported."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minima_volume.landscapes import exports, figure, html
from minima_volume.landscapes.surface import Surface

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, kw_only=True)
class Plane(Surface):
    """Losses on the plane θ = A + s∘(x·e₁ + y·e₂) with orthonormal axes; the attributes are those of `Surface`."""

    def plot(self, index: int = -1) -> "Figure":
        """Draw contours with equal aspect, the threshold, the models and the tracks.

        Args:
            index: Which of the data sizes.

        Raises:
            UserError: If matplotlib is not installed.
        """
        return figure.plot_plane(self, index)

    def plot_surface(self, index: int = -1) -> "Figure":
        """Draw the surface in three dimensions, its height log10 of the mean loss.

        Args:
            index: Which of the data sizes.

        Raises:
            UserError: If matplotlib is not installed.
        """
        return figure.plot_surface(self, index)

    def save(self, path: str | Path) -> None:
        """Write the plane as .npz or .csv, by the ending of the path; see `minima_volume.landscapes.exports`.

        Args:
            path: The file to write.

        Raises:
            ResultsError: The path ends in something else, or cannot be written.
        """
        exports.save_plane(Path(path), self)

    @classmethod
    def load(cls, path: str | Path) -> "Plane":
        """Read a plane that `save` wrote as .npz.

        Args:
            path: The file to read.

        Returns:
            The plane.

        Raises:
            ResultsError: The file is missing, damaged or holds something else.
        """
        return cls(**exports.read_plane(Path(path)))

    def to_mesh(self, path: str | Path) -> None:
        """Write the surface as a mesh: .vtp for ParaView, .obj for programs that draw.

        Args:
            path: The file to write.

        Raises:
            ResultsError: The path ends in something else, or cannot be written.
        """
        exports.save_mesh(Path(path), self)

    def to_landscaper(self, path: str | Path) -> None:
        """Write the .npz that `landscaper.LossLandscape.load_from_npz` reads, for its topology.

        Args:
            path: The file to write.

        Raises:
            ResultsError: The path ends in something else, or cannot be written.
        """
        exports.save_landscaper(Path(path), self)

    def to_html(self, path: str | Path) -> None:
        """Write a page that turns with the mouse, has a slider and needs no other file.

        Args:
            path: The file to write.

        Raises:
            UserError: If plotly is not installed.
        """
        html.write_plane(Path(path), self)
