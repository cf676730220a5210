"""The data size at which a minimum ends: where its cumulative mean loss first exceeds a threshold."""

import numpy as np

from minima_volume.estimators.radial import Floats


def cumulative_means(losses: Floats) -> Floats:
    """Mean loss over the first k samples, k = 1…N, accumulated in float64."""
    return np.cumsum(losses, dtype=np.float64) / np.arange(1, len(losses) + 1)


def cutoff(losses: Floats, threshold: float, *, start: int = 1) -> int | None:
    """The first data size k ≥ `start` at which the mean loss over k samples exceeds the threshold, or None."""
    above = np.flatnonzero(cumulative_means(losses)[start - 1 :] > threshold)
    return int(above[0]) + start if above.size else None
