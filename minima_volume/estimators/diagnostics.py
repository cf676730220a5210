"""Diagnose whether an estimate ln mean(w) can be trusted, from its weights: one verdict word, one sentence, and numbers.

The estimate of a volume is ln mean(w) with w = rⁿ. It is only as good as the weights are even. Diagnostics of the largest
weights share the luck of the estimate: a sample that missed the large radii looks even because it missed them. So the
verdict rests on the *bulk* of the weights. The upper spread s of ln w, from its median to high quantiles that do not
depend on luck, predicts the effective sample size N·e^(−s²) that lognormal weights of that spread would have, whatever
the largest ones happened to be. The diagnostics of the tail can only make the verdict worse.

No diagnostic can see large radii along so few directions that none was drawn, unless the other radii form a tail that
leads up to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtri

from minima_volume.estimators.pareto import pareto_k
from minima_volume.estimators.radial import Floats, log_mean_exp

Word = Literal["converged", "max-dominated", "censored", "unconverged"]
# Tuned on lognormal weights, ellipsoids, cubes and cross-polytopes of many dimensions, 100 to 2,000 directions: with the
# error max(bootstrap, bulk_error), 3 standard errors then cover the truth in at least 95 % of the runs called converged.
BULK_SIZE = 50.0
# Limits for the tail, which the bulk cannot see. Above k = 0.7 a mean converges too slowly for any error (Vehtari et al.).
TAIL_SIZE, LARGEST_SHARE, LARGEST_K = 20.0, 0.25, 0.7


@dataclass(frozen=True)
class Trust:
    """What a stored word means for the number beside it.

    Attributes:
        label: Short text for legends and tables.
        sentence: The explanation for a reader who does not know the word.
        trusted: False if the word alone rules out using the number with its error.
    """

    label: str
    sentence: str
    trusted: bool


_CENSORED = Trust("censored", "Some rays reach the cap and count with its radius, so it is a lower bound.", False)
_UNCONVERGED = Trust("unconverged", "The minimum is above the threshold, so no basin surrounds it.", False)
# Every stored word by the table column that holds it: `Volume.status` in "status"; `Verdict.word` and the status of the
# samplers in "verdict".
TRUST: Mapping[str, Mapping[str, Trust]] = {
    "status": {
        "ok": Trust("all rays cross", "Every ray crosses the threshold; the verdict tells whether they suffice.", True),
        "unconverged": _UNCONVERGED,
        "censored": _CENSORED,
    },
    "verdict": {
        "converged": Trust("converged", "The directions suffice: the number can be used with its error.", True),
        "max-dominated": Trust("max-dominated", "Too few directions carry the mean, so it is a lower bound.", False),
        "censored": _CENSORED,
        "unconverged": _UNCONVERGED,
        "ok": Trust("converged", "Replicas and halves of the run agree: the number can be used with its error.", True),
        "thin": Trust("too few draws", "Too few draws carry the number, or a replica has no estimate.", False),
        "disagree": Trust(
            "replicas disagree", "Replicas differ by over three times what autocorrelations explain.", False
        ),
        "drift": Trust("drifting", "The halves of the run differ by more than three standard errors.", False),
    },
}
# Verdict words of rays and samplers whose number can be used with its error.
CONVERGED = tuple(word for word, trust in TRUST["verdict"].items() if trust.trusted)


@dataclass(frozen=True)
class Verdict:
    """A verdict word, the sentence that explains it, and the numbers behind both.

    Attributes:
        word: "converged", "max-dominated", "censored" or "unconverged"; see `TRUST`.
        sentence: The explanation of the word for these weights.
        n_directions: Number N of weights.
        effective_size: (Σw)²/Σw².
        bulk_size: Effective size predicted from the spread of the bulk.
        largest_share: max w/Σw.
        doubling: Estimate from all directions minus the mean estimate from random halves, in nats.
        pareto_k: Shape of the generalised Pareto tail of w, whose moments of order 1/k and above do not exist; NaN for
            too few or equal weights.
        n_censored: Number of rays that reach the cap inside the basin.
        n_recrossed: Number of rays that are seen inside again further out.
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
    def trusted(self) -> bool:
        """Whether the estimate can be used with its error."""
        return TRUST["verdict"][self.word].trusted

    @property
    def bulk_error(self) -> float:
        """Standard error √(1/bulk_size − 1/N) of ln mean(w) for lognormal weights, in nats; NaN below two directions.

        The bootstrap knows only the weights that were drawn and is too small where the large ones are missing. This
        error does not depend on them.
        """
        if not self.bulk_size >= 1 or self.n_directions < 2:
            return float("nan")
        return float(np.sqrt(max(1 / self.bulk_size - 1 / self.n_directions, 0.0)))


