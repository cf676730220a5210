"""ln P(a, x) against other libraries and identities; ln γ_σ against Monte Carlo and closed forms."""

import math

import numpy as np
import pytest
from scipy.special import gammainc, log_ndtr
from scipy.stats import chi2

from minima_volume.errors import UserError
from minima_volume.estimators.gaussian import gaussian_profile, log_inside, log_lower_gamma
from minima_volume.estimators.radial import log_mean_power

# x relative to a: far below, near and at the turning point x = a.
PLACES = [1e-6, 0.01, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 1.0]


@pytest.mark.parametrize("a", [0.5, 1.0, 3.5, 10.0, 200.0, 1000.5, 5e4, 1e6])
def test_log_lower_gamma_against_a_series(a: float) -> None:
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(30):
        for place in PLACES:
            x = mpmath.mpf(a * place)
            term = total = mpmath.mpf(1)
            k = 1
            # P = xᵃe⁻ˣ/Γ(a+1) · Σ xᵏ/((a+1)…(a+k)), all terms positive
            while term > mpmath.mpf(10) ** -16 * total:
                term *= x / (a + k)
                total, k = total + term, k + 1
            exact = a * mpmath.log(x) - x - mpmath.loggamma(a + 1) + mpmath.log(total)
            # The rounding of a·ln x: 10⁷ · 10⁻¹⁶ at a = 10⁶.
            assert float(log_lower_gamma(a, np.array([a * place]))[0]) == pytest.approx(
                float(exact), abs=1e-10 + 3e-15 * a
            )


@pytest.mark.parametrize("a", [0.5, 2.0, 30.0, 150.0])
def test_log_lower_gamma_against_scipy_without_underflow(a: float) -> None:
    x = a * np.geomspace(0.2, 5, 41)
    # SciPy's P has an error of 10⁻¹² for these a, and so has its logarithm.
    np.testing.assert_allclose(log_lower_gamma(a, x), np.log(gammainc(a, x)), atol=1e-11, rtol=1e-11)
    np.testing.assert_allclose(log_lower_gamma(a, x), chi2.logcdf(2 * x, 2 * a), atol=1e-10, rtol=1e-10)


def test_log_lower_gamma_where_scipy_underflows() -> None:
    assert gammainc(1e6, 0.9e6) == 0.0
    # ln P(a+1, x) = ln P(a, x) + ln(1 − xᵃe⁻ˣ/(Γ(a+1)·P(a, x))).
    a, x = 1e6, np.array([0.9e6])
    here, there = log_lower_gamma(a, x)[0], log_lower_gamma(a + 1, x)[0]
    front = a * math.log(x[0]) - x[0] - math.lgamma(a + 1)
    # Both sides have the rounding of a·ln x.
    assert there == pytest.approx(here + math.log1p(-math.exp(front - here)), abs=1e-7)


def test_log_lower_gamma_at_the_ends() -> None:
    assert log_lower_gamma(3.0, np.array([0.0, 1e9])).tolist() == [-math.inf, 0.0]
    with pytest.raises(ValueError, match="a > 0 and x ≥ 0"):
        log_lower_gamma(3.0, np.array([-1.0]))


def test_log_lower_gamma_increases_across_the_turning_point() -> None:
    for a in (0.5, 7.0, 1e3, 1e6):
        x = a + np.sqrt(a) * np.linspace(-0.1, 0.1, 201)
        assert (np.diff(log_lower_gamma(a, x[x > 0])) > 0).all()


def test_profile_of_a_star_body_against_monte_carlo() -> None:
    # In the plane: r(φ) = 1 + ½ sin 3φ, with directions uniform in φ. The oracle counts Gaussian points inside.
    angles = 2 * np.pi * (np.arange(4000) + 0.5) / 4000
    profile = gaussian_profile(np.log(1 + 0.5 * np.sin(3 * angles)), 2, sigmas=[0.3, 0.7, 1.5])
    rng = np.random.default_rng(0)
    for point in profile.points:
        u = point.sigma * rng.standard_normal((400_000, 2))
        inside = np.hypot(*u.T) <= 1 + 0.5 * np.sin(3 * np.arctan2(u[:, 1], u[:, 0]))
        # Four standard errors of the oracle; evenly spaced angles make the profile nearly exact.
        error = math.sqrt((1 - inside.mean()) / inside.mean() / len(inside))
        assert point.log_gamma == pytest.approx(math.log(inside.mean()), abs=4 * error)


