"""Paired comparisons against closed forms, exact bootstraps and repeated measurements."""

import math
from itertools import product

import numpy as np
import pytest

from minima_volume.errors import UserError
from minima_volume.estimators.comparison import Statistic, bootstrap_estimates, compare, rank
from minima_volume.estimators.gaussian import gaussian_profile
from minima_volume.estimators.radial import TAIL, bootstrap_error, log_mean_power, typical_log_volume


def test_estimates_agree_with_the_estimators_of_single_minima() -> None:
    logs = np.random.default_rng(0).normal(0, 0.02, (3, 200))
    volume, spread = bootstrap_estimates(logs, 100, n_resamples=500)
    assert volume == pytest.approx([log_mean_power(row, 100) for row in logs], abs=1e-12)
    # The same resamples from the same seed.
    assert spread.std(axis=0, ddof=1) == pytest.approx([bootstrap_error(row, 100, tail=TAIL) for row in logs], rel=1e-9)
    typical, _ = bootstrap_estimates(logs, 100, statistic="typical")
    assert typical == pytest.approx([typical_log_volume(row, 100)[0] for row in logs], abs=1e-12)
    gamma, _ = bootstrap_estimates(logs, 100, statistic="gamma", sigma=0.1)
    assert gamma == pytest.approx(
        [gaussian_profile(row, 100, sigmas=[0.1]).points[0].log_gamma for row in logs], abs=1e-12
    )


def test_probability_from_all_resamples_of_two_directions() -> None:
    # Two directions have four resamples: (1,1), (1,2), (2,1), (2,2). A is larger along the first and much smaller along
    # the second, so A is larger in the resample (1,1) only.
    logs = np.log([[2.0, 1.0], [1.0, 4.0]])
    wins = [
        np.mean([2.0, 1.0][i] + [2.0, 1.0][j]) > [1.0, 4.0][i] + [1.0, 4.0][j] for i, j in product((0, 1), repeat=2)
    ]
    found = compare(logs, 1, n_resamples=20_000)
    # Four standard errors of 20,000 coin tosses.
    assert found.probability == pytest.approx(np.mean(wins), abs=4 * math.sqrt(0.25 / 20_000))
    assert found.difference == pytest.approx(math.log(1.5 / 2.5), abs=1e-12)


@pytest.mark.parametrize("statistic", ["log_volume", "typical", "gamma"])
def test_a_common_factor_is_certain_in_any_noise(statistic: Statistic) -> None:
    # B's radii are 1 % smaller than A's: 20 nats, in noise of hundreds of nats.
    logs = np.random.default_rng(1).normal(0, 0.1, 300)
    found = compare(
        np.stack([logs, logs - 0.01]), 2000, statistic=statistic, sigma=1.0 if statistic == "gamma" else None
    )
    assert found.probability == 1
    if statistic != "gamma":
        assert found.difference == pytest.approx(20, abs=1e-9) and found.error < 1e-9


def test_equal_minima_have_probability_one_half() -> None:
    logs = np.random.default_rng(2).normal(0, 0.01, 100)
    assert compare(np.stack([logs, logs]), 50) == compare(np.stack([logs, logs]), 50, 1, 0)
    assert compare(np.stack([logs, logs]), 50).probability == 0.5


def test_swapping_the_minima_changes_the_sign() -> None:
    logs = np.random.default_rng(3).normal(0, 0.03, (2, 150))
    forth, back = compare(logs, 30), compare(logs, 30, 1, 0)
    assert forth.difference == pytest.approx(-back.difference) and forth.error == pytest.approx(back.error)
    assert forth.probability == pytest.approx(1 - back.probability)


def test_error_is_the_spread_of_repeated_measurements() -> None:
    # n·E[ln r] is normal. Its error is known to 5 % from 200 repeats with new directions and to 10 % from 100 rays.
    rng = np.random.default_rng(4)
    found = [compare(rng.normal(0, 0.1, (2, 100)), 10, statistic="typical", seed=i) for i in range(200)]
    differences = np.array([each.difference for each in found])
    assert np.mean([each.error for each in found]) == pytest.approx(differences.std(ddof=1), rel=0.2)
    # For equal minima a probability beyond 5 % or 95 % comes up in a tenth of the repeats.
    decided = np.mean([abs(each.probability - 0.5) > 0.45 for each in found])
    assert 0.04 < decided < 0.2


def test_ranking() -> None:
    rng = np.random.default_rng(5)
    common = rng.normal(0, 0.05, 200)
    logs = np.stack([common - 0.02, common, common - 0.01])
    found = rank(logs, 100)
    assert found.order == (1, 2, 0) and found.confidence == 1
    assert found.probabilities.tolist() == [[0.5, 0, 0], [1, 0.5, 1], [1, 0, 0.5]]
    assert rank(logs, 100, order=(0, 1, 2)).confidence == 0


def test_confidence_of_a_ranking_is_at_most_that_of_its_pairs() -> None:
    logs = np.random.default_rng(6).normal(0, 0.05, (4, 60)) + 0.01 * np.arange(4)[:, None]
    found = rank(logs, 20)
    pairs = [found.probabilities[a, b] for a, b in zip(found.order, found.order[1:], strict=False)]
    assert 0 < found.confidence <= min(pairs) and found.confidence >= 1 - sum(1 - p for p in pairs)
    assert np.allclose(found.probabilities + found.probabilities.T, 1)


def test_arguments_that_cannot_be_compared() -> None:
    logs = np.zeros((2, 10))
    for wrong in (np.zeros(10), np.zeros((2, 1)), np.full((2, 10), -np.inf)):
        with pytest.raises(UserError, match="finite log radii"):
            bootstrap_estimates(wrong, 5)
    with pytest.raises(UserError, match="width"):
        compare(logs, 5, statistic="gamma")
    with pytest.raises(UserError, match="order of the minima"):
        rank(logs, 5, order=(0, 0))
