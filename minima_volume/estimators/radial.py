"""Log-volumes of star-shaped bodies from the radii along Gaussian directions.

A body that contains its centre and every segment from the centre to its points is star-shaped; with r the radius along
a uniformly random direction its volume in n dimensions is V_ball(n) · E[rⁿ]. All volumes are natural logarithms (nats).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

Floats = NDArray[np.float64]


def log_ball_volume(n: int) -> float:
    """Log-volume of the unit ball in n dimensions, (n/2) ln π − ln Γ(n/2 + 1)."""
    return 0.5 * n * np.log(np.pi) - float(gammaln(0.5 * n + 1))


def log_mean_exp(values: Floats) -> float:
    """ln((1/N) Σ exp(vᵢ)) without overflow; −∞ entries count in N and contribute nothing."""
    if values.size == 0:
        return float("nan")
    return float(logsumexp(values) - np.log(values.size))


def log_mean_power(log_radii: Floats, n_params: int) -> float:
    """ln E[rⁿ], the log-volume without the ball's constant, from the natural logarithms of N radii."""
    return log_mean_exp(n_params * np.asarray(log_radii, dtype=np.float64))


def bootstrap_error(log_radii: Floats, n_params: int, *, n_resamples: int = 500, seed: int = 0) -> float:
    """Standard error of ln E[rⁿ] in nats: the spread of the estimate over resampled directions.

    Where one direction holds the whole sum the spread reflects how often resampling misses that direction; it measures
    repeatability with the directions at hand and says nothing about larger radii that no direction has found.
    """
    values = n_params * np.asarray(log_radii, dtype=np.float64)
    if values.size < 2:
        return float("nan")
    draws = np.random.default_rng(seed).integers(values.size, size=(n_resamples, values.size))
    top = values.max()
    if not np.isfinite(top):
        return float("nan")
    # Subtracting the resample's own maximum keeps every sum at least 1, however far apart the radii are.
    picked = values[draws]
    peaks = picked.max(axis=1)
    estimates = peaks + np.log(np.exp(picked - peaks[:, None]).mean(axis=1))
    return float(np.std(estimates, ddof=1))


def typical_log_volume(log_radii: Floats, n_params: int) -> tuple[float, float]:
    """n · mean(ln r) and its standard error n · sd(ln r)/√N: a lower bound of ln E[rⁿ] that converges with N (Jensen)."""
    if log_radii.size == 0:
        return float("nan"), float("nan")
    error = np.std(log_radii, ddof=1) / np.sqrt(log_radii.size) if log_radii.size > 1 else np.nan
    return float(n_params * np.mean(log_radii)), float(n_params * error)
