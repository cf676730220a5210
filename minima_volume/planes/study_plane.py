"""A plane of a study with what pictures say about it. Films and exports read only its two files, without torch."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from contourpy import contour_generator

from minima_volume.landscapes.node_losses import Floats
from minima_volume.landscapes.plane import Plane
from minima_volume.landscapes.surface import Mark
from minima_volume.storage import archives

LOSS_NAMES = {
    "cross_entropy": "mean cross-entropy (nats)",
    "binary_cross_entropy": "mean cross-entropy (nats)",
    "one_hot_squared_error": "mean squared error",
}
FEW = 14  # data sizes in exports besides those of the three minima
DECADES = 1000  # at most three decades on either side of the threshold are drawn


def _decade(rounded: Callable[[float], float], value: float) -> float:
    """Return a power of ten below or above a value."""
    # log10(0.001) differs from −3 by a rounding error.
    return float(10.0 ** rounded(round(float(np.log10(value)), 9)))


@dataclass(frozen=True)
class StudyPlane:
    """A plane with true lengths and angles, and what is known of its models.

    Attributes:
        info: Names of the data and the network, the threshold, and a row for each minimum in `corners`.
        plane: Losses on the plane; its first models are the corners.
    """

    info: dict[str, Any]
    plane: Plane

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of samples, ascending."""
        return self.plane.sizes

    @property
    def corners(self) -> tuple[Mark, ...]:
        """The minima A, B and C on the plane."""
        return self.plane.models[: len(self.info["corners"])]

    @cached_property
    def floor(self) -> float:
        """The lowest loss drawn: the decade below the smallest, at most three decades below the threshold."""
        smallest = max(float(np.nanmin(self.plane.mean_loss)), 1e-300)
        return max(_decade(np.floor, smallest), _decade(np.floor, self.info["threshold"] / DECADES))

    @cached_property
    def ceiling(self) -> float:
        """The highest loss drawn: the decade above the largest, at most three decades above the threshold."""
        losses = self.plane.mean_loss
        largest = float(losses[np.isfinite(losses)].max())
        return min(_decade(np.ceil, largest), _decade(np.ceil, self.info["threshold"] * DECADES))

    def decades(self) -> dict[float, str]:
        """Return names of the decades by log10. The first and the last say if losses lie beyond them."""
        losses = self.plane.mean_loss
        lowest, highest = round(np.log10(self.floor)), round(np.log10(self.ceiling))
        names = {float(decade): f"$10^{{{decade}}}$" for decade in range(lowest, highest + 1)}
        beyond = not (losses <= self.ceiling).all()  # NaN is drawn at the top, too
        names[float(lowest)] = "≤ " * bool(np.nanmin(losses) < self.floor) + names[float(lowest)]
        names[float(highest)] = "≥ " * bool(beyond) + names[float(highest)]
        return names

    @property
    def loss_name(self) -> str:
        """The name of the loss with its unit, for axes."""
        return LOSS_NAMES[self.info["loss"]]

    def drawn(self, index: int) -> Floats:
        """Return log10 of the mean loss (ny, nx) at a data size, clipped to the range that is drawn."""
        values = np.nan_to_num(self.plane.mean_loss[index], nan=self.ceiling, posinf=self.ceiling)
        drawn: Floats = np.log10(np.clip(values, self.floor, self.ceiling))
        return drawn

    def outline(self, index: int) -> list[Floats]:
        """Return the lines (points, 2) on which the mean loss at a data size equals the threshold."""
        generator = contour_generator(self.plane.x, self.plane.y, self.drawn(index))
        return [np.asarray(line, np.float64) for line in generator.lines(float(np.log10(self.info["threshold"])))]

    def at_corners(self) -> Floats:
        """Return the mean loss at the minima, shape (corners, sizes)."""
        return np.array([mark.mean_loss for mark in self.corners])

    def about(self) -> str:
        """Return one line about the data and the network. Quick runs are named as such."""
        marked = "quick run, not paper scale; " * (self.info["scale"] == "quick")
        named = f"{marked}data {self.info['data']}, network {self.info['model']}, repeat {self.info['repeat']}"
        trained = ", ".join(f"{corner['letter']} trained on {corner['n_train']:,}" for corner in self.info["corners"])
        return f"{named}; {trained} samples. {' '.join(self.plane.notes)}".rstrip()

    def few_sizes(self) -> list[int]:
        """Return the data sizes of exports: those of the three minima, and FEW spread over the film."""
        own = [self.sizes[self.size_index(corner["n_train"])] for corner in self.info["corners"]]
        spread = np.linspace(0, len(self.sizes) - 1, FEW).round().astype(int)
        return sorted({*own, *(self.sizes[index] for index in spread)})

    def size_index(self, size: int) -> int:
        """Return the index of the nearest data size in `sizes`."""
        return int(np.abs(np.array(self.sizes) - size).argmin())


def record_of(path: Path) -> Path:
    """Return the path of the record beside the archive of a plane."""
    return path.with_suffix(".json")


def write(path: Path, found: StudyPlane) -> None:
    """Write the plane as an archive, then the record of what it is."""
    found.plane.save(path)
    archives.write_record(record_of(path), found.info)


def read(path: Path) -> StudyPlane:
    """Read a plane and its record.

    Raises:
        ResultsError: A file is missing or damaged.
    """
    return StudyPlane(archives.read_json(record_of(path)), Plane.load(path))


def is_current(path: Path, fingerprint: str) -> bool:
    """Return whether a plane is complete and was made with the present settings."""
    found = archives.read_if_current(archives.read_json, record_of(path), fingerprint)
    return found is not None and path.exists()


@lru_cache(maxsize=1)
def shared(path: Path) -> StudyPlane:
    """Read a plane once per process, however many frames it draws."""
    return read(path)
