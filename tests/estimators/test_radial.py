"""Log-volumes against closed forms of balls and ellipsoids, and against the same formulas written plainly."""

import math

import numpy as np
import pytest
from scipy.special import logsumexp

from minima_volume.estimators.comparison import bootstrap_estimates
from minima_volume.estimators.diagnostics import doubling
from minima_volume.estimators.radial import (
    TAIL,
    Floats,
    bootstrap_error,
    log_ball_volume,
    log_mean_exp,
    log_mean_power,
    resample_log_means,
    typical_log_volume,
)


def ellipsoid_radii(axes: list[float], n_directions: int, seed: int) -> np.ndarray:
    """Distance from the centre to the surface of Σ(xᵢ/aᵢ)² = 1 along Gaussian directions."""
    g = np.random.default_rng(seed).standard_normal((n_directions, len(axes)))
    return np.linalg.norm(g, axis=1) / np.linalg.norm(g / np.array(axes), axis=1)


@pytest.mark.parametrize(("n", "volume"), [(1, 2.0), (2, math.pi), (3, 4 * math.pi / 3), (4, math.pi**2 / 2)])
def test_unit_balls(n: int, volume: float) -> None:
    # Rounding of lgamma and log, a few units in the last place.
    assert log_ball_volume(n) == pytest.approx(math.log(volume), abs=1e-14)


def test_ball_of_a_large_network() -> None:
    n = 235_146
    stirling = 0.5 * n * math.log(2 * math.pi * math.e / n) - 0.5 * math.log(math.pi * n)
    # The next term of Stirling's series is 1/(6n) = 7·10⁻⁷; numbers near 10⁶ round to 10⁻¹⁰.
    assert log_ball_volume(n) == pytest.approx(stirling, abs=2e-6)


def test_log_mean_exp_against_a_plain_sum() -> None:
    values = np.random.default_rng(0).normal(0, 5, 200)
    # 200 positive terms summed in another order: at most 200 roundings.
    assert log_mean_exp(values) == pytest.approx(math.log(math.fsum(np.exp(values)) / 200), abs=1e-13)


def test_log_mean_exp_where_a_plain_sum_overflows() -> None:
    assert log_mean_exp(np.array([700_000.0, 700_000.0 + math.log(3)])) == pytest.approx(
        700_000 + math.log(2), abs=1e-9
    )  # spacing of doubles near 7·10⁵ is 10⁻¹⁰


def test_log_mean_exp_counts_entries_of_minus_infinity() -> None:
    # Two of four radii are 0, so the mean is half that of the others.
    assert log_mean_exp(np.array([-np.inf, 1.0, -np.inf, 1.0])) == pytest.approx(1 - math.log(2), abs=1e-15)
    assert log_mean_exp(np.array([-np.inf, -np.inf])) == -np.inf
    assert math.isnan(log_mean_exp(np.array([])))
    rows = np.array([[-np.inf, -np.inf], [-np.inf, 1.0], [np.inf, 1.0]])
    assert log_mean_exp(rows, axis=1).tolist() == [-np.inf, 1 - math.log(2), np.inf]
    assert log_mean_exp(rows, axis=1).tolist() == log_mean_exp(rows.T, axis=0).tolist()


# The formulas with which the stored tables were made. They must not change by a single bit.


def stored_log_mean_exp(values: Floats) -> float:
    return float(logsumexp(values) - np.log(values.size))


def stored_row_means(rows: Floats) -> Floats:
    peaks = rows.max(axis=1)
    return np.asarray(peaks + np.log(np.exp(rows - peaks[:, None]).mean(axis=1)))


def stored_bootstrap_error(values: Floats) -> float:
    draws = np.random.default_rng(0).integers(values.size, size=(500, values.size))
    return float(np.std(stored_row_means(values[draws]), ddof=1))


