"""Targets, and the outward scan that guards the first crossing of every ray."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minima_volume.estimators.published import PAPER_GRID
from minima_volume.networks.losses import Metric

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
# Every eighth point of the paper's grid and its end c = 1; trained networks cross between k = 9 and k = 60.
SCAN_NODES: Floats = PAPER_GRID[[*range(4, 99, 8), 99]]
# (rays (k,), coefficient) -> means (k, targets)
Means = Callable[[Counts, float], Floats]


@dataclass(frozen=True)
class Target:
    """One boundary: the mean over the first `size` samples equals `threshold`.

    For the metric "loss" the mean is of losses. For "accuracy" it is the error rate, and the threshold is 1 − accuracy.
    """

    size: int
    threshold: float
    metric: Metric = "loss"


@dataclass(frozen=True)
class Targets:
    """Boundaries as arrays (targets,): landscape sizes, thresholds, and which mean each one bounds.

    `kinds` holds "loss" or "error_rate". An error rate moves in steps of one sample, so its crossing is bisected.
    """

    sizes: Counts
    thresholds: Floats
    kinds: NDArray[np.str_]

    @classmethod
    def of(cls, targets: Sequence[Target]) -> "Targets":
        """The arrays of a list of targets."""
        return cls(
            np.array([target.size for target in targets], dtype=np.int64),
            np.array([target.threshold for target in targets], dtype=np.float64),
            np.array(["loss" if target.metric == "loss" else "error_rate" for target in targets], dtype="U10"),
        )

    def __len__(self) -> int:
        return len(self.sizes)

    def select(self, columns: Counts | NDArray[np.bool_]) -> "Targets":
        """Some of the targets, by index or mask."""
        return Targets(self.sizes[columns], self.thresholds[columns], self.kinds[columns])

    def extend(self, others: "Targets") -> "Targets":
        """These targets followed by others."""
        pairs = zip(vars(self).values(), vars(others).values(), strict=True)
        return Targets(*(np.concatenate(pair) for pair in pairs))

    @property
    def largest(self) -> int:
        """Size of the largest landscape."""
        return int(self.sizes.max())

    @property
    def is_loss(self) -> NDArray[np.bool_]:
        """Which targets bound a mean loss."""
        return np.asarray(self.kinds == "loss")


def scan(
    means: Means,
    at_zero: Floats,
    thresholds: Floats,
    n_rays: int,
    wanted: NDArray[np.bool_] | None = None,
) -> tuple[Floats, Counts]:
    """Walk every ray outwards from node to node until all of its targets are crossed.

    Args:
        means: Function of k ray numbers and one coefficient that returns the means (k, targets) there.
        at_zero: Means at the minimum itself, (targets,).
        thresholds: Thresholds of the targets, (targets,).
        n_rays: Number of rays.
        wanted: Which crossings are asked for, (rays, targets); all by default.

    Returns:
        The table of means (rays, 1 + nodes, targets), with the minimum as first node and NaN where nothing was
        evaluated, and the number of points evaluated on each ray (rays,).
    """
    # NaN marks nodes that were not visited, so a mean that is NaN is stored as infinite: it lies outside.
    table = np.full((n_rays, 1 + len(SCAN_NODES), len(thresholds)), np.nan)
    table[:, 0] = np.nan_to_num(at_zero, nan=np.inf, posinf=np.inf)
    crossed = table[:, 0] > thresholds
    if wanted is not None:
        crossed |= ~wanted
    alive = np.flatnonzero(~crossed.all(axis=1))
    points = np.zeros(n_rays, dtype=np.int64)
    for j, node in enumerate(SCAN_NODES, start=1):
        if not alive.size:
            break
        table[alive, j] = np.nan_to_num(means(alive, float(node)), nan=np.inf, posinf=np.inf)
        points[alive] += 1
        crossed[alive] |= table[alive, j] > thresholds
        alive = alive[~crossed[alive].all(axis=1)]
    return table, points
