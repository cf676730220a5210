"""The shape of the tail of a sample of weights, by a fit of the generalised Pareto distribution."""

import numpy as np

from minima_volume.estimators.radial import Floats

# Largest weights this close, in nats, have no tail to fit: they differ by little more than a solver's tolerance.
EQUAL_WITHIN = 0.02


def pareto_k(log_weights: Floats) -> float:
    """Return the shape k of a generalised Pareto distribution fitted to the largest min(N/5, 3√N) weights.

    The profile likelihood is averaged over the prior of Zhang and Stephens (Technometrics 51, 2009). Ten pseudo-
    observations shrink k towards 0.5, as in Vehtari et al., "Pareto smoothed importance sampling", arXiv:1507.02646.

    Args:
        log_weights: ln w in nats, (N,).

    Returns:
        The shape; +∞ if one weight dwarfs the others, NaN if the tail has fewer than five weights or they are equal.
    """
    n_tail = int(np.ceil(min(0.2 * log_weights.size, 3 * np.sqrt(log_weights.size))))
    if n_tail < 5:
        return float("nan")
    tail = np.sort(log_weights)[-n_tail - 1 :]
    if tail[-1] - tail[0] < EQUAL_WITHIN:
        return float("nan")
    excess = np.exp(tail[1:] - tail[-1]) - np.exp(tail[0] - tail[-1])
    quartile = excess[int(n_tail / 4 + 0.5) - 1]
    # Below this the reciprocal overflows: the tail spans hundreds of nats.
    return float("inf") if quartile < 1e-290 else _pareto_shape(excess, quartile)


def _pareto_shape(excess: Floats, quartile: float) -> float:
    """Average the shape over a grid of rates, weighted by their profile likelihood (Zhang and Stephens 2009)."""
    n = len(excess)
    count = 30 + int(np.sqrt(n))
    rates = (1 - np.sqrt(count / (np.arange(1, count + 1) - 0.5))) / (3 * quartile) + 1 / excess[-1]
    shapes = np.log1p(-rates[:, None] * excess).mean(axis=1)
    likelihood = n * (np.log(-rates / shapes) - shapes - 1)
    weights = np.exp(likelihood - likelihood.max())
    rate = float(rates @ weights / weights.sum())
    shape = float(np.log1p(-rate * excess).mean())
    return (n * shape + 10 * 0.5) / (n + 10)
