"""The Gaussian local volume profile: how likely a Gaussian step of width σ stays in the basin, for every σ.

γ_σ is the probability that u ~ N(0, σ²I), in filter-normalised coordinates, lies in the star-shaped basin. A Gaussian
step has a uniform direction and a length of law σ·χ_n, independent of each other, so with P the regularised lower
incomplete gamma function

    γ_σ = E[P(n/2, r²/2σ²)],  the mean over directions.

Unlike the Lebesgue volume it is finite for every basin. At small σ all terms are near 1 and their mean is easy; at large
σ each term is proportional to rⁿ and the mean is as hard as ln E[rⁿ]: a verdict stands beside every σ.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, gammaincc, gammaln

from minima_volume.errors import UserError
from minima_volume.estimators.diagnostics import Verdict, diagnose
from minima_volume.estimators.radial import Floats, bootstrap_error, log_mean_exp

# Gauss–Legendre nodes on [0, 1]: 80 resolve exp(−120 t) and exp(−120 t²) to rounding.
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(80)
NODES, NODE_WEIGHTS = 0.5 * (_POINTS + 1), 0.5 * _WEIGHTS
# Terms below e⁻⁴⁰ of the largest do not change a double.
NEGLIGIBLE = 40.0


def log_lower_gamma(a: float, x: Floats) -> Floats:
    """ln P(a, x), the log of the regularised lower incomplete gamma function, where P itself underflows too.

    For x ≥ a it is the log of scipy's P or log1p(−Q), both of order one. For x < a the substitution t = x·e⁻ˢ gives

        P(a, x) = xᵃ e⁻ˣ / Γ(a) · ∫₀^∞ exp(x(1 − e⁻ˢ) − a·s) ds,

    an integrand that falls from 1 monotonically, integrated on the range where it is not negligible. −∞ at x = 0; the
    error is the rounding of a·ln x, 10⁻⁹ at a = 10⁶. Raises ValueError unless a > 0 and x ≥ 0.
    """
    x = np.asarray(x, dtype=np.float64)
    if not (a > 0 and (x >= 0).all()):
        raise ValueError(f"expected a > 0 and x ≥ 0, got a = {a} and x from {x.min()}")
    out = np.full(x.shape, -np.inf)
    small, large = (x > 0) & (x < a), x >= a
    out[small] = _log_by_quadrature(a, x[small])
    out[large] = np.where(gammainc(a, x[large]) < 0.5, np.log(gammainc(a, x[large])), np.log1p(-gammaincc(a, x[large])))
    return out


def _log_by_quadrature(a: float, x: Floats) -> Floats:
    """ln P(a, x) for 0 < x < a, x one-dimensional."""
    # Three bounds of the exponent: x − a·s; −(a − x)·s; and −x·s²/3 where s ≤ 1. The tightest range wins.
    gaussian = np.sqrt(3 * NEGLIGIBLE / x)
    reach = np.minimum((NEGLIGIBLE + x) / a, NEGLIGIBLE / (a - x))
    reach = np.where(gaussian <= 1, np.minimum(reach, gaussian), reach)
    s = reach[:, None] * NODES
    integral = reach * (np.exp(-x[:, None] * np.expm1(-s) - a * s) @ NODE_WEIGHTS)
    return a * np.log(x) - x - gammaln(a) + np.log(integral)


def log_inside(log_radii: Floats, n_params: int, sigma: float) -> Floats:
    """ln P(n/2, r²/2σ²) of every ray: the log-probability that a Gaussian step along it ends inside."""
    with np.errstate(over="ignore"):
        return log_lower_gamma(0.5 * n_params, 0.5 * np.exp(2 * (np.asarray(log_radii) - np.log(sigma))))


@dataclass(frozen=True)
class ProfilePoint:
    """ln γ_σ at one σ, in nats.

    `log_gamma` counts censored rays at the cap, so it is a lower bound of the star-shaped basin's; `log_gamma_upper`
    lets them go on for ever. `log_gamma_se` is the larger of the bootstrap's standard error and the verdict's.
    `verdict` judges the terms: "censored" where the two bounds differ by more than the error and a thousandth of a nat.
    """

    sigma: float
    log_gamma: float
    log_gamma_se: float
    log_gamma_upper: float
    verdict: Verdict

    @property
    def trusted(self) -> bool:
        """Whether the estimate and its error can be taken at their word."""
        return self.verdict.word == "converged"


@dataclass(frozen=True)
class Profile:
    """ln γ_σ over ascending σ."""

    points: tuple[ProfilePoint, ...]

    @property
    def trusted_range(self) -> tuple[float, float] | None:
        """Smallest and largest σ of the run of trusted points that starts at the smallest σ; None if there is none."""
        good = [point.trusted for point in self.points]
        length = good.index(False) if False in good else len(good)
        return (self.points[0].sigma, self.points[length - 1].sigma) if length else None


def gaussian_profile(
    log_radii: Floats,
    n_params: int,
    *,
    sigmas: Sequence[float] | None = None,
    censored: NDArray[np.bool_] | None = None,
    log_weights: Floats | None = None,
) -> Profile:
    """The profile ln γ_σ of one minimum from the log radii (N,) of its rays, censored ones at their cap.

    `sigmas`: widths in filter units, by default `default_sigmas`. `log_weights` (N,): logs of importance weights of
    mean 1, for directions that are not uniform (`preconditioned`). Raises UserError without rays or with a σ ≤ 0.
    """
    logs = np.asarray(log_radii, dtype=np.float64)
    widths = np.sort(default_sigmas(logs, n_params) if sigmas is None else np.asarray(sigmas, dtype=np.float64))
    if not logs.size or not (widths > 0).all():
        raise UserError(f"Expected at least one ray and widths σ > 0, got {logs.size} rays and σ = {widths.tolist()}.")
    hidden = np.zeros(logs.shape, dtype=bool) if censored is None else censored
    return Profile(tuple(_point(logs, n_params, float(sigma), hidden, log_weights) for sigma in widths))


def default_sigmas(log_radii: Floats, n_params: int, count: int = 13) -> Floats:
    """Widths around the one at which a typical step is as long as the median radius, σ = r/√n, in factors of √2."""
    middle = np.exp(np.median(log_radii)) / np.sqrt(n_params)
    return np.asarray(middle * np.sqrt(2.0) ** (np.arange(count) - count // 2), dtype=np.float64)


def _point(
    logs: Floats, n_params: int, sigma: float, censored: NDArray[np.bool_], log_weights: Floats | None
) -> ProfilePoint:
    weights = np.zeros(logs.shape) if log_weights is None else log_weights
    terms = log_inside(logs, n_params, sigma) + weights
    # Probabilities are at most 1; importance weights have no bound.
    bound = 0.0 if log_weights is None else np.inf
    estimate, error = log_mean_exp(terms), bootstrap_error(terms, 1)
    upper = log_mean_exp(np.where(censored, weights, terms))
    matters = upper - estimate > max(np.nan_to_num(error), 1e-3)
    verdict = diagnose(terms, log_bound=bound, n_censored=int(censored.sum()) if matters else 0)
    return ProfilePoint(sigma, estimate, float(np.fmax(error, verdict.bulk_error)), upper, verdict)