def stored_doubling(values: Floats) -> float:
    half = values.size // 2
    rows = np.random.default_rng(0).permuted(np.tile(values, (32, 1)), axis=1)[:, :half]
    peaks = np.maximum(rows.max(axis=1), np.finfo(np.float64).min)
    halves = peaks + np.log(np.maximum(np.exp(rows - peaks[:, None]).mean(axis=1), 1 / half))
    return float(stored_log_mean_exp(values) - halves.mean())


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("empty", [0.0, 0.3])
def test_results_are_bit_identical_to_stored_ones(scale: float, empty: float) -> None:
    rng = np.random.default_rng(7)
    for size in (2, 3, 25, 200, 501):
        # Fewer empty entries than half of them, so that no half and practically no resample has nothing else.
        values = scale * rng.standard_normal(size)
        values[: int(empty * size)] = -np.inf
        rng.shuffle(values)
        rows = values[rng.integers(size, size=(40, size))]
        rows = rows[np.isfinite(rows.max(axis=1))]
        assert log_mean_exp(values) == log_mean_power(values, 1) == stored_log_mean_exp(values)
        assert log_mean_exp(rows, axis=1).tolist() == stored_row_means(rows).tolist()
        assert doubling(values) == stored_doubling(values)
        if size >= 25 or not empty:
            assert bootstrap_error(values, 1) == stored_bootstrap_error(values)
        if not empty:
            assert bootstrap_estimates(rows, 1, n_resamples=20)[0].tolist() == stored_row_means(rows).tolist()
            draws = np.random.default_rng(0).integers(size, size=(20, size))
            resampled = resample_log_means(rows, n_resamples=20, seed=0, tail=0)
            assert resampled.T.tolist() == [stored_row_means(row[draws]).tolist() for row in rows]


def test_the_two_orders_of_operations_differ() -> None:
    """So the two branches of log_mean_exp cannot be merged without changing stored numbers."""
    rows = np.random.default_rng(8).normal(0, 5, (200, 100))
    differing = log_mean_exp(rows, axis=1) != [log_mean_exp(row) for row in rows]
    assert 0 < differing.mean() < 1
    assert log_mean_exp(rows, axis=1) == pytest.approx([log_mean_exp(row) for row in rows], abs=1e-14)


def test_bootstrap_error_is_nan_where_a_resample_is_empty() -> None:
    assert math.isnan(bootstrap_error(np.array([0.0, -np.inf, -np.inf]), 1))
    assert math.isnan(bootstrap_error(np.array([-np.inf, -np.inf]), 1))


@pytest.mark.parametrize("n", [1, 2, 3, 50_000])
def test_ball(n: int) -> None:
    # All radii are 0.37: both estimators give n·ln 0.37 with error 0, up to the rounding of a number near n.
    logs = np.full(40, math.log(0.37))
    assert log_mean_power(logs, n) == pytest.approx(n * math.log(0.37), rel=1e-14)
    typical, error = typical_log_volume(logs, n)
    assert typical == pytest.approx(n * math.log(0.37), rel=1e-14)
    assert bootstrap_error(logs, n) == pytest.approx(0, abs=1e-9) and error == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("axes", [[1.0, 0.3], [2.0, 1.0, 0.25]])
def test_ellipsoid(axes: list[float]) -> None:
    logs = np.log(ellipsoid_radii(axes, 20_000, seed=1))
    found, error = log_mean_power(logs, len(axes)), bootstrap_error(logs[:2000], len(axes)) / math.sqrt(10)
    # V = V_ball·Πaᵢ, within four of its own standard errors.
    assert found == pytest.approx(sum(map(math.log, axes)), abs=4 * error)
    assert 0 < error < 0.02  # small enough to detect a wrong power or a missing axis


def test_bootstrap_error_is_the_spread_around_the_truth() -> None:
    axes, truth = [1.5, 1.0, 0.4], math.log(1.5 * 0.4)
    logs = [np.log(ellipsoid_radii(axes, 200, seed)) for seed in range(100)]
    pulls = np.array([(log_mean_power(one, 3) - truth) / bootstrap_error(one, 3, n_resamples=200) for one in logs])
    # 100 pulls of mean 0 and standard deviation 1, which itself has error 0.07; a bootstrap of 200 adds 5 %.
    assert 0.75 < pulls.std() < 1.25 and abs(pulls.mean()) < 0.4


