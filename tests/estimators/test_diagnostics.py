"""Verdicts: numbers against formulas, words on samples whose truth is known, and the table of trust words."""

import math
from typing import get_args

import numpy as np
import pytest
from scipy.stats import genpareto

from minima_volume.estimators.diagnostics import TRUST, Word, bulk_size, diagnose, doubling, unconverged_verdict
from minima_volume.estimators.pareto import pareto_k
from minima_volume.estimators.radial import bootstrap_error, log_mean_exp
from minima_volume.estimators.volume import estimate_volume
from minima_volume.sampling.bennett import chain_status


def test_numbers_of_three_weights() -> None:
    verdict = diagnose(np.log([1.0, 2.0, 3.0]))
    assert verdict.effective_size == pytest.approx(36 / 14, abs=1e-12)
    assert verdict.largest_share == pytest.approx(0.5, abs=1e-12)
    assert verdict.n_directions == 3 and math.isnan(verdict.pareto_k)


def test_weights_a_million_nats_apart() -> None:
    verdict = diagnose(np.linspace(0, -1e6, 500) + 3e5)
    assert verdict.word == "max-dominated"
    assert verdict.effective_size == pytest.approx(1) and verdict.pareto_k == math.inf


def test_equal_weights_converge() -> None:
    verdict = diagnose(np.full(200, 1234.5))
    assert verdict.word == "converged"
    assert (verdict.effective_size, verdict.bulk_size) == pytest.approx((200, 200))
    assert verdict.doubling == pytest.approx(0, abs=1e-12) and verdict.bulk_error == 0


def test_solver_noise_is_not_a_tail() -> None:
    # A heavy tail of 0.001 nats has no effect on the mean.
    noise = 1e-3 * np.random.default_rng(0).pareto(1.5, 500).clip(max=15)
    assert diagnose(noise).word == "converged"


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.9])
def test_pareto_shape_of_generalised_pareto_samples(shape: float) -> None:
    draws = genpareto.rvs(shape, size=(200, 2000), random_state=np.random.default_rng(1))
    found = np.mean([pareto_k(np.log1p(row)) for row in draws])
    # 134 tail values: the ten pseudo-observations at 0.5 shift k by at most 0.03; the mean of 200 fits has an error of 0.01.
    assert found == pytest.approx(shape, abs=0.06)


def test_pareto_shape_does_not_depend_on_the_unit() -> None:
    logs = np.random.default_rng(2).normal(0, 1.5, 800)
    assert pareto_k(logs) == pytest.approx(pareto_k(logs + 5e4), abs=1e-6)


def test_bulk_size_of_lognormal_weights() -> None:
    # N·e^(−s²) with s known; quantiles of 20,000 draws determine s² to 2 %.
    logs = np.random.default_rng(3).normal(7, 1.5, 20_000)
    assert bulk_size(logs) == pytest.approx(20_000 * math.exp(-(1.5**2)), rel=0.2)


def test_bounded_weights_count_at_least_like_their_mean() -> None:
    # One in four weights is 1 and the others are 0: 400 draws have 100 successes.
    logs = np.where(np.arange(400) % 4 == 0, 0.0, -np.inf)
    assert diagnose(logs).word == "max-dominated"
    verdict = diagnose(logs, log_bound=0.0)
    assert verdict.word == "converged" and verdict.bulk_size == pytest.approx(100)
    # The binomial error √((1 − p)/pN) with p = 1/4.
    assert verdict.bulk_error == pytest.approx(math.sqrt(0.75 / 100), abs=1e-12)


def test_doubling_with_one_large_weight() -> None:
    # All weights give −ln 100. A half with the large weight gives −ln 50, a half without it −90.
    found = doubling(np.where(np.arange(100) == 0, 0.0, -90.0), n_halves=4000)
    expected = -math.log(100) - (0.5 * -math.log(50) + 0.5 * -90)
    # 4,000 halves: four standard errors of a fair coin with sides 86 nats apart.
    assert found == pytest.approx(expected, abs=4 * 86 * 0.5 / math.sqrt(4000))


def test_doubling_is_infinite_where_a_half_has_only_empty_weights() -> None:
    assert doubling(np.where(np.arange(100) == 0, 0.0, -np.inf)) == math.inf
    assert math.isnan(doubling(np.full(100, -np.inf)))


