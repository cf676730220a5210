"""Running sums over samples at many points, and the means they become."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minima_volume.landscapes.node_losses import Floats


@dataclass(frozen=True)
class Means:
    """Means over samples at some points.

    Attributes:
        loss: Mean loss over the first samples, (points, sizes).
        error_rate: Share of wrong predictions over the first samples, (points, sizes); NaN without classes.
        loss_se: Standard error of the mean loss over all samples, (points,): their standard deviation over √N.
    """

    loss: Floats
    error_rate: Floats
    loss_se: Floats


class Totals:
    """Running sums of losses, errors and squared losses at points, read off at nested sizes."""

    def __init__(self, n_points: int, sizes: Sequence[int]) -> None:
        self.sizes = np.asarray(sizes)
        self.sums = np.zeros((2, n_points, len(sizes)))
        self.squares, self.running = np.zeros(n_points), np.zeros((2, n_points))
        self.done = np.zeros(n_points, dtype=np.int64)

    def add(self, place: NDArray[np.int64], losses: Tensor, wrong: Tensor | None) -> None:
        """Add the next samples (points, samples) of some points."""
        start, count = int(self.done[place[0]]), losses.shape[1]
        inside = (self.sizes > start) & (self.sizes <= start + count)
        at = torch.from_numpy(self.sizes[inside] - start - 1).to(losses.device)
        for kind, values in enumerate((losses, wrong)):
            if values is not None and inside[:-1].any():
                partial = values.double().cumsum(1)[:, at].cpu().numpy()
                self.sums[kind][np.ix_(place, inside)] = self.running[kind, place][:, None] + partial
            if values is not None:
                self.running[kind, place] += values.sum(dim=1, dtype=torch.float64).cpu().numpy()
            if values is not None and inside[-1]:
                self.sums[kind, place, -1] = self.running[kind, place]
        self.squares[place] += losses.square().sum(dim=1).cpu().numpy()
        self.done[place] += count

    def fail(self, place: NDArray[np.int64]) -> None:
        """Set the sums of points to NaN."""
        self.sums[:, place] = self.squares[place] = math.nan

    def means(self, classes: bool) -> Means:
        """Return the means."""
        loss, wrong = self.sums / self.sizes
        n = int(self.sizes[-1])
        variance = np.clip(self.squares - n * loss[:, -1] ** 2, 0, None) / max(n - 1, 1)
        return Means(loss, wrong if classes else np.full_like(wrong, math.nan), np.sqrt(variance / n))
