"""Compare the volumes of minima that were measured along the same directions: differences, rankings and their confidence.

Minima measured along the same directions share most of the sampling noise, so differences and ranks are known better than
the volumes themselves. The paired bootstrap keeps this correlation: every resample draws directions and uses the same ones
for all minima (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993). For ln E[rⁿ] the largest radii are drawn
anew from a fitted tail (`radial.resample_log_means`). If one direction carries a volume, the error is that of the estimate
from so many directions, which then lies below ln E[rⁿ], and the verdict of `diagnose` is "max-dominated".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeGuard, cast, get_args

import numpy as np

from minima_volume.errors import UserError
from minima_volume.estimators.gaussian import log_inside
from minima_volume.estimators.measured import Measured, shared_radii
from minima_volume.estimators.radial import TAIL, Floats, log_mean_exp, resample_log_means

Statistic = Literal["log_volume", "typical", "gamma"]


@dataclass(frozen=True)
class Difference:
    """The log-volume of minimum A minus that of minimum B.

    Attributes:
        difference: The difference in nats.
        error: Its standard error in nats.
        probability: The fraction of resamples in which A is larger; ties count half. 0 and 1 mean that the resamples
            cannot resolve the probability, not certainty.
    """

    difference: float
    error: float
    probability: float


@dataclass(frozen=True)
class Ranking:
    """Minima from the largest to the smallest.

    Attributes:
        order: Indices of the minima, the largest first.
        confidence: The fraction of resamples in which this whole order holds.
        probabilities: (minima, minima); [i, j] is the probability that minimum i is larger than minimum j, ½ on the
            diagonal.
    """

    order: tuple[int, ...]
    confidence: float
    probabilities: Floats


def bootstrap_estimates(
    log_radii: Floats,
    n_params: int,
    *,
    statistic: Statistic = "log_volume",
    sigma: float | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Estimate the volumes of several minima from all their directions and from resampled ones.

    Args:
        log_radii: ln r along common directions, (minima, directions).
        n_params: The dimension n.
        statistic: What to estimate: "log_volume" is ln E[rⁿ], "typical" is n·E[ln r], "gamma" is ln γ_σ.
        sigma: The width σ in filter units for "gamma".
        n_resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        Estimates in nats from all directions, (minima,), and from resampled directions, (n_resamples, minima).

    Raises:
        UserError: If the radii are not finite, not shaped like this, or of fewer than two directions, or if "gamma" has
            no width.
    """
    if statistic not in get_args(Statistic):
        raise UserError(f"Expected statistic 'log_volume', 'typical' or 'gamma', got {statistic!r}: pass one of them.")
    if not n_params >= 1:
        raise UserError(f"Expected a dimension n_params of at least 1, got {n_params}: pass the number of parameters.")
    logs = np.asarray(log_radii, dtype=np.float64)
    if logs.ndim != 2 or logs.shape[1] < 2 or not np.isfinite(logs).all():
        raise UserError(
            f"Expected finite log radii shaped (minima, directions) with at least two directions, got {logs.shape}: "
            "remove unconverged minima."
        )
    terms = _terms(logs, n_params, statistic, sigma)
    if statistic != "typical":
        # Terms of ln γ are logarithms of probabilities, which have no tail above 0.
        tail = TAIL if statistic == "log_volume" else 0
        resampled = resample_log_means(terms, n_resamples=n_resamples, seed=seed, tail=tail)
        return log_mean_exp(terms, axis=1), resampled
    draws = np.random.default_rng(seed).integers(logs.shape[1], size=(n_resamples, logs.shape[1]))
    return terms.mean(axis=1), np.stack([row[draws].mean(axis=1) for row in terms], axis=1)


