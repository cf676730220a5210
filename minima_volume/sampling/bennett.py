"""Ratios of normalising constants along a ladder of distributions, with the influence of every draw on the result.

Neighbours are joined by Bennett's acceptance ratio; to first order each estimate is a sum of means over the draws of
single rungs, so the error of a whole ladder follows from one influence series per rung.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from minima_volume.estimators.radial import Floats


@dataclass(frozen=True)
class BennettRatio:
    """ln(Z₁/Z₀) in nats, the first-order influence of every draw on it, and how much the two rungs overlap.

    The influences `forward` (draws of rung 0) and `backward` (of rung 1) have mean 0; the estimate's error is the error of
    their means. `overlap` is the smaller of the two mean acceptances: 0.5 for equal rungs, 0 for disjoint ones.
    """

    log_ratio: float
    forward: Floats
    backward: Floats
    overlap: float


def bennett_ratio(forward: Floats, backward: Floats) -> BennettRatio:
    """ln(Z₁/Z₀) from Δ = U₁ − U₀ at draws of rung 0 (`forward`) and at draws of rung 1 (`backward`), any equal shapes.

    Solves mean₀ f(Δ + r) = mean₁ f(−Δ − r) for r, f(x) = 1/(1 + eˣ). Source: Bennett, J. Comput. Phys. 22 (1976) 245.
    Infinite Δ are allowed: a hard wall of rung 1 at draws of rung 0 (+∞) or of rung 0 at draws of rung 1 (−∞).
    """
    finite = np.concatenate([forward[np.isfinite(forward)], backward[np.isfinite(backward)]])
    if finite.size == 0:
        return BennettRatio(float("nan"), np.zeros_like(forward), np.zeros_like(backward), 0.0)

    def gap(r: float) -> float:
        return float(expit(-forward - r).mean() - expit(backward + r).mean())

    # At −Δ_max the left side is at least the right one wherever Δ is finite; the margin covers walls on either side.
    low, high = -finite.max() - 50, -finite.min() + 50
    ratio = float(brentq(gap, low, high, xtol=1e-10)) if gap(low) > 0 > gap(high) else float("nan")
    ahead, back = expit(-forward - ratio), expit(backward + ratio)
    overlap = float(min(ahead.mean(), back.mean()))
    return BennettRatio(ratio, ahead / ahead.mean() - 1, 1 - back / back.mean(), overlap)


@dataclass(frozen=True)
class Ladder:
    """ln(Z_j/Z_0) on every rung j with what its errors are made of.

    `log_z` and `overlap` (rungs,): the sum of the bridges below and the smallest of their overlaps. `variance` (rungs,):
    of `log_z`, less what the rung's own draws add; `pending`: the influence of those draws, to be joined with whatever
    else is made of them before `mean_error` takes it, because both fluctuate together.
    """

    log_z: Floats
    variance: Floats
    pending: tuple[Floats, ...]
    overlap: Floats

    def error(self, rung: int, influence: Floats | float = 0.0) -> float:
        """Standard error of ln Z_j plus a mean over the rung's draws of the given influence."""
        return float(np.sqrt(self.variance[rung] + chain_error(self.pending[rung] + influence) ** 2))


def join_ladder(ahead: Sequence[Floats], behind: Sequence[Floats]) -> Ladder:
    """Join J + 1 rungs of draws (T, chains) from U_{j+1} − U_j at the draws of rung j and of rung j + 1, both (J,)."""
    if not ahead:
        raise ValueError("expected at least two rungs; a single one needs no ladder")
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
    """What two errors and the halves of the run say of an estimate.

    "thin": too few draws carry it, or some replica has none; "disagree": replicas spread more than three times wider than
    autocorrelations explain;
    "drift": its later half differs from its earlier one by more than three standard errors of that difference, 2·within.
    """
    if thin or not (np.isfinite(within) and np.isfinite(spread)):
        return "thin"
    if spread > 3 * within:
        return "disagree"
    return "drift" if abs(drift) > 6 * within else "ok"


def log_mean_weight(weights: Floats) -> tuple[float, Floats]:
    """ln of the mean of weights ≥ 0 and the influence of every weight on it, w/mean − 1; −∞ and zeros if all are 0."""
    mean = float(weights.mean())
    return (float(np.log(mean)), weights / mean - 1) if mean > 0 else (float("-inf"), np.zeros_like(weights))


def autocorrelation_time(series: Floats, *, window: float = 5.0) -> float:
    """Integrated autocorrelation time 1 + 2 Σ ρ(t) of a series (T, chains) about its grand mean, at least 1.

    The sum stops at the first lag t ≥ `window` × its own value so far. Source: Sokal, "Monte Carlo Methods in Statistical
    Mechanics", 1996.
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
    """Standard error of the mean of a series (T, chains), from its variance and integrated autocorrelation time."""
    return float(np.sqrt(series.var() * autocorrelation_time(series) / series.size))


def replica_error(values: Floats) -> float:
    """Standard error of the mean of independent replicas (R,): sd/√R; NaN for fewer than two, or one without an estimate."""
    known = values.size > 1 and bool(np.isfinite(values).all())
    return float(np.std(values, ddof=1) / np.sqrt(values.size)) if known else float("nan")