def diagnose(
    log_weights: Floats,
    *,
    log_bound: float = float("inf"),
    n_censored: int = 0,
    n_recrossed: int = 0,
    doubt: str = "",
) -> Verdict:
    """Diagnose the estimate ln mean(w).

    Args:
        log_weights: ln w in nats, (N,); n·ln r for volumes. −∞ is allowed.
        log_bound: What no ln w can exceed, such as 0 for probabilities. By default there is no bound.
        n_censored: Number of rays that reach the cap inside the basin.
        n_recrossed: Number of rays that are seen inside again further out.
        doubt: Why radii may be too long, which ends the sentence: the estimate is then no lower bound.

    Returns:
        The verdict. Its word is "censored" if any ray is, else "max-dominated" if too few weights carry the mean, else
        "converged".

    Raises:
        ValueError: If there are no weights, or some are NaN or +∞.

    Example:
        Radii that spread by 1 % are even enough in 100 dimensions. In 1,000 dimensions a few of them carry the mean.

        >>> import numpy as np
        >>> log_radii = np.random.default_rng(0).normal(0, 0.01, 500)
        >>> diagnose(100 * log_radii).word, diagnose(1000 * log_radii).word
        ('converged', 'max-dominated')
    """
    logs = np.asarray(log_weights, dtype=np.float64)
    if not logs.size or not (logs < np.inf).all():
        raise ValueError(f"expected at least one log weight below infinity, got {logs}")
    shares = _shares(logs)
    size, largest = float(1 / np.square(shares).sum()), float(shares.max())
    bulk, k = bulk_size(logs, log_bound), pareto_k(logs)
    word: Word = "converged"
    if n_censored:
        word = "censored"
    elif bulk < BULK_SIZE or size < TAIL_SIZE or largest > LARGEST_SHARE or k > LARGEST_K:
        word = "max-dominated"
    sentence = _sentence(word, logs.size, size, bulk, largest, n_censored, n_recrossed, doubt)
    return Verdict(
        word,
        sentence,
        logs.size,
        size,
        bulk,
        largest,
        doubling(logs),
        k,
        n_censored=n_censored,
        n_recrossed=n_recrossed,
    )


def unconverged_verdict(n_directions: int) -> Verdict:
    """Return the verdict on a minimum above the threshold, which no basin surrounds.

    Args:
        n_directions: Number of directions that were asked for.

    Returns:
        The verdict "unconverged", with NaN for the numbers.
    """
    sentence = (
        "The minimum itself is above the threshold, so no basin surrounds it: train longer or raise the threshold."
    )
    nothing = float("nan")
    return Verdict("unconverged", sentence, n_directions, nothing, nothing, nothing, nothing, nothing)


def bulk_size(log_weights: Floats, log_bound: float = float("inf")) -> float:
    """Return N·e^(−s²), the effective size of lognormal weights with the upper spread s of ln w.

    s is the larger of (q₉₀ − q₅₀)/z₉₀ and the same at the quantile above which 20 weights lie, with z the normal
    quantiles. A tail heavier than lognormal shows in the second before it shows in the largest weights. Weights bounded
    by b count like at least N·mean(w)/b equal ones, because then Var(w) ≤ b·mean(w).

    Args:
        log_weights: ln w in nats, (N,).
        log_bound: What no ln w can exceed.

    Returns:
        The effective size, at most N.
    """
    n = log_weights.size
    levels = np.array([0.9, max(0.8, 1 - 20 / n)])
    middle, *upper = np.quantile(log_weights, [0.5, *levels], method="higher")
    spread = float(((upper - middle) / ndtri(levels)).max()) if np.isfinite(middle) else np.inf
    return float(n * max(np.exp(-(spread**2)), np.exp(min(0.0, log_mean_exp(log_weights) - log_bound))))


def doubling(log_weights: Floats, *, n_halves: int = 32, seed: int = 0) -> float:
    """Return the estimate from all weights minus the mean estimate from random halves.

    If one weight carries the mean, half of the halves miss it, and their estimates fall by its whole lead over the
    others.

    Args:
        log_weights: ln w in nats, (N,).
        n_halves: Number of random halves.
        seed: Seed of the halves.

    Returns:
        The difference in nats: 0 for a converged mean, +∞ if a half has only empty weights, NaN for N < 2 or if all
        weights are empty.
    """
    half = log_weights.size // 2
    if not half or log_weights.max() == -np.inf:
        return float("nan")
    rows = np.random.default_rng(seed).permuted(np.tile(log_weights, (n_halves, 1)), axis=1)[:, :half]
    return float(log_mean_exp(log_weights) - log_mean_exp(rows, axis=1).mean())


def _shares(log_weights: Floats) -> Floats:
    """Return each weight's share of the sum; equal shares if all weights are zero."""
    top = log_weights.max()
    weights = np.exp(log_weights - top) if np.isfinite(top) else np.ones_like(log_weights)
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def _sentence(
    word: Word, n: int, size: float, bulk: float, largest: float, n_censored: int, n_recrossed: int, doubt: str
) -> str:
    """Explain a verdict word with the numbers behind it."""
    if word == "censored":
        end = "." if doubt else ": a lower bound."
        text = f"{n_censored} of {n} rays reach the cap inside the basin and count with its radius{end}"
    elif word == "converged":
        end = "." if doubt else ": the volume can be used with its error."
        unseen = 1 - 0.05 ** (1 / n)
        text = (
            f"{n} directions count like {size:.0f} equal ones{end} Radii along less than {unseen:.2g} of all directions can "
            "be missed (95% confidence)."
        )
    elif n <= BULK_SIZE or (n < 2 * BULK_SIZE and 2 * bulk > n):
        text = f"{n} directions are too few to tell whether larger radii were missed: use at least {2 * BULK_SIZE:.0f}."
    else:
        end = "." if doubt else ", so this is a lower bound that grows with more directions."
        text = (
            f"{n} directions count like {size:.1f} equal ones ({bulk:.2g} by the spread of the bulk), and the largest "
            f"holds {largest:.0%}: larger radii were missed{end}"
        )
    again = f" {n_recrossed} rays re-enter further out, outside the star-shaped basin." if n_recrossed else ""
    return f"{text}{again} {doubt}".rstrip()
