"""The mean loss on a plane in parameter space for every data size. Films and exports read only this file."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from contourpy import contour_generator
from numpy.typing import NDArray

from minima_volume.storage import archives

Floats = NDArray[np.float64]
LOSS_NAMES = {
    "cross_entropy": "mean cross-entropy (nats)",
    "binary_cross_entropy": "mean cross-entropy (nats)",
    "one_hot_squared_error": "mean squared error",
}
FEW = 23  # data sizes in exports besides those of the three minima
DECADES = 1000  # at most three decades on either side of the threshold are drawn


def _decade(rounded: Callable[[float], float], value: float) -> float:
    # log10(0.001) differs from −3 by a rounding error.
    """Return a power of ten below or above a value."""
    return float(10.0 ** rounded(round(float(np.log10(value)), 9)))


@dataclass(frozen=True)
class Grid:
    """The loss on the plane θ = A + x(B − A) + y(C − A): A lies at (0, 0), B at (1, 0) and C at (0, 1).

    Attributes:
        info: Names of the minima, the data and the threshold.
        x: Fractions of B − A, shape (nx,).
        y: Fractions of C − A, shape (ny,).
        sizes: Numbers of samples, shape (n_sizes,).
        mean_loss: Mean loss over the first `sizes` samples of the pool, shape (n_sizes, ny, nx).
    """

    info: dict[str, Any]
    x: Floats
    y: Floats
    sizes: NDArray[np.int64]
    mean_loss: Floats

    @cached_property
    def floor(self) -> float:
        """Return the lowest loss drawn: the decade below the smallest, at most three decades below the threshold."""
        smallest = max(float(np.nanmin(self.mean_loss)), 1e-300)
        return max(_decade(np.floor, smallest), _decade(np.floor, self.info["threshold"] / DECADES))

    @cached_property
    def ceiling(self) -> float:
        """Return the highest loss drawn: the decade above the largest, at most three decades above the threshold."""
        largest = float(self.mean_loss[np.isfinite(self.mean_loss)].max())
        return min(_decade(np.ceil, largest), _decade(np.ceil, self.info["threshold"] * DECADES))

    def decades(self) -> dict[float, str]:
        """Return names of the decades by log10. The first and the last say if losses lie beyond them."""
        lowest, highest = round(np.log10(self.floor)), round(np.log10(self.ceiling))
        names = {float(decade): f"$10^{{{decade}}}$" for decade in range(lowest, highest + 1)}
        beyond = not (self.mean_loss <= self.ceiling).all()  # NaN is drawn at the top, too
        names[float(lowest)] = "≤ " * bool(np.nanmin(self.mean_loss) < self.floor) + names[float(lowest)]
        names[float(highest)] = "≥ " * bool(beyond) + names[float(highest)]
        return names

    @property
    def loss_name(self) -> str:
        """Return the name of the loss with its unit, for axes."""
        return LOSS_NAMES[self.info["loss"]]

    def drawn(self, index: int) -> Floats:
        """Return log10 of the mean loss (ny, nx) at a data size, clipped to the range that is drawn."""
        values = np.nan_to_num(self.mean_loss[index], nan=self.ceiling, posinf=self.ceiling)
        drawn: Floats = np.log10(np.clip(values, self.floor, self.ceiling))
        return drawn

    def outline(self, index: int) -> list[Floats]:
        """Return the lines (points, 2) on which the mean loss at a data size equals the threshold."""
        lines = contour_generator(self.x, self.y, self.drawn(index)).lines(float(np.log10(self.info["threshold"])))
        return [np.asarray(line, np.float64) for line in lines]

    def at_corners(self) -> Floats:
        """Return the mean loss at the minima A, B and C, shape (3, n_sizes). They lie on nodes of the grid."""
        i0, i1 = (int(np.abs(self.x - place).argmin()) for place in (0, 1))
        j0, j1 = (int(np.abs(self.y - place).argmin()) for place in (0, 1))
        return np.stack([self.mean_loss[:, j, i] for j, i in ((j0, i0), (j0, i1), (j1, i0))])

    def about(self) -> str:
        """Return one line about the data and the network. Quick runs are named as such."""
        marked = "quick run, not paper scale; " * (self.info["scale"] == "quick")
        return f"{marked}{self.info['data']}, network {self.info['model']}, repeat {self.info['repeat']}"

    def axis_names(self) -> tuple[str, str, str]:
        """Return the names of x, y and the height with their units."""
        to_b, to_c = (
            f"A → {end} (1 = distance {self.info[key]:.1f})" for end, key in (("B", "length_b"), ("C", "length_c"))
        )
        return to_b, to_c, f"log10 of {self.loss_name}"

    def few_sizes(self) -> list[int]:
        """Return indices of the data sizes in exports: those of the three minima, and FEW spread over the film."""
        own = [self.size_index(corner["n_train"]) for corner in self.info["corners"]]
        return sorted({*own, *np.linspace(0, len(self.sizes) - 1, FEW).round().astype(int).tolist()})

    def size_index(self, size: int) -> int:
        """Return the index of the nearest data size in `sizes`."""
        return int(np.abs(self.sizes - size).argmin())


def write(path: Path, grid: Grid) -> None:
    """Write a grid to a file."""
    arrays = {"x": grid.x, "y": grid.y, "sizes": grid.sizes, "mean_loss": grid.mean_loss}
    archives.write_arrays(path, grid.info, arrays)


def read(path: Path) -> Grid:
    """Read a grid from a file.

    Raises:
        ResultsError: The file is missing or damaged.
    """
    info, arrays = archives.read_arrays(path)
    return Grid(info, arrays["x"], arrays["y"], arrays["sizes"], arrays["mean_loss"])


@lru_cache(maxsize=1)
def shared(path: Path) -> Grid:
    """Read a grid once per process, however many frames it draws."""
    return read(path)
