"""Mean loss on a plane in parameter space for every data size: the one file that surface videos and exports read."""

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
FEW = 23  # data sizes that exports hold beside those of the three minima
DECADES = 1000  # what is drawn spans three decades on either side of the threshold at most


def _decade(rounded: Callable[[float], float], value: float) -> float:
    # Thresholds such as 0.001 lie a rounding error beside their decade.
    return float(10.0 ** rounded(round(float(np.log10(value)), 9)))


@dataclass(frozen=True)
class Grid:
    """The plane θ = A + x(B − A) + y(C − A), so that A lies at (0, 0), B at (1, 0) and C at (0, 1).

    `x` (nx,) and `y` (ny,) are fractions of raw parameter differences; `mean_loss` (n_sizes, ny, nx) is the mean over the
    first `sizes` (n_sizes,) samples of the pool. `info` says what the minima, the data and the threshold are.
    """

    info: dict[str, Any]
    x: Floats
    y: Floats
    sizes: NDArray[np.int64]
    mean_loss: Floats

    @cached_property
    def floor(self) -> float:
        """The lowest loss drawn: the decade below the smallest, but at most three decades below the threshold."""
        smallest = max(float(np.nanmin(self.mean_loss)), 1e-300)
        return max(_decade(np.floor, smallest), _decade(np.floor, self.info["threshold"] / DECADES))

    @cached_property
    def ceiling(self) -> float:
        """The highest loss drawn: the decade above the largest, but at most three decades above the threshold."""
        largest = float(self.mean_loss[np.isfinite(self.mean_loss)].max())
        return min(_decade(np.ceil, largest), _decade(np.ceil, self.info["threshold"] * DECADES))

    def decades(self) -> dict[float, str]:
        """Log10 of the decades between floor and ceiling with their names; ends beyond which losses lie say so."""
        lowest, highest = round(np.log10(self.floor)), round(np.log10(self.ceiling))
        names = {float(decade): f"$10^{{{decade}}}$" for decade in range(lowest, highest + 1)}
        beyond = not (self.mean_loss <= self.ceiling).all()  # what is no number is drawn at the top, too
        names[float(lowest)] = "≤ " * bool(np.nanmin(self.mean_loss) < self.floor) + names[float(lowest)]
        names[float(highest)] = "≥ " * bool(beyond) + names[float(highest)]
        return names

    @property
    def loss_name(self) -> str:
        """The loss with its unit, for axes."""
        return LOSS_NAMES[self.info["loss"]]

    def drawn(self, index: int) -> Floats:
        """Log10 of the mean loss (ny, nx) at a data size, kept between floor and ceiling so that it can be drawn."""
        values = np.nan_to_num(self.mean_loss[index], nan=self.ceiling, posinf=self.ceiling)
        drawn: Floats = np.log10(np.clip(values, self.floor, self.ceiling))
        return drawn

    def outline(self, index: int) -> list[Floats]:
        """The lines (points, 2) in the plane on which the mean loss at a data size is the threshold."""
        lines = contour_generator(self.x, self.y, self.drawn(index)).lines(float(np.log10(self.info["threshold"])))
        return [np.asarray(line, np.float64) for line in lines]

    def at_corners(self) -> Floats:
        """Mean loss of the minima A, B and C themselves (3, n_sizes); they lie on nodes of the grid."""
        i0, i1 = (int(np.abs(self.x - place).argmin()) for place in (0, 1))
        j0, j1 = (int(np.abs(self.y - place).argmin()) for place in (0, 1))
        return np.stack([self.mean_loss[:, j, i] for j, i in ((j0, i0), (j0, i1), (j1, i0))])

    def about(self) -> str:
        """What the numbers are, in one line; quick ones are called so."""
        marked = "quick run, not paper scale; " * (self.info["scale"] == "quick")
        return f"{marked}{self.info['data']}, network {self.info['model']}, repeat {self.info['repeat']}"

    def axis_names(self) -> tuple[str, str, str]:
        """Names of x, y and the height with their units."""
        to_b, to_c = (
            f"A → {end} (1 = distance {self.info[key]:.1f})" for end, key in (("B", "length_b"), ("C", "length_c"))
        )
        return to_b, to_c, f"log10 of {self.loss_name}"

    def few_sizes(self) -> list[int]:
        """Indices of the data sizes that exports hold: those of the three minima and FEW along the film."""
        own = [self.size_index(corner["n_train"]) for corner in self.info["corners"]]
        return sorted({*own, *np.linspace(0, len(self.sizes) - 1, FEW).round().astype(int).tolist()})

    def size_index(self, size: int) -> int:
        """Where a data size stands in `sizes`, or the nearest one to it."""
        return int(np.abs(self.sizes - size).argmin())


def write(path: Path, grid: Grid) -> None:
    """Store a grid whole."""
    arrays = {"x": grid.x, "y": grid.y, "sizes": grid.sizes, "mean_loss": grid.mean_loss}
    archives.write_arrays(path, grid.info, arrays)


def read(path: Path) -> Grid:
    """A stored grid; ResultsError if it is missing or damaged."""
    info, arrays = archives.read_arrays(path)
    return Grid(info, arrays["x"], arrays["y"], arrays["sizes"], arrays["mean_loss"])


@lru_cache(maxsize=1)
def shared(path: Path) -> Grid:
    """A stored grid, read once per process however many frames it draws."""
    return read(path)
