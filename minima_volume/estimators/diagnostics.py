"""Whether a log-volume can be trusted: what its directions say about themselves, in one word and one sentence.

An estimate ln mean(w), w = rⁿ, can only be as good as the weights are even. Diagnostics that look at the largest weights
share the estimate's luck: a sample that missed the large radii looks calm just because it missed them. So the verdict
rests on the *bulk*: the upper spread s of ln w, from its median to high quantiles that do not depend on luck, predicts the
effective sample size N·e^(−s²) that lognormal weights of that spread would have, whatever the largest ones happened to
be. The diagnostics of the tail can only make it worse.

What no diagnostic can see are large radii in so few directions that none was drawn, without a tail that leads up to them.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtri

from minima_volume.estimators.radial import Floats, log_mean_exp

Word = Literal["converged", "max-dominated", "censored", "unconverged"]
# Set on lognormal weights, ellipsoids, cubes and cross-polytopes of many dimensions, 100 to 2,000 directions: with the error
# max(bootstrap, bulk_error), 3 standard errors then hold the truth in at least 95 % of the runs called converged.
BULK_SIZE = 50.0
# What the bulk cannot see. Above k = 0.7 means converge too slowly for any error (Vehtari et al.).
TAIL_SIZE, LARGEST_SHARE, HEAVIEST = 20.0, 0.25, 0.7
# Nats within which weights have no tail to fit: what a solver's tolerance leaves of equal ones, with room.
EQUAL = 0.02


@dataclass(frozen=True)
class Verdict:
    """One word, the sentence that explains it, and the numbers behind both.

    `effective_size`: (Σw)²/Σw². `bulk_size`: the same, predicted from the spread of the bulk. `largest_share`: max w/Σw.
    `doubling`: how far the estimate of all directions lies above those of random halves, on average, in nats.
    `pareto_k`: shape of the generalised Pareto tail of w; moments of order 1/k and above do not exist; NaN for too few or
    equal weights. `n_censored`, `n_recrossed`: rays that never left up to the cap; rays seen inside again further out.
    """

    word: Word
    sentence: str
    n_directions: int
    effective_size: float
    bulk_size: float
    largest_share: float
    doubling: float
    pareto_k: float
    n_censored: int = 0
    n_recrossed: int = 0

    @property
    def bulk_error(self) -> float:
        """Standard error √(1/bulk_size − 1/N) of ln mean(w), in nats, for lognormal weights; NaN below two directions.

        The bootstrap knows only the weights that were drawn; where the large ones are missing it is too small, this is not.
        """
        if not self.bulk_size >= 1 or self.n_directions < 2:
            return float("nan")
        return float(np.sqrt(max(1 / self.bulk_size - 1 / self.n_directions, 0.0)))


def diagnose(
    log_weights: Floats, *, log_bound: float = float("inf"), n_censored: int = 0, n_recrossed: int = 0
) -> Verdict:
    """The verdict on ln mean(w) from the N values ln w in nats; for volumes ln w = n·ln r.

    `log_bound`: what no ln w can exceed, if anything, such as 0 for probabilities. Raises ValueError for no weights, or
    for ones that are NaN or +∞.
    """
    logs = np.asarray(log_weights, dtype=np.float64)
    if not logs.size or not (logs < np.inf).all():
        raise ValueError(f"expected at least one log weight below infinity, got {logs}")
    share = _shares(logs)
    size, bulk, largest, k = (
        float(1 / np.square(share).sum()),
        bulk_size(logs, log_bound),
        float(share.max()),
        pareto_k(logs),
    )
    word: Word = "converged"
    if n_censored:
        word = "censored"
    elif bulk < BULK_SIZE or size < TAIL_SIZE or largest > LARGEST_SHARE or k > HEAVIEST:
        word = "max-dominated"
    sentence = _sentence(word, logs.size, size, bulk, largest, n_censored, n_recrossed)
    numbers = (logs.size, size, bulk, largest, doubling(logs), k)
    return Verdict(word, sentence, *numbers, n_censored, n_recrossed)


def unconverged_verdict(n_directions: int) -> Verdict:
    """The verdict on a minimum that itself lies above the threshold: there is no basin around it."""
    sentence = (
        "The minimum itself lies above the threshold, so no basin surrounds it: train longer or raise the threshold."
    )
    none = float("nan")
    return Verdict("unconverged", sentence, n_directions, none, none, none, none, none)


def bulk_size(log_weights: Floats, log_bound: float = float("inf")) -> float:
    """N·e^(−s²), the effective sample size of lognormal weights with the upper spread s of ln w, at most N.

    s is the larger of (q₉₀ − q₅₀)/z₉₀ and the same at the quantile above which 20 weights lie, z the normal quantiles: a
    tail heavier than lognormal shows in the second before it shows in the largest weights. Weights bounded by b count
    like at least N·mean(w)/b equal ones, because then Var(w) ≤ b·mean(w).
    """
    n = log_weights.size
    levels = np.array([0.9, max(0.8, 1 - 20 / n)])
    middle, *upper = np.quantile(log_weights, [0.5, *levels], method="higher")
    spread = float(((upper - middle) / ndtri(levels)).max()) if np.isfinite(middle) else np.inf
    return float(n * max(np.exp(-(spread**2)), np.exp(min(0.0, log_mean_exp(log_weights) - log_bound))))


def doubling(log_weights: Floats, *, n_halves: int = 32, seed: int = 0) -> float:
    """Estimate from all N minus the mean estimate from random halves, in nats; 0 for a converged mean, NaN for N < 2.

    Half of the halves miss a weight that holds everything, and then fall by its whole lead over the others.
    """
    half = log_weights.size // 2
    if not half or log_weights.max() == -np.inf:
        return float("nan")
    rows = np.random.default_rng(seed).permuted(np.tile(log_weights, (n_halves, 1)), axis=1)[:, :half]
    peaks = np.maximum(rows.max(axis=1), np.finfo(np.float64).min)
    halves = peaks + np.log(np.maximum(np.exp(rows - peaks[:, None]).mean(axis=1), 1 / half))
    return float(log_mean_exp(log_weights) - halves.mean())


def pareto_k(log_weights: Floats) -> float:
    """Shape k of a generalised Pareto law fitted to the largest min(N/5, 3√N) weights; infinite if one dwarfs the rest.

    The profile likelihood is averaged over the prior of Zhang and Stephens (Technometrics 51, 2009), and k is drawn
    towards 0.5 by ten imagined observations, as in Vehtari et al., "Pareto smoothed importance sampling", 1507.02646.
    """
    n_tail = int(np.ceil(min(0.2 * log_weights.size, 3 * np.sqrt(log_weights.size))))
    if n_tail < 5:
        return float("nan")
    tail = np.sort(log_weights)[-n_tail - 1 :]
    if tail[-1] - tail[0] < EQUAL:
        return float("nan")
    excess = np.exp(tail[1:] - tail[-1]) - np.exp(tail[0] - tail[-1])
    quartile = excess[int(n_tail / 4 + 0.5) - 1]
    # Below this the reciprocal overflows: the tail spans hundreds of nats.
    return float("inf") if quartile < 1e-290 else _shape(excess, quartile)


def _shape(excess: Floats, quartile: float) -> float:
    n, count = len(excess), 30 + int(np.sqrt(len(excess)))
    rates = (1 - np.sqrt(count / (np.arange(1, count + 1) - 0.5))) / (3 * quartile) + 1 / excess[-1]
    shapes = np.log1p(-rates[:, None] * excess).mean(axis=1)
    likelihood = n * (np.log(-rates / shapes) - shapes - 1)
    weights = np.exp(likelihood - likelihood.max())
    rate = float(rates @ weights / weights.sum())
    shape = float(np.log1p(-rate * excess).mean())
    return (n * shape + 10 * 0.5) / (n + 10)


def _shares(log_weights: Floats) -> Floats:
    """Each weight's part of the sum; even parts where all weights are zero."""
    top = log_weights.max()
    weights = np.exp(log_weights - top) if np.isfinite(top) else np.ones_like(log_weights)
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def _sentence(word: Word, n: int, size: float, bulk: float, largest: float, n_censored: int, n_recrossed: int) -> str:
    if word == "censored":
        text = f"{n_censored} of {n} rays never leave the basin up to the cap and count there: a lower bound."
    elif word == "converged":
        text = f"{n} directions count like {size:.0f} equal ones: the volume and its error can be taken at their word."
    elif n <= BULK_SIZE or (n < 2 * BULK_SIZE and 2 * bulk > n):
        text = (
            f"{n} directions are too few to tell whether larger radii were missed: take at least {2 * BULK_SIZE:.0f}."
        )
    else:
        text = (
            f"{n} directions count like {size:.1f} equal ones ({bulk:.2g} by the spread of the bulk), the largest holds "
            f"{largest:.0%}: larger radii were missed, so this is a lower bound that grows with more directions."
        )
    again = f" {n_recrossed} rays re-enter further out, outside the star-shaped basin." if n_recrossed else ""
    return text + again
