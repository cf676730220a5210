"""Ratios of normalising constants along a ladder of distributions, by Bennett's acceptance ratio.

To first order the estimate is a sum of means over the draws of each rung. So its error follows from the influence of
every draw on the result, with the autocorrelation of the chains included.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from minima_volume.estimators.radial import Floats

# Overlap of two rungs below which their ratio rests on a few draws.
MIN_OVERLAP = 0.05


@dataclass(frozen=True)
class BennettRatio:
    """The estimate of ln(Z₁/Z₀) for two rungs, with what its error is computed from.

    Attributes:
        log_ratio: ln(Z₁/Z₀) in nats.
        forward: First-order influence of each draw of rung 0 on `log_ratio`, with mean 0.
        backward: First-order influence of each draw of rung 1, with mean 0.
        overlap: The smaller of the two mean acceptances: 0.5 for equal rungs, 0 for disjoint ones.
    """

    log_ratio: float
    forward: Floats
    backward: Floats
    overlap: float


def bennett_ratio(forward: Floats, backward: Floats) -> BennettRatio:
    """Estimate r = ln(Z₁/Z₀) from energy differences Δ = U₁ − U₀.

    Solves mean₀ f(Δ + r) = mean₁ f(−Δ − r) with f(x) = 1/(1 + eˣ). Source: Bennett, J. Comput. Phys. 22 (1976) 245.

    Args:
        forward: Δ at the draws of rung 0. It may be +∞, behind a hard wall of rung 1.
        backward: Δ at the draws of rung 1. It may be −∞, behind a hard wall of rung 0.

    Returns:
        The estimate; its `log_ratio` is NaN if all Δ are infinite or no r solves the equation.
    """
    finite = np.concatenate([forward[np.isfinite(forward)], backward[np.isfinite(backward)]])
    if finite.size == 0:
        return BennettRatio(float("nan"), np.zeros_like(forward), np.zeros_like(backward), 0.0)

    def gap(r: float) -> float:
        return float(expit(-forward - r).mean() - expit(backward + r).mean())

    # Without infinite Δ the root lies between −Δ_max and −Δ_min. The margin covers walls on either side.
    low, high = -finite.max() - 50, -finite.min() + 50
    ratio = float(brentq(gap, low, high, xtol=1e-10)) if gap(low) > 0 > gap(high) else float("nan")
    ahead, back = expit(-forward - ratio), expit(backward + ratio)
    overlap = float(min(ahead.mean(), back.mean()))
    return BennettRatio(ratio, ahead / ahead.mean() - 1, 1 - back / back.mean(), overlap)


@dataclass(frozen=True)
class Ladder:
    """The estimates of ln(Z_j/Z_0) for all rungs j of a ladder, with what their errors are computed from.

    Attributes:
        log_z: ln(Z_j/Z_0) (rungs,) in nats, the sum of the ratios up to rung j.
        variance: Variance of `log_z` (rungs,) without the contribution of the rung's own draws.
        pending: Influence of each rung's own draws on its `log_z`. Other means over these draws fluctuate with it, so
            `error` adds the influences before it squares them.
        overlap: Smallest overlap of the ratios up to rung j (rungs,).
    """

    log_z: Floats
    variance: Floats
    pending: tuple[Floats, ...]
    overlap: Floats

    def error(self, rung: int, influence: Floats | float = 0.0) -> float:
        """Return the standard error of ln Z_j plus a mean over the rung's draws with the given influence."""
        return float(np.sqrt(self.variance[rung] + chain_error(self.pending[rung] + influence) ** 2))


def join_ladder(ahead: Sequence[Floats], behind: Sequence[Floats]) -> Ladder:
    """Estimate ln(Z_j/Z_0) for all J + 1 rungs of a ladder from energy differences of neighbours.

    Args:
        ahead: U_{j+1} − U_j at the draws of rung j, J arrays (draws, chains).
        behind: U_{j+1} − U_j at the draws of rung j + 1, J arrays (draws, chains).

    Returns:
        The ladder.

    Raises:
        ValueError: There are no differences.
    """
    if not ahead:
        raise ValueError("Expected at least two rungs, got one: pass the differences of at least one pair.")
    log_z, variance, overlap = [0.0], [0.0], [0.5]
    pending = [np.zeros_like(ahead[0])]
    for forward, backward in zip(ahead, behind, strict=True):
        joined = bennett_ratio(forward, backward)
        log_z.append(log_z[-1] + joined.log_ratio)
        variance.append(variance[-1] + chain_error(pending[-1] + joined.forward) ** 2)
        overlap.append(min(overlap[-1], joined.overlap))
        pending.append(joined.backward)
    return Ladder(np.array(log_z), np.array(variance), tuple(pending), np.array(overlap))


def chain_status(*, thin: bool, spread: float, within: float, drift: float) -> str:
    """Return whether an estimate can be trusted, as one word.

    Args:
        thin: Whether too few draws determine the estimate.
        spread: Standard error from the spread of the replicas.
        within: Standard error from autocorrelations within the chains.
        drift: Estimate from the later half of the draws minus that from the earlier half.

    Returns:
        "thin" if too few draws determine the estimate or an error is not finite. "disagree" if `spread` is more than
        three times `within`. "drift" if the halves differ by more than three standard errors of their difference, which
        is 2·within. Otherwise "ok".
    """
    if thin or not (np.isfinite(within) and np.isfinite(spread)):
        return "thin"
    if spread > 3 * within:
        return "disagree"
    return "drift" if abs(drift) > 6 * within else "ok"


def log_mean_weight(weights: Floats) -> tuple[float, Floats]:
    """Return the logarithm of a mean and the influence of each value on it.

    Args:
        weights: Values w ≥ 0 of any shape.

    Returns:
        ln mean(w), and w/mean(w) − 1. These are −∞ and zeros if all values are 0.
    """
    mean = float(weights.mean())
    return (float(np.log(mean)), weights / mean - 1) if mean > 0 else (float("-inf"), np.zeros_like(weights))


def autocorrelation_time(series: Floats, *, window: float = 5.0) -> float:
    """Return the integrated autocorrelation time 1 + 2 Σ ρ(t) of a series about its grand mean.

    The sum stops at the first lag t ≥ `window` times its value so far. Source: Sokal, "Monte Carlo Methods in Statistical
    Mechanics", 1996.

    Args:
        series: Values (draws, chains).
        window: Length of the sum in autocorrelation times.

    Returns:
        The time in draws, at least 1.
    """
    centred = series - series.mean()
    variance = float((centred**2).mean())
    if variance == 0:
        return 1.0
    time = 1.0
    for lag in range(1, len(series)):
        time += 2 * float((centred[:-lag] * centred[lag:]).mean()) / variance
        if lag >= window * time:
            break
    return max(time, 1.0)


def chain_error(series: Floats) -> float:
    """Return the standard error of the mean of a series (draws, chains) from its integrated autocorrelation time."""
    return float(np.sqrt(series.var() * autocorrelation_time(series) / series.size))


def replica_error(values: Floats) -> float:
    """Return the standard error sd/√R of the mean of R independent replicas.

    Args:
        values: Estimates (R,).

    Returns:
        The error, or NaN if there are fewer than two replicas or some estimate is not finite.
    """
    known = values.size > 1 and bool(np.isfinite(values).all())
    return float(np.std(values, ddof=1) / np.sqrt(values.size)) if known else float("nan")