def test_words_and_sentences() -> None:
    even = np.zeros(200)
    assert diagnose(even, n_censored=1).word == "censored"
    assert "lower bound" in diagnose(even, n_censored=1).sentence
    assert (
        diagnose(even, n_recrossed=3).word == "converged"
        and "3 rays re-enter" in diagnose(even, n_recrossed=3).sentence
    )
    assert diagnose(even[:20]).word == "max-dominated" and "too few" in diagnose(even[:20]).sentence
    assert diagnose(np.where(np.arange(200) == 0, 10.0, 0.0)).word == "max-dominated"


def test_unconverged_verdict_names_the_threshold() -> None:
    verdict = unconverged_verdict(500)
    assert verdict.word == "unconverged" and "above the threshold" in verdict.sentence
    assert math.isnan(verdict.effective_size) and math.isnan(verdict.bulk_error)


@pytest.mark.parametrize("logs", [[], [math.nan], [math.inf, 0.0]])
def test_weights_that_cannot_be_diagnosed(logs: list[float]) -> None:
    with pytest.raises(ValueError, match="below infinity"):
        diagnose(np.array(logs))


def test_every_stored_word_is_in_the_table() -> None:
    rays = [np.full(2, c) for c in (0.5, 0.0, math.nan)]
    statuses = {estimate_volume(c, np.ones(2), 3, recrossed=np.zeros(2, dtype=bool)).status for c in rays}
    assert set(TRUST["status"]) == statuses
    sampler = {
        chain_status(thin=thin, spread=spread, within=1.0, drift=drift)
        for thin, spread, drift in ((True, 1, 0), (False, 4, 0), (False, 1, 7), (False, 1, 0))
    }
    assert set(TRUST["verdict"]) == {*get_args(Word), *sampler}
    assert {word for word, trust in TRUST["verdict"].items() if trust.trusted} == {"converged", "ok"}
    assert TRUST["verdict"]["ok"].label == TRUST["verdict"]["converged"].label
    assert all(TRUST["verdict"][word].label == word for word in get_args(Word))
    sentences = [trust.sentence for words in TRUST.values() for trust in words.values()]
    assert all(text[0].isupper() and text.endswith(".") for text in sentences)


def test_only_converged_verdicts_are_trusted() -> None:
    even = np.zeros(200)
    assert diagnose(even).trusted and not diagnose(even, n_censored=1).trusted and not diagnose(even[:20]).trusted
    assert not unconverged_verdict(200).trusted


# Verdicts on 100 samples of 500 lognormal weights with spread s: the expected bulk size 500·e^(−s²) against the limit 50.
# It is 457, 184, 70, 28, 1 and 0; single samples scatter by half of it where it is small.
CONVERGED_RUNS = {0.3: (95, 100), 1.0: (95, 100), 1.4: (60, 100), 1.7: (0, 10), 2.5: (0, 0), 6.0: (0, 0)}


@pytest.mark.parametrize("spread", CONVERGED_RUNS)
def test_verdict_and_error_of_lognormal_weights(spread: float) -> None:
    rng, pulls, by_bootstrap = np.random.default_rng(4), [], 0
    for _ in range(100):
        logs = rng.normal(-(spread**2) / 2, spread, 500)  # E[w] = 1
        verdict, bootstrap = diagnose(logs), bootstrap_error(logs, 1, n_resamples=100)
        by_bootstrap += abs(log_mean_exp(logs)) < 3 * bootstrap
        if verdict.word == "converged":
            pulls.append(log_mean_exp(logs) / np.fmax(bootstrap, verdict.bulk_error))
    least, most = CONVERGED_RUNS[spread]
    assert least <= len(pulls) <= most
    if least:
        # Three errors cover the truth in at least 95 % of the converged runs. The errors are not too wide either: 60
        # pulls scatter by 9 % around their standard deviation, and the larger of two errors is up to 1.4 times too wide.
        assert np.mean(np.abs(pulls) < 3) >= 0.95
        assert 0.6 < np.std(pulls) < 1.2
    if spread >= 2.5:
        assert by_bootstrap < 95, "the bootstrap alone would do, so this spread does not test the verdict"
