"""Targets, and the outward scan that guards the first crossing of every ray."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from minima_volume.estimators.published import PAPER_GRID
from minima_volume.networks.losses import Metric
from minima_volume.rays.base import Rays

Floats = NDArray[np.float64]
# Scan nodes: every eighth point of the paper's grid and its end c = 1; trained networks cross between k = 9 and k = 60.
SCAN_NODES: Floats = PAPER_GRID[[*range(4, 99, 8), 99]]


@dataclass(frozen=True)
class Target:
    """A boundary to find: the mean over the first `size` samples equals `threshold`.

    For the metric "accuracy" the mean is of misclassified samples and the threshold is 1 − accuracy; such a mean moves in
    steps, so its crossing is bracketed by bisection.
    """

    size: int
    threshold: float
    metric: Metric = "loss"


Counts = NDArray[np.int64]
# (rays (k,), targets (k,), coefficients (k,)) -> mean losses (k,)
Evaluate = Callable[[NDArray[np.int64], NDArray[np.int64], Floats], Floats]


def evaluator(rays: Rays, targets: Sequence[Target]) -> Evaluate:
    """Mean of each (ray, target, coefficient), visiting only the samples that the target's landscape holds."""
    kinds = [(target.metric, target.size) for target in targets]
    kind_of = np.array([sorted(set(kinds)).index(kind) for kind in kinds])

    def evaluate(ray: NDArray[np.int64], target: NDArray[np.int64], c: Floats) -> Floats:
        out = np.empty(len(ray))
        for number, (metric, size) in enumerate(sorted(set(kinds))):
            rows = np.flatnonzero(kind_of[target] == number)
            if rows.size:
                rows = rows[np.argsort(ray[rows], kind="stable")]
                means = rays.means(torch.from_numpy(ray[rows]), torch.from_numpy(c[rows]), [size], metric)
                out[rows] = means[:, 0].numpy()
        return out

    return evaluate


def means_at(rays: Rays, index: NDArray[np.int64], c: Floats, targets: Sequence[Target]) -> Floats:
    """Mean of every target (k, targets) at the k points (ray, coefficient), nested landscapes in one pass."""
    out = np.empty((len(index), len(targets)))
    for metric in sorted({target.metric for target in targets}):
        columns = [j for j, target in enumerate(targets) if target.metric == metric]
        sizes = sorted({targets[j].size for j in columns})
        means = rays.means(torch.from_numpy(index), torch.from_numpy(c), sizes, metric).numpy()
        out[:, columns] = means[:, [sizes.index(targets[j].size) for j in columns]]
    return out


def scan(
    rays: Rays, targets: Sequence[Target], at_zero: Floats, nodes: Floats, wanted: NDArray[np.bool_] | None = None
) -> tuple[Floats, NDArray[np.int64]]:
    """Means (rays, 1 + nodes, targets) outwards until every target is crossed, NaN behind; and the points per ray.

    `at_zero` (targets,) are the means at the minimum itself, the first column of the result. `wanted` (rays, targets) says
    which crossings are asked for; without it all are.
    """
    thresholds = np.array([target.threshold for target in targets])
    # NaN marks what was not evaluated, so a loss that is NaN is kept as infinite: no threshold bounds it.
    table = np.full((rays.n_rays, 1 + len(nodes), len(targets)), np.nan)
    table[:, 0] = np.nan_to_num(at_zero, nan=np.inf, posinf=np.inf)
    crossed = table[:, 0] > thresholds
    if wanted is not None:
        crossed |= ~wanted
    alive = np.flatnonzero(~crossed.all(axis=1))
    points = np.zeros(rays.n_rays, dtype=np.int64)
    for j, node in enumerate(nodes, start=1):
        if not alive.size:
            break
        means = means_at(rays, alive, np.full(len(alive), node), targets)
        table[alive, j] = np.nan_to_num(means, nan=np.inf, posinf=np.inf)
        points[alive] += 1
        crossed[alive] |= table[alive, j] > thresholds
        alive = alive[~crossed[alive].all(axis=1)]
    return table, points
