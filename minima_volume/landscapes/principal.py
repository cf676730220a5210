"""The plane in which checkpoints differ most, and their path over it."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minima_volume.errors import UserError
from minima_volume.landscapes import basis
from minima_volume.landscapes.surface import Track

# Bytes of checkpoints that are in memory at a time.
PART = 2**26


def principal_axes(runs: Sequence[NDArray[np.float32]]) -> tuple[Tensor, tuple[float, ...]]:
    """Return the two leading right singular vectors of all differences from the first run's last checkpoint.

    They follow from the Gram matrix of the checkpoints, which are read a few columns at a time.

    Args:
        runs: Checkpoints (checkpoints, n) of each run.

    Returns:
        Axes (2, n), float64 and orthonormal, and the share of the squared differences along each.

    Raises:
        UserError: The checkpoints lie on one line.
    """
    origin, count, n = runs[0][-1], sum(map(len, runs)), runs[0].shape[1]
    width = max(1, PART // (8 * count))
    gram = np.zeros((count, count))
    for part in _differences(runs, origin, width):
        gram += part @ part.T
    values, vectors = np.linalg.eigh(gram)
    if not values[-2] > 1e-12 * values[-1]:
        raise UserError("Expected checkpoints that span a plane, got some that lie on one line: use loss_line.")
    combine = vectors[:, [-1, -2]] / np.sqrt(values[[-1, -2]])
    axes = np.concatenate([combine.T @ part for part in _differences(runs, origin, width)], axis=1)
    shares = tuple((values[[-1, -2]] / values.sum()).tolist())
    return basis.orthonormal(torch.from_numpy(axes.reshape(2, n)), "checkpoints"), shares


def _differences(
    runs: Sequence[NDArray[np.float32]], origin: NDArray[np.float32], width: int
) -> Iterator[NDArray[np.float64]]:
    """Yield differences (checkpoints, columns) from a checkpoint in float64, a few columns at a time."""
    for start in range(0, len(origin), width):
        columns = slice(start, start + width)
        yield np.concatenate([run[:, columns].astype(np.float64) - origin[columns].astype(np.float64) for run in runs])


def track_of(name: str, run: NDArray[np.float32], origin: NDArray[np.float32], axes: Tensor) -> Track:
    """Return a run over the plane, one checkpoint after another."""
    start = origin.astype(np.float64)
    found = [basis.nearest(axes, torch.from_numpy(row.astype(np.float64) - start)) for row in run]
    x, y = np.array([place for place, _ in found]).T
    return Track(name, x, y, np.array([distance for _, distance in found]))
