"""Verdicts: their numbers against formulas, their words on samples whose truth is known."""

import math

import numpy as np
import pytest
from scipy.stats import genpareto

from minima_volume.estimators.diagnostics import bulk_size, diagnose, doubling, pareto_k, unconverged_verdict
from minima_volume.estimators.radial import bootstrap_error, log_mean_exp


def test_numbers_of_a_small_sample_by_hand() -> None:
    verdict = diagnose(np.log([1.0, 2.0, 3.0]))
    assert verdict.effective_size == pytest.approx(36 / 14, abs=1e-12)
    assert verdict.largest_share == pytest.approx(0.5, abs=1e-12)
    assert verdict.n_directions == 3 and math.isnan(verdict.pareto_k)


def test_weights_may_be_thousands_of_nats_apart() -> None:
    verdict = diagnose(np.linspace(0, -1e6, 500) + 3e5)
    assert verdict.word == "max-dominated"
    assert verdict.effective_size == pytest.approx(1) and verdict.pareto_k == math.inf


def test_equal_weights_converge() -> None:
    verdict = diagnose(np.full(200, 1234.5))
    assert verdict.word == "converged"
    assert (verdict.effective_size, verdict.bulk_size) == pytest.approx((200, 200))
    assert verdict.doubling == pytest.approx(0, abs=1e-12) and verdict.bulk_error == 0


def test_solver_noise_is_no_tail() -> None:
    # Heavy tails of a thousandth of a nat decide nothing.
    noise = 1e-3 * np.random.default_rng(0).pareto(1.5, 500).clip(max=15)
    assert diagnose(noise).word == "converged"


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.9])
def test_pareto_shape_of_generalised_pareto_samples(shape: float) -> None:
    draws = genpareto.rvs(shape, size=(200, 2000), random_state=np.random.default_rng(1))
    found = np.mean([pareto_k(np.log1p(row)) for row in draws])
    # 134 tail values: the prior's ten at 0.5 move k by at most 0.03, and the mean of 200 fits has an error of 0.01.
    assert found == pytest.approx(shape, abs=0.06)


def test_pareto_shape_does_not_depend_on_the_unit() -> None:
    logs = np.random.default_rng(2).normal(0, 1.5, 800)
    assert pareto_k(logs) == pytest.approx(pareto_k(logs + 5e4), abs=1e-6)


def test_bulk_size_of_lognormal_weights() -> None:
    # N·e^(−s²) with s known; quantiles of 20,000 draws are good to two per cent of s².
    logs = np.random.default_rng(3).normal(7, 1.5, 20_000)
    assert bulk_size(logs) == pytest.approx(20_000 * math.exp(-(1.5**2)), rel=0.2)


def test_bounded_weights_count_at_least_their_mean() -> None:
    # One in four weights is 1, the others nothing: 400 draws are 100 successes.
    logs = np.where(np.arange(400) % 4 == 0, 0.0, -np.inf)
    assert diagnose(logs).word == "max-dominated"
    verdict = diagnose(logs, log_bound=0.0)
    assert verdict.word == "converged" and verdict.bulk_size == pytest.approx(100)
    # The binomial error √((1 − p)/pN).
    assert verdict.bulk_error == pytest.approx(math.sqrt(0.75 / 100), abs=1e-12)


def test_doubling_of_one_lucky_direction() -> None:
    # All say −ln 100. Half of the halves hold the one weight and say −ln 50; the others say −90.
    found = doubling(np.where(np.arange(100) == 0, 0.0, -90.0), n_halves=4000)
    expected = -math.log(100) - (0.5 * -math.log(50) + 0.5 * -90)
    # 4,000 halves: four standard errors of a coin worth 86 nats.
    assert found == pytest.approx(expected, abs=4 * 86 * 0.5 / math.sqrt(4000))


def test_words_in_order_of_severity() -> None:
    even = np.zeros(200)
    assert diagnose(even, n_censored=1).word == "censored"
    assert "lower bound" in diagnose(even, n_censored=1).sentence
    assert (
        diagnose(even, n_recrossed=3).word == "converged"
        and "3 rays re-enter" in diagnose(even, n_recrossed=3).sentence
    )
    assert diagnose(even[:20]).word == "max-dominated" and "too few" in diagnose(even[:20]).sentence
    assert diagnose(np.where(np.arange(200) == 0, 10.0, 0.0)).word == "max-dominated"


def test_unconverged_says_why() -> None:
    verdict = unconverged_verdict(500)
    assert verdict.word == "unconverged" and "above the threshold" in verdict.sentence
    assert math.isnan(verdict.effective_size) and math.isnan(verdict.bulk_error)


@pytest.mark.parametrize("logs", [[], [math.nan], [math.inf, 0.0]])
def test_what_cannot_be_judged(logs: list[float]) -> None:
    with pytest.raises(ValueError, match="below infinity"):
        diagnose(np.array(logs))


SLOW = [pytest.param(spread, marks=pytest.mark.slow) for spread in (0.3, 1.4, 1.7, 6.0)]


@pytest.mark.parametrize("spread", [1.0, 2.5, *SLOW])
def test_coverage_of_lognormal_weights(spread: float) -> None:
    # E[w] = 1 exactly. Converged runs must hold it within 3 errors in 95 % of cases, with 5 runs of slack where few
    # converge; where the bootstrap alone fails (spread 6: it never comes near) the word must say so.
    rng, converged, good = np.random.default_rng(4), 0, 0
    for _ in range(100):
        logs = rng.normal(-(spread**2) / 2, spread, 500)
        verdict = diagnose(logs)
        error = np.fmax(bootstrap_error(logs, 1, n_resamples=100), verdict.bulk_error)
        converged += verdict.word == "converged"
        good += verdict.word == "converged" and abs(log_mean_exp(logs)) < 3 * error
    assert good >= 0.95 * converged
    assert converged >= 95 if spread <= 1 else converged <= 1 if spread >= 2.5 else True
