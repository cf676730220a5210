"""The data size up to which a minimum survives: where its cumulative mean loss first exceeds a threshold."""

import numpy as np

from minima_volume.estimators.radial import Floats


def cumulative_means(losses: Floats) -> Floats:
    """Return the mean loss over the first k samples for k = 1…N.

    Args:
        losses: One loss per sample, (N,). They are summed in float64.

    Returns:
        The means, (N,).
    """
    return np.cumsum(losses, dtype=np.float64) / np.arange(1, len(losses) + 1)


def cutoff(losses: Floats, threshold: float, *, start: int = 1) -> int | None:
    """Return the first data size at which the mean loss exceeds the threshold.

    Args:
        losses: One loss per sample, (N,), in the order in which the data set grows.
        threshold: The largest mean loss that counts as inside the basin.
        start: The smallest data size to consider, at least 1.

    Returns:
        The smallest k ≥ `start` for which the mean loss over the first k samples is above the threshold, or None if
        there is none.

    Example:
        The mean losses are 0.1, 0.2, 0.3 and 0.4.

        >>> import numpy as np
        >>> cutoff(np.array([0.1, 0.3, 0.5, 0.7]), threshold=0.25)
        3
    """
    above = np.flatnonzero(cumulative_means(losses)[start - 1 :] > threshold)
    return int(above[0]) + start if above.size else None
