"""The Gaussian local volume γ_σ: the probability that a Gaussian step of width σ stays in the basin.

γ_σ is the probability that u ~ N(0, σ²I), in filter-normalised coordinates, lies in the star-shaped basin. The direction of
a Gaussian step is uniform, and its length, distributed like σ·χ_n, is independent of the direction. With P the regularised
lower incomplete gamma function,

    γ_σ = E[P(n/2, r²/2σ²)],  the mean over directions.

Unlike the Lebesgue volume γ_σ is finite for every basin. At small σ all terms are near 1 and their mean is easy to estimate.
At large σ each term is proportional to rⁿ, and the mean is as hard to estimate as E[rⁿ]. So every σ has its own verdict.
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
# A share of directions, draws or particles below 3/N is missed by N of them with a probability of 5 % or more. So two errors
# of the logarithm of a share are at least 3/N, also if none of N is lost.
UNSEEN = 1.5


def log_lower_gamma(a: float, x: Floats) -> Floats:
    """Return ln P(a, x), the log of the regularised lower incomplete gamma function, also where P itself underflows.

    For x ≥ a it is the log of scipy's P or log1p(−Q), both of order one. For x < a the substitution t = x·e⁻ˢ gives

        P(a, x) = xᵃ e⁻ˣ / Γ(a) · ∫₀^∞ exp(x(1 − e⁻ˢ) − a·s) ds,

    whose integrand decreases from 1. It is integrated over the range where it is not negligible. The error is the
    rounding of a·ln x, 10⁻⁹ at a = 10⁶.

    Args:
        a: The shape, above 0.
        x: The upper limits, at least 0, of any shape.

    Returns:
        ln P(a, x) in the shape of x; −∞ at x = 0.

    Raises:
        ValueError: If a or x is out of range.
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
    """Return ln P(a, x) for 0 < x < a, x one-dimensional."""
    # Three bounds of the exponent: x − a·s; −(a − x)·s; and −x·s²/3 where s ≤ 1. The tightest one sets the range.
    gaussian = np.sqrt(3 * NEGLIGIBLE / x)
    reach = np.minimum((NEGLIGIBLE + x) / a, NEGLIGIBLE / (a - x))
    reach = np.where(gaussian <= 1, np.minimum(reach, gaussian), reach)
    s = reach[:, None] * NODES
    integral = reach * (np.exp(-x[:, None] * np.expm1(-s) - a * s) @ NODE_WEIGHTS)
    return a * np.log(x) - x - gammaln(a) + np.log(integral)


def log_inside(log_radii: Floats, n_params: int, sigma: float) -> Floats:
    """Return ln P(n/2, r²/2σ²) of every ray, the log-probability that a Gaussian step along it stays inside.

    Args:
        log_radii: Natural logarithms of the radii, (directions,).
        n_params: The dimension n.
        sigma: The width σ, in the unit of the radii.

    Returns:
        The log-probabilities in nats, (directions,).
    """
    with np.errstate(over="ignore"):
        return log_lower_gamma(0.5 * n_params, 0.5 * np.exp(2 * (np.asarray(log_radii) - np.log(sigma))))


@dataclass(frozen=True)
class ProfilePoint:
    """ln γ_σ at one σ, in nats.

    Attributes:
        sigma: The width σ in filter units.
        log_gamma: ln γ_σ with censored rays counted at the cap, so a lower bound for the star-shaped basin.
        log_gamma_se: Standard error, the largest of that of the bootstrap, that of the verdict, and 1.5/N for directions
            that N rays do not see.
        log_gamma_upper: ln γ_σ with censored rays counted as infinitely long.
        verdict: Diagnosis of the terms; "censored" if the two bounds differ by more than the error and 0.001 nats.
    """

    sigma: float
    log_gamma: float
    log_gamma_se: float
    log_gamma_upper: float
    verdict: Verdict

    @property
    def trusted(self) -> bool:
        """Whether the estimate can be used with its error."""
        return self.verdict.trusted