def compare(
    log_radii: Floats | Measured,
    n_params: int | Measured,
    first: int = 0,
    second: int = 1,
    *,
    statistic: Statistic = "log_volume",
    sigma: float | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Difference:
    """Compare the volumes of two minima along common directions: `compare(a, b)`, or arrays of radii.

    Args:
        log_radii: The measurement of minimum A; or ln r along common directions, (minima, directions).
        n_params: The measurement of minimum B, along the same directions; or the dimension n.
        first: Index of minimum A in an array.
        second: Index of minimum B in an array.
        statistic: What to compare: "log_volume" is ln E[rⁿ], "typical" is n·E[ln r], "gamma" is ln γ_σ.
        sigma: The width σ in filter units for "gamma".
        n_resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        A minus B, the standard error, and the probability that A is larger.

    Raises:
        UserError: As in `bootstrap_estimates`, or if the measurements do not share their directions.

    Example:
        The radii of A are 1 % larger along every direction, which is certain whatever the spread between directions.

        >>> import numpy as np
        >>> shared = np.random.default_rng(0).normal(0, 0.1, 200)
        >>> result = compare(np.stack([shared + 0.01, shared]), n_params=1000)
        >>> print(f"{result.difference:.2f} nats, P(A > B) = {result.probability:.2f}")
        10.00 nats, P(A > B) = 1.00
    """
    if _is_measured(log_radii) and _is_measured(n_params):
        radii, n = _comparable((log_radii, n_params), statistic)
    elif _is_measured(log_radii) or _is_measured(n_params):
        raise UserError(
            f"Expected two measurements, or log radii and their dimension, got {type(log_radii).__name__} and "
            f"{type(n_params).__name__}: pass both results of measure_volume."
        )
    else:
        radii, n = np.asarray(log_radii)[[first, second]], cast(int, n_params)
    full, resampled = bootstrap_estimates(
        radii, n, statistic=statistic, sigma=sigma, n_resamples=n_resamples, seed=seed
    )
    gaps = resampled[:, 0] - resampled[:, 1]
    return Difference(float(full[0] - full[1]), float(gaps.std(ddof=1)), _probability_above_zero(gaps))


def rank(
    log_radii: Floats | Sequence[Measured],
    n_params: int | None = None,
    *,
    statistic: Statistic = "log_volume",
    sigma: float | None = None,
    order: Sequence[int] | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Ranking:
    """Rank minima by volume along common directions, with the confidence of the whole order: `rank([a, b, c])`.

    Args:
        log_radii: Measurements along the same directions; or ln r along common directions, (minima, directions).
        n_params: The dimension n of an array.
        statistic: What to rank by: "log_volume" is ln E[rⁿ], "typical" is n·E[ln r], "gamma" is ln γ_σ.
        sigma: The width σ in filter units for "gamma".
        order: Indices of the minima, the largest first, whose confidence is wanted. By default it is the order of the
            estimates.
        n_resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        The order, its confidence, and the probability for every pair.

    Raises:
        UserError: As in `bootstrap_estimates`, if the measurements do not share their directions, or if `order` does not
            name every minimum once.

    Example:
        >>> import numpy as np
        >>> shared = np.random.default_rng(0).normal(0, 0.1, 200)
        >>> result = rank(np.stack([shared - 0.02, shared, shared - 0.01]), n_params=1000)
        >>> result.order, result.confidence
        ((1, 2, 0), 1.0)
    """
    if n_params is None:
        found = list(log_radii)
        if not all(map(_is_measured, found)):
            raise UserError("Expected measurements, or log radii and their dimension, got radii alone: pass n_params.")
        log_radii, n_params = _comparable(found, statistic)
    full, resampled = bootstrap_estimates(
        np.asarray(log_radii), n_params, statistic=statistic, sigma=sigma, n_resamples=n_resamples, seed=seed
    )
    chosen = np.argsort(-full, kind="stable") if order is None else np.asarray(order)
    if sorted(chosen.tolist()) != list(range(len(full))):
        raise UserError(
            f"Expected an order of the minima 0 to {len(full) - 1}, got {chosen.tolist()}: name every minimum once."
        )
    in_order = (np.diff(resampled[:, chosen], axis=1) < 0).all(axis=1)
    probabilities = np.array([[_probability_above_zero(a - b) for b in resampled.T] for a in resampled.T])
    return Ranking(tuple(int(i) for i in chosen), float(in_order.mean()), probabilities)


def _is_measured(value: object) -> TypeGuard[Measured]:
    """Whether a value is a measurement and not an array."""
    return hasattr(value, "log_radii")


def _comparable(measurements: Sequence[Measured], statistic: Statistic) -> tuple[Floats, int]:
    """Return radii and dimension of measurements that can be compared by a statistic."""
    radii, n = shared_radii(measurements)
    if statistic == "gamma" and measurements[0].log_determinant:
        raise UserError(
            "Expected measurements without a preconditioner for the statistic 'gamma', got preconditioned ones, which keep "
            "no weights of the directions: measure without it."
        )
    return radii, n


def _terms(logs: Floats, n_params: int, statistic: Statistic, sigma: float | None) -> Floats:
    """Return what is averaged over directions: n·ln r, or the log-probability of a Gaussian step along the ray."""
    if statistic != "gamma":
        return n_params * logs
    if sigma is None or not sigma > 0:
        raise UserError(f"Expected a width σ > 0 for the statistic 'gamma', got {sigma}: pass sigma.")
    return np.stack([log_inside(row, n_params, sigma) for row in logs])


def _probability_above_zero(gaps: Floats) -> float:
    """Return the fraction of values above 0, counting zeros half."""
    return float((gaps > 0).mean() + 0.5 * (gaps == 0).mean())
