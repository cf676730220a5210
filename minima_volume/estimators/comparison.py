"""Which minimum is larger, and how sure is a whole ordering: comparisons along common directions.

Minima measured along the same directions share most of their luck, so differences and ranks are known better than the
volumes themselves. The paired bootstrap keeps this: every resample draws directions, and takes the same ones for all
minima (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993). Like every bootstrap it knows only the directions
at hand: where one direction holds a volume the error is that of repeating with these directions, which the verdict says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from minima_volume.errors import UserError
from minima_volume.estimators.gaussian import log_inside
from minima_volume.estimators.radial import Floats

Statistic = Literal["log_volume", "typical", "gamma"]


@dataclass(frozen=True)
class Difference:
    """Minimum A minus minimum B in nats, its standard error, and the probability that A is larger.

    `probability` is the part of resamples in which A is larger, ties counted half: 0 and 1 mean beyond what the resamples
    can tell apart, not certainty.
    """

    difference: float
    error: float
    probability: float


@dataclass(frozen=True)
class Ranking:
    """Minima from the largest to the smallest, and the part of resamples in which this whole order holds.

    `probabilities` (minima, minima): [i, j] is the probability that minimum i is larger than minimum j, ½ on the diagonal.
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
    """Estimates (minima,) of all directions and (n_resamples, minima) of resampled ones, in nats.

    `log_radii` (minima, directions) along common directions. `statistic`: "log_volume" ln E[rⁿ], "typical" n·E[ln r], or
    "gamma" ln γ_σ at `sigma`. Raises UserError for other shapes, fewer than two directions or radii that are not numbers.
    """
    logs = np.asarray(log_radii, dtype=np.float64)
    if logs.ndim != 2 or logs.shape[1] < 2 or not np.isfinite(logs).all():
        raise UserError(
            f"Expected finite log radii shaped (minima, directions) with at least two directions, got {logs.shape}: "
            "leave unconverged minima out."
        )
    terms = _terms(logs, n_params, statistic, sigma)
    mean = np.mean if statistic == "typical" else _log_mean_exp
    draws = np.random.default_rng(seed).integers(logs.shape[1], size=(n_resamples, logs.shape[1]))
    # One minimum at a time: (resamples, directions) is all that memory has to hold.
    spread = np.stack([np.asarray(mean(row[draws], axis=1)) for row in terms], axis=1)
    return np.asarray(mean(terms, axis=1)), spread


def compare(
    log_radii: Floats,
    n_params: int,
    first: int = 0,
    second: int = 1,
    *,
    statistic: Statistic = "log_volume",
    sigma: float | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Difference:
    """Minimum `first` against `second` (rows of `log_radii`); arguments and errors as in `resampled`."""
    pair = np.asarray(log_radii)[[first, second]]
    full, spread = bootstrap_estimates(
        pair, n_params, statistic=statistic, sigma=sigma, n_resamples=n_resamples, seed=seed
    )
    gaps = spread[:, 0] - spread[:, 1]
    return Difference(float(full[0] - full[1]), float(gaps.std(ddof=1)), _larger(gaps))


def rank(
    log_radii: Floats,
    n_params: int,
    *,
    statistic: Statistic = "log_volume",
    sigma: float | None = None,
    order: Sequence[int] | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Ranking:
    """The order of all minima and its confidence, or the confidence of a given `order`, largest first.

    Other arguments and errors as in `resampled`; UserError if `order` does not name every minimum once.
    """
    full, spread = bootstrap_estimates(
        log_radii, n_params, statistic=statistic, sigma=sigma, n_resamples=n_resamples, seed=seed
    )
    chosen = np.argsort(-full, kind="stable") if order is None else np.asarray(order)
    if sorted(chosen.tolist()) != list(range(len(full))):
        raise UserError(f"Expected an order of the minima 0 to {len(full) - 1}, got {chosen.tolist()}.")
    falls = (np.diff(spread[:, chosen], axis=1) < 0).all(axis=1)
    chances = np.array([[_larger(a - b) for b in spread.T] for a in spread.T])
    return Ranking(tuple(int(i) for i in chosen), float(falls.mean()), chances)


def _terms(logs: Floats, n_params: int, statistic: Statistic, sigma: float | None) -> Floats:
    """What is averaged over directions: n·ln r, or the log-probability of a Gaussian step along the ray."""
    if statistic != "gamma":
        return n_params * logs
    if sigma is None or not sigma > 0:
        raise UserError(f"Expected a width σ > 0 for the statistic 'gamma', got {sigma}.")
    return np.stack([log_inside(row, n_params, sigma) for row in logs])


def _log_mean_exp(values: Floats, axis: int) -> Floats:
    """ln mean(exp(v)) along an axis; subtracting each row's own maximum keeps every sum at least 1."""
    peaks = values.max(axis=axis, keepdims=True)
    return np.asarray(np.log(np.exp(values - peaks).mean(axis=axis)) + peaks.squeeze(axis))


def _larger(gaps: Floats) -> float:
    return float((gaps > 0).mean() + 0.5 * (gaps == 0).mean())