@dataclass(frozen=True)
class Profile:
    """ln γ_σ at several widths.

    Attributes:
        points: One point per σ, in ascending order of σ.
    """

    points: tuple[ProfilePoint, ...]


def gaussian_profile(
    log_radii: Floats,
    n_params: int,
    *,
    sigmas: Sequence[float] | None = None,
    censored: NDArray[np.bool_] | None = None,
    log_weights: Floats | None = None,
) -> Profile:
    """Estimate the Gaussian local volume ln γ_σ = ln E[P(n/2, r²/2σ²)] of one minimum at several widths σ.

    Args:
        log_radii: Natural logarithms of the radii, (directions,); those of censored rays at the cap.
        n_params: The dimension n.
        sigmas: Widths in filter units, above 0. By default 13 widths in factors of √2 around median(r)/√n.
        censored: Whether a ray reaches the cap inside the basin, (directions,). By default no ray does.
        log_weights: Logarithms of importance weights of mean 1, (directions,), for directions that are not uniform.

    Returns:
        One point per width, in ascending order.

    Raises:
        UserError: If there are no rays or a width is not above 0.

    Example:
        The basin is the ball of radius 1 in two dimensions, so γ_σ = 1 − exp(−1/2σ²).

        >>> import numpy as np
        >>> profile = gaussian_profile(np.zeros(200), 2, sigmas=[0.5, 1.0])
        >>> for point in profile.points:
        ...     print(f"σ = {point.sigma}: γ = {np.exp(point.log_gamma):.4f}, {point.verdict.word}")
        σ = 0.5: γ = 0.8647, converged
        σ = 1.0: γ = 0.3935, converged
    """
    logs = np.asarray(log_radii, dtype=np.float64)
    widths = np.sort(default_sigmas(logs, n_params) if sigmas is None else np.asarray(sigmas, dtype=np.float64))
    if not logs.size or not (widths > 0).all():
        raise UserError(
            f"Expected at least one ray and widths σ > 0, got {logs.size} rays and σ = {widths.tolist()}: "
            "pass other radii or widths."
        )
    hidden = np.zeros(logs.shape, dtype=bool) if censored is None else censored
    return Profile(tuple(_point(logs, n_params, float(sigma), hidden, log_weights) for sigma in widths))


def default_sigmas(log_radii: Floats, n_params: int, count: int = 13) -> Floats:
    """Return widths around the one at which a typical step is as long as the median radius, σ = r/√n.

    Args:
        log_radii: Natural logarithms of the radii, (directions,).
        n_params: The dimension n.
        count: Number of widths.

    Returns:
        Widths in the unit of the radii, (count,), in factors of √2.
    """
    middle = np.exp(np.median(log_radii)) / np.sqrt(n_params)
    return np.asarray(middle * np.sqrt(2.0) ** (np.arange(count) - count // 2), dtype=np.float64)


def _point(
    logs: Floats, n_params: int, sigma: float, censored: NDArray[np.bool_], log_weights: Floats | None
) -> ProfilePoint:
    """Estimate and diagnose ln γ_σ at one width."""
    weights = np.zeros(logs.shape) if log_weights is None else log_weights
    terms = log_inside(logs, n_params, sigma) + weights
    # Probabilities are at most 1. Importance weights have no bound.
    bound = 0.0 if log_weights is None else np.inf
    estimate, error = log_mean_exp(terms), bootstrap_error(terms, 1)
    upper = log_mean_exp(np.where(censored, weights, terms))
    matters = upper - estimate > max(np.nan_to_num(error), 1e-3)
    verdict = diagnose(terms, log_bound=bound, n_censored=int(censored.sum()) if matters else 0)
    errors = error, verdict.bulk_error, UNSEEN / logs.size
    return ProfilePoint(sigma, estimate, float(np.fmax.reduce(errors)) if logs.size > 1 else np.nan, upper, verdict)
