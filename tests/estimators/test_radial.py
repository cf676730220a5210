"""Log-volumes against closed forms: balls, ellipsoids, and a bootstrap written a second time."""

import math

import numpy as np
import pytest

from minima_volume.estimators.radial import (
    bootstrap_error,
    log_ball_volume,
    log_mean_exp,
    log_mean_power,
    typical_log_volume,
)


def ellipsoid_radii(axes: list[float], n_directions: int, seed: int) -> np.ndarray:
    """Distance from the centre to the surface of Σ(xᵢ/aᵢ)² = 1 along Gaussian directions."""
    g = np.random.default_rng(seed).standard_normal((n_directions, len(axes)))
    return np.linalg.norm(g, axis=1) / np.linalg.norm(g / np.array(axes), axis=1)


@pytest.mark.parametrize(("n", "volume"), [(1, 2.0), (2, math.pi), (3, 4 * math.pi / 3), (4, math.pi**2 / 2)])
def test_unit_balls(n: int, volume: float) -> None:
    # Only the rounding of lgamma and log, a few units in the last place.
    assert log_ball_volume(n) == pytest.approx(math.log(volume), abs=1e-14)


def test_ball_of_a_large_network() -> None:
    n = 235_146
    stirling = 0.5 * n * math.log(2 * math.pi * math.e / n) - 0.5 * math.log(math.pi * n)
    # Stirling's next term is 1/(6n) = 7·10⁻⁷; the sum of numbers near 10⁶ loses some 10⁻⁹.
    assert log_ball_volume(n) == pytest.approx(stirling, abs=2e-6)


def test_log_mean_exp_where_the_naive_sum_is_safe() -> None:
    values = np.random.default_rng(0).normal(0, 5, 200)
    # The same 200 positive terms summed in another order: at most 200 roundings.
    assert log_mean_exp(values) == pytest.approx(math.log(math.fsum(np.exp(values)) / 200), abs=1e-13)


def test_log_mean_exp_where_it_is_not() -> None:
    assert log_mean_exp(np.array([700_000.0, 700_000.0 + math.log(3)])) == pytest.approx(
        700_000 + math.log(2), abs=1e-9
    )  # spacing of doubles near 7·10⁵ is 10⁻¹⁰


def test_log_mean_exp_counts_empty_rays() -> None:
    # Two of four radii are zero: half the mean of the others; exact but for rounding.
    assert log_mean_exp(np.array([-np.inf, 1.0, -np.inf, 1.0])) == pytest.approx(1 - math.log(2), abs=1e-15)
    assert log_mean_exp(np.array([-np.inf, -np.inf])) == -np.inf
    assert math.isnan(log_mean_exp(np.array([])))


@pytest.mark.parametrize("n", [1, 2, 3, 50_000])
def test_ball(n: int) -> None:
    # All radii 0.37: both estimators give n·ln 0.37 without spread; rounding of a number near n.
    logs = np.full(40, math.log(0.37))
    assert log_mean_power(logs, n) == pytest.approx(n * math.log(0.37), rel=1e-14)
    typical, error = typical_log_volume(logs, n)
    assert typical == pytest.approx(n * math.log(0.37), rel=1e-14)
    assert bootstrap_error(logs, n) == pytest.approx(0, abs=1e-9) and error == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("axes", [[1.0, 0.3], [2.0, 1.0, 0.25]])
def test_ellipsoid(axes: list[float]) -> None:
    logs = np.log(ellipsoid_radii(axes, 20_000, seed=1))
    found, error = log_mean_power(logs, len(axes)), bootstrap_error(logs[:2000], len(axes)) / math.sqrt(10)
    # V = V_ball·Πaᵢ, within four of its own standard errors (the seed is fixed, so this does not flicker).
    assert found == pytest.approx(sum(map(math.log, axes)), abs=4 * error)
    assert 0 < error < 0.02  # and that error is small enough to notice a wrong power or a missing axis


def test_error_is_honest() -> None:
    axes, truth = [1.5, 1.0, 0.4], math.log(1.5 * 0.4)
    logs = [np.log(ellipsoid_radii(axes, 200, seed)) for seed in range(100)]
    pulls = np.array([(log_mean_power(one, 3) - truth) / bootstrap_error(one, 3, n_resamples=200) for one in logs])
    # 100 pulls of mean 0 and deviation 1: the deviation itself has error 0.07, and a bootstrap of 200 adds 5 %.
    assert 0.75 < pulls.std() < 1.25 and abs(pulls.mean()) < 0.4


def test_scaling_radii_adds_n_log_c() -> None:
    logs, n, c = np.log(ellipsoid_radii([2.0, 1.0, 0.3], 300, seed=2)), 3000, 7.5
    # A constant shift of every entry: rounding of numbers near n·ln r ~ 10⁴ only.
    assert log_mean_power(logs + math.log(c), n) == pytest.approx(log_mean_power(logs, n) + n * math.log(c), abs=1e-9)
    assert typical_log_volume(logs + math.log(c), n)[0] == pytest.approx(
        typical_log_volume(logs, n)[0] + n * math.log(c), abs=1e-9
    )
    assert bootstrap_error(logs + math.log(c), n) == pytest.approx(bootstrap_error(logs, n), abs=1e-9)
    assert typical_log_volume(logs + math.log(c), n)[1] == pytest.approx(typical_log_volume(logs, n)[1], rel=1e-9)


def test_typical_volume_lies_below() -> None:
    for seed in range(20):
        logs, n = np.random.default_rng(seed).normal(0, 0.1, 30), 10 ** (seed % 5)
        assert typical_log_volume(logs, n)[0] <= log_mean_power(logs, n)  # Jensen, without any tolerance


def test_typical_error_by_hand() -> None:
    logs, n = [0.1, -0.2, 0.4], 1000
    mean = sum(logs) / 3
    deviation = math.sqrt(sum((x - mean) ** 2 for x in logs) / 2)
    # The same three-term formula: rounding only.
    assert typical_log_volume(np.array(logs), n) == pytest.approx((n * mean, n * deviation / math.sqrt(3)), rel=1e-13)


@pytest.mark.parametrize("n", [3, 400])
def test_bootstrap_against_a_plain_one(n: int) -> None:
    logs, rng = np.random.default_rng(5).normal(0, 0.1, 60), np.random.default_rng(99)
    plain = []
    for _ in range(2000):
        powers = [n * logs[i] for i in rng.integers(60, size=60)]
        top = max(powers)
        plain.append(top + math.log(sum(math.exp(p - top) for p in powers) / 60))
    # Two deviations of 2000 draws each differ by √2/√4000 = 2.2 %; heavy tails at n = 400 double that; four of those.
    assert bootstrap_error(logs, n, n_resamples=2000) == pytest.approx(np.std(plain, ddof=1), rel=0.18)


def test_no_error_without_two_rays() -> None:
    assert math.isnan(bootstrap_error(np.array([0.3]), 5)) and math.isnan(typical_log_volume(np.array([0.3]), 5)[1])