def test_profile_of_random_rays_within_its_own_error() -> None:
    rng = np.random.default_rng(1)
    g = rng.standard_normal((2000, 3))
    w = g / np.linalg.norm(g, axis=1, keepdims=True)
    # A box of half-widths 0.4, 0.8, 1.2: γ = Π erf(b/σ√2).
    half = np.array([0.4, 0.8, 1.2])
    profile = gaussian_profile(np.log((half / np.abs(w)).min(axis=1)), 3, sigmas=[0.2, 0.5, 1.0, 4.0])
    for point in profile.points:
        exact = sum(math.log(math.erf(b / (point.sigma * math.sqrt(2)))) for b in half)
        assert point.trusted and abs(point.log_gamma - exact) < 4 * point.log_gamma_se
        assert point.log_gamma_se < 0.1


def test_one_dimension_is_the_normal_distribution() -> None:
    # n = 1: P(|z| ≤ r/σ) = 1 − 2Φ(−r/σ).
    r = np.array([0.1, 1.0, 5.0])
    expected = np.log1p(-2 * np.exp(log_ndtr(-r / 0.7)))
    np.testing.assert_allclose(log_inside(np.log(r), 1, 0.7), expected, atol=1e-13)


def test_wide_profiles_differ_like_volumes() -> None:
    # For σ ≫ r the density is flat inside: ln γ = ln V − (n/2) ln 2πσ², so differences are those of ln E[rⁿ].
    logs = np.random.default_rng(2).normal(0, 0.05, (2, 300))
    n, sigma = 40, 1e4
    one, two = (gaussian_profile(row, n, sigmas=[sigma]).points[0].log_gamma for row in logs)
    # Corrections of order r²/σ² = 10⁻⁸, and the rounding of numbers near 400.
    assert one - two == pytest.approx(log_mean_power(logs[0], n) - log_mean_power(logs[1], n), abs=1e-6)


def test_censored_rays_give_two_bounds() -> None:
    logs, censored = np.log([1.0, 1.0, 2.0, 2.0]), np.array([False, False, True, True])
    point = gaussian_profile(logs, 10, sigmas=[1.0], censored=censored).points[0]
    closed = gammainc(5, 0.5)
    assert point.log_gamma == pytest.approx(math.log((closed + gammainc(5, 2)) / 2), abs=1e-12)
    assert point.log_gamma_upper == pytest.approx(math.log((closed + 1) / 2), abs=1e-12)
    assert point.verdict.word == "censored" and not point.trusted


def test_censored_rays_do_not_affect_narrow_widths() -> None:
    censored = np.arange(200) < 100
    point = gaussian_profile(np.zeros(200), 10, sigmas=[0.01], censored=censored).points[0]
    assert point.trusted and point.log_gamma_upper == pytest.approx(0, abs=1e-12)


def test_profile_is_trusted_up_to_the_width_at_which_few_rays_carry_the_mean() -> None:
    # n·ln r has a standard deviation of 20 nats: easy while σ√n is below the radii, impossible far above them.
    logs = np.random.default_rng(3).normal(0, 0.2, 400)
    profile = gaussian_profile(logs, 100)
    assert [point.sigma for point in profile.points] == sorted(point.sigma for point in profile.points)
    trusted = [point.trusted for point in profile.points]
    assert trusted == sorted(trusted, reverse=True) and trusted[0] and not trusted[-1]
    assert not gaussian_profile(logs, 100, sigmas=[10.0]).points[0].trusted


def test_importance_weights_enter_the_mean() -> None:
    logs, weights = np.log([1.0, 2.0]), np.log([0.5, 1.5])
    point = gaussian_profile(logs, 4, sigmas=[1.0], log_weights=weights).points[0]
    expected = 0.5 * (0.5 * gammainc(2, 0.5) + 1.5 * gammainc(2, 2))
    assert point.log_gamma == pytest.approx(math.log(expected), abs=1e-13)


@pytest.mark.parametrize("sigmas", [[0.0], [-1.0, 1.0]])
def test_widths_must_be_positive(sigmas: list[float]) -> None:
    with pytest.raises(UserError, match="σ > 0"):
        gaussian_profile(np.zeros(3), 2, sigmas=sigmas)