def test_scaling_radii_adds_n_log_c() -> None:
    logs, n, c = np.log(ellipsoid_radii([2.0, 1.0, 0.3], 300, seed=2)), 3000, 7.5
    # Rounding of numbers near n·ln r ~ 10⁴.
    assert log_mean_power(logs + math.log(c), n) == pytest.approx(log_mean_power(logs, n) + n * math.log(c), abs=1e-9)
    assert typical_log_volume(logs + math.log(c), n)[0] == pytest.approx(
        typical_log_volume(logs, n)[0] + n * math.log(c), abs=1e-9
    )
    assert bootstrap_error(logs + math.log(c), n) == pytest.approx(bootstrap_error(logs, n), abs=1e-9)
    assert typical_log_volume(logs + math.log(c), n)[1] == pytest.approx(typical_log_volume(logs, n)[1], rel=1e-9)


def test_typical_volume_is_a_lower_bound() -> None:
    for seed in range(20):
        logs, n = np.random.default_rng(seed).normal(0, 0.1, 30), 10 ** (seed % 5)
        assert typical_log_volume(logs, n)[0] <= log_mean_power(logs, n)  # Jensen's inequality, exactly


def test_typical_error_of_three_radii() -> None:
    logs, n = [0.1, -0.2, 0.4], 1000
    mean = sum(logs) / 3
    deviation = math.sqrt(sum((x - mean) ** 2 for x in logs) / 2)
    # Rounding of three terms.
    assert typical_log_volume(np.array(logs), n) == pytest.approx((n * mean, n * deviation / math.sqrt(3)), rel=1e-13)


@pytest.mark.parametrize("n", [3, 400])
def test_bootstrap_error_against_a_loop(n: int) -> None:
    logs, rng = np.random.default_rng(5).normal(0, 0.1, 60), np.random.default_rng(99)
    plain = []
    for _ in range(2000):
        powers = [n * logs[i] for i in rng.integers(60, size=60)]
        top = max(powers)
        plain.append(top + math.log(sum(math.exp(p - top) for p in powers) / 60))
    # Standard deviations of 2,000 draws each differ by √2/√4000 = 2.2 %; heavy tails at n = 400 double it; four times that.
    assert bootstrap_error(logs, n, n_resamples=2000) == pytest.approx(np.std(plain, ddof=1), rel=0.18)


# Gaussian ln w: even weights, weights of which some carry the mean, and the spreads of the paper's networks.
@pytest.mark.parametrize("spread", [0.1, 1.0, 2.0, 5.0, 11_600.0])
@pytest.mark.parametrize("size", [100, 500])
def test_two_errors_hold_the_mean_of_an_estimate_that_one_direction_may_carry(spread: float, size: int) -> None:
    rng, runs = np.random.default_rng(11), 200
    logs = [spread * rng.standard_normal(size) for _ in range(runs)]
    found = np.array([log_mean_exp(one) for one in logs])
    errors = np.array([bootstrap_error(one, 1, n_resamples=200, tail=TAIL) for one in logs])
    held = (np.abs(found - found.mean()) < 2 * errors).mean()
    assert held >= 0.93  # 95 % minus 1.3 of its own errors
    assert 0.85 < np.median(errors) / found.std() < 2.1
    if spread > 2:
        plain = np.array([bootstrap_error(one, 1, n_resamples=200) for one in logs])
        assert (np.abs(found - found.mean()) < 2 * plain).mean() < 0.85, "the ordinary bootstrap would do"


def test_resamples_of_common_directions_keep_their_correlation() -> None:
    shared = 3000 * np.random.default_rng(2).standard_normal(300)
    found = resample_log_means(np.stack([shared + 7, shared]), n_resamples=50, seed=0)
    np.testing.assert_allclose(found[:, 0] - found[:, 1], 7, atol=1e-8)


def test_few_or_empty_rays_have_an_ordinary_resample() -> None:
    for row in (np.array([0.0, 1.0, 2.0]), np.r_[np.zeros(5), np.full(45, -np.inf)]):
        draws = np.random.default_rng(4).integers(row.size, size=(30, row.size))
        assert (
            resample_log_means(row[None], n_resamples=30, seed=4)[:, 0].tolist()
            == log_mean_exp(row[draws], axis=1).tolist()
        )


def test_no_error_without_two_rays() -> None:
    assert math.isnan(bootstrap_error(np.array([0.3]), 5, tail=TAIL))
    assert math.isnan(bootstrap_error(np.array([-np.inf] * 9), 5, tail=TAIL))
    assert math.isnan(bootstrap_error(np.array([0.3]), 5)) and math.isnan(typical_log_volume(np.array([0.3]), 5)[1])
