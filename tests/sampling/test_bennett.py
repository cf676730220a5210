"""Bennett's acceptance ratio, ladders, autocorrelation times and status words against closed forms."""

import math

import numpy as np
import pytest

from minima_volume.sampling.bennett import (
    autocorrelation_time,
    bennett_ratio,
    chain_error,
    chain_status,
    join_ladder,
    log_mean_weight,
    replica_error,
)


def test_ratio_of_gaussians() -> None:
    # U = hz²/2 with h = 1 and 4: Z₁/Z₀ = 1/2.
    draws = np.random.default_rng(0).standard_normal((2, 50_000))
    joined = bennett_ratio(1.5 * draws[0] ** 2, 1.5 * (draws[1] / 2) ** 2)
    error = math.hypot(joined.forward.std(), joined.backward.std()) / math.sqrt(50_000)
    assert joined.log_ratio == pytest.approx(-math.log(2), abs=4 * error) and error < 0.01


def test_ratio_with_a_hard_wall() -> None:
    # |z| ≤ 1 inside the whole line: draws outside have Δ = +∞.
    draws = np.random.default_rng(0).standard_normal(50_000)
    inside = draws[np.abs(draws) <= 1]
    joined = bennett_ratio(np.where(np.abs(draws) <= 1, 0.0, np.inf), np.zeros_like(inside))
    share = len(inside) / len(draws)
    assert joined.log_ratio == pytest.approx(
        math.log(share), abs=1e-6
    )  # the share of the same draws, to the tolerance of the solver


def test_ladder_error_counts_a_rungs_draws_once() -> None:
    # The influences of the two steps on the middle rung cancel, so the sum does not depend on its draws.
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, 3, 1))
    joined = join_ladder([0 * x[:, 0], -0.1 * x[:, 1]], [0.1 * x[:, 1], 0 * x[:, 2]])
    # The rest is of second order in the step of 0.1.
    assert joined.error(1) > 0.5 * chain_error(0.05 * x[:, 1])
    assert joined.error(2) < 0.1 * joined.error(1)


def test_autocorrelation_time_of_an_autoregression() -> None:
    rng, rho = np.random.default_rng(0), 0.8
    noise = rng.standard_normal((4000, 16))
    series = np.zeros_like(noise)
    for t in range(1, len(noise)):
        series[t] = rho * series[t - 1] + noise[t]
    # (1 + ρ)/(1 − ρ) = 9; 64,000 draws determine it to a few per cent.
    assert autocorrelation_time(series) == pytest.approx(9, rel=0.1)
    assert autocorrelation_time(np.ones((5, 2))) == 1
    # The variance of a mean grows by that time. A standard deviation of 1/(1 − ρ²)^½ = 1.67.
    assert chain_error(series) == pytest.approx(3 / 0.6 / math.sqrt(series.size), rel=0.1)


def test_log_mean_of_weights_and_its_influences() -> None:
    log_mean, influence = log_mean_weight(np.array([1.0, 3.0, 0.0, 4.0]))
    assert log_mean == pytest.approx(math.log(2)) and influence.tolist() == [-0.5, 0.5, -1.0, 1.0]
    log_mean, influence = log_mean_weight(np.zeros(3))
    assert log_mean == -math.inf and influence.tolist() == [0, 0, 0]


def test_error_of_replicas() -> None:
    assert replica_error(np.array([1.0, 3.0])) == pytest.approx(1)  # sd √2 over √2
    assert all(math.isnan(replica_error(np.array(values))) for values in ([1.0], [1.0, math.inf], [1.0, math.nan]))


def test_status_words() -> None:
    fine = {"spread": 1.0, "within": 0.9, "drift": 1.0}
    assert chain_status(thin=False, **fine) == "ok"
    assert chain_status(thin=False, **{**fine, "spread": 3.0}) == "disagree"
    assert chain_status(thin=False, **{**fine, "drift": -6.0}) == "drift"
    assert chain_status(thin=True, **fine) == chain_status(thin=False, **{**fine, "spread": math.nan}) == "thin"
