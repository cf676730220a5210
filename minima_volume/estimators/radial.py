"""Log-volumes of star-shaped bodies from their radii along Gaussian directions.

A body is star-shaped if it contains a centre and every segment from the centre to its other points. If r is its radius
along a uniformly random direction, its volume in n dimensions is V_ball(n) · E[rⁿ]. All volumes are natural logarithms
(nats).
"""

from typing import overload

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

Floats = NDArray[np.float64]
# Number of the largest weights that a resample draws from a fitted tail. Chosen on Gaussian ln w of spreads 0.1 to 5,000 and
# 100 to 1,000 directions, with the coverage in sight.
TAIL = 20


def log_ball_volume(n: int) -> float:
    """Return the log-volume of the unit ball, (n/2) ln π − ln Γ(n/2 + 1).

    Args:
        n: Number of dimensions, at least 0.

    Returns:
        The log-volume in nats.
    """
    return float(0.5 * n * np.log(np.pi) - float(gammaln(0.5 * n + 1)))


@overload
def log_mean_exp(values: Floats, axis: None = None) -> float:
    """Average over all entries."""


@overload
def log_mean_exp(values: Floats, axis: int) -> Floats:
    """Average over one axis."""


def log_mean_exp(values: Floats, axis: int | None = None) -> float | Floats:
    """Return ln((1/N) Σ exp(vᵢ)) without overflow.

    Args:
        values: Exponents of any shape. Entries of −∞ count in N and add nothing to the sum.
        axis: The axis to average over. By default the mean is over all entries.

    Returns:
        A float without an axis (NaN if there are no values), else an array without that axis.
    """
    if axis is None:
        return float(logsumexp(values) - np.log(values.size)) if values.size else float("nan")
    # The two branches round differently in the last bit, and stored tables hold results of both: volumes come from the
    # first, bootstrap resamples and random halves from the second.
    peaks = values.max(axis=axis, keepdims=True)
    # Subtracting each row's own maximum keeps its sum at least 1. An infinite maximum would give ∞ − ∞.
    with np.errstate(divide="ignore", over="ignore"):
        means = np.exp(values - np.where(np.isinf(peaks), 0.0, peaks)).mean(axis=axis)
        return np.asarray(np.log(means) + peaks.squeeze(axis))


def log_mean_power(log_radii: Floats, n_params: int) -> float:
    """Return ln E[rⁿ], the log-volume without the ball's constant.

    Args:
        log_radii: Natural logarithms of the radii, (directions,).
        n_params: The dimension n.

    Returns:
        The log-volume in nats. Add `log_ball_volume(n_params)` for the volume itself.

    Example:
        A ball of radius 2 in three dimensions has the volume 32π/3.

        >>> import numpy as np
        >>> log_radii = np.log([2.0, 2.0, 2.0, 2.0])
        >>> log_volume = log_mean_power(log_radii, 3) + log_ball_volume(3)
        >>> print(f"{np.exp(log_volume):.4f}, {32 * np.pi / 3:.4f}")
        33.5103, 33.5103
    """
    return log_mean_exp(n_params * np.asarray(log_radii, dtype=np.float64))


def resample_log_means(log_weights: Floats, *, n_resamples: int, seed: int, tail: int = TAIL) -> Floats:
    """Return ln mean(w) over resampled directions, whose largest weights are drawn anew from a fitted tail.

    If a few weights carry the mean, the ordinary bootstrap repeats the largest one in 63 % of its resamples and is blind to
    how much larger it might have been. Here each of the 20 largest ln w (a quarter of the directions at most) becomes
    v + a·E, with v the next lower value, a the mean excess of the 20 over v, and E exponential: the tail that ln w has far
    out if its distribution falls like a Gaussian or faster than exponentially. Rows share the drawn directions and E, so
    differences keep their correlation. Where the weights are even, this is the ordinary bootstrap.

    Args:
        log_weights: ln w along common directions, (minima, directions).
        n_resamples: Number of resamples.
        seed: Seed of the resampling.
        tail: Number of the largest weights that are drawn anew; 0 for the ordinary bootstrap.

    Returns:
        Estimates (n_resamples, minima).
    """
    size = log_weights.shape[1]
    random = np.random.default_rng(seed)
    draws = random.integers(size, size=(n_resamples, size))
    largest = min(tail, size // 4)
    excess = random.standard_exponential(draws.shape) if largest else None
    found = []
    for row in log_weights:  # one at a time, so that memory holds (resamples, directions) and not that for all minima
        values = row[draws]
        order = np.argsort(-row, kind="stable")
        if excess is not None and np.isfinite(row[order[largest]]):
            base, in_tail = row[order[largest]], np.isin(draws, order[:largest])
            values[in_tail] = base + (row[order[:largest]] - base).mean() * excess[in_tail]
        # A resample of empty rays only has the estimate −∞.
        with np.errstate(invalid="ignore"):
            found.append(log_mean_exp(values, axis=1))
    return np.stack(found, axis=1)


def bootstrap_error(log_radii: Floats, n_params: int, *, n_resamples: int = 500, seed: int = 0, tail: int = 0) -> float:
    """Return the standard error of ln E[rⁿ]: the spread of the estimate over resampled directions.

    The ordinary bootstrap knows only the radii that were drawn. It measures how well the estimate repeats with these
    directions. With a fitted tail, two errors hold the mean of the estimate in 95 % of the cases or more, also if one
    direction carries it; see `resample_log_means`. That mean is what so many directions give on average. Where they are too
    few it lies below ln E[rⁿ], which no resampling can tell; see `diagnostics.diagnose`.

    Args:
        log_radii: Natural logarithms of the radii, (directions,).
        n_params: The dimension n.
        n_resamples: Number of resamples.
        seed: Seed of the resampling.
        tail: Number of the largest radii that resamples draw from a fitted tail.

    Returns:
        The standard error in nats; NaN for fewer than two directions or if no radius is above 0.
    """
    values = n_params * np.asarray(log_radii, dtype=np.float64)
    if values.size < 2 or not np.isfinite(values.max()):
        return float("nan")
    # The spread is NaN if a resample has the estimate −∞.
    with np.errstate(invalid="ignore"):
        found = resample_log_means(values[None], n_resamples=n_resamples, seed=seed, tail=tail)
        return float(np.std(found, ddof=1))


def typical_log_volume(log_radii: Floats, n_params: int) -> tuple[float, float]:
    """Return n·E[ln r] and its standard error n·sd(ln r)/√N.

    By Jensen's inequality the typical log-volume is a lower bound of ln E[rⁿ]. Unlike that, it converges with few
    directions.

    Args:
        log_radii: Natural logarithms of the radii, (directions,).
        n_params: The dimension n.

    Returns:
        The typical log-volume and its standard error, both in nats; NaN where there are too few directions.
    """
    if log_radii.size == 0:
        return float("nan"), float("nan")
    error = np.std(log_radii, ddof=1) / np.sqrt(log_radii.size) if log_radii.size > 1 else np.nan
    return float(n_params * np.mean(log_radii)), float(n_params * error)
