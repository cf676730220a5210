"""Volumes of one minimum from crossings against plain loops: the published grid, censoring, unconverged minima, cutoffs."""

import math

import numpy as np
import pytest

from minima_volume.estimators.cutoff import cumulative_means, cutoff
from minima_volume.estimators.published import PAPER_GRID
from minima_volume.estimators.radial import log_mean_power
from minima_volume.estimators.volume import estimate_volume, log_radii
from tests import reference

N = 40
RNG = np.random.default_rng(0)
NORMS = RNG.uniform(9, 11, N)
NOWHERE = np.zeros(N, dtype=bool)


def published(heights: list[list[float]], norms: list[float], threshold: float, n_params: int) -> float:
    """The published rule on losses: first grid point above the threshold, rays without one are dropped."""
    powers = []
    for losses, norm in zip(heights, norms, strict=True):
        for c, loss in zip(reference.GRID, losses, strict=True):
            if loss > threshold:
                powers.append(n_params * math.log(c * norm) if c > 0 else -math.inf)
                break
    if not powers or max(powers) == -math.inf:
        return -math.inf
    return reference.log_mean_exp(powers)


def test_grid_of_the_paper() -> None:
    # Rounding of a square.
    np.testing.assert_allclose(PAPER_GRID, reference.GRID, rtol=1e-15)


@pytest.mark.parametrize("n_params", [3, 5000])
@pytest.mark.parametrize("grid_directions", [None, 17])
def test_grid_rule_against_a_loop(n_params: int, grid_directions: int | None) -> None:
    slopes = np.random.default_rng(1).uniform(0.02, 0.8, N)  # L = 0.01 + slope·c; some rays never reach 0.1
    heights = [[0.01 + slope * c for c in reference.GRID] for slope in slopes]
    crossings = np.where(0.09 / slopes <= 1, 0.09 / slopes, np.nan)
    found = estimate_volume(crossings, NORMS, n_params, recrossed=NOWHERE, grid_directions=grid_directions)
    count = grid_directions or N
    assert found.grid_directions == count and 0 < np.isnan(crossings[:count]).sum() < count
    # Rounding of numbers near n·ln r ~ 10⁴.
    expected = published(heights[:count], list(NORMS[:count]), 0.1, n_params)
    assert found.log_volume_grid == pytest.approx(expected, abs=1e-9)


def test_crossing_on_a_grid_point_counts_with_the_next_one() -> None:
    # A loss equal to the threshold is not above it, so the next point is the first one outside.
    found = estimate_volume(np.array([PAPER_GRID[10]]), np.ones(1), 1, recrossed=np.zeros(1, dtype=bool))
    assert found.log_volume_grid == pytest.approx(math.log(reference.GRID[11]), abs=1e-14)


def test_crossing_on_the_last_grid_point_is_dropped() -> None:
    found = estimate_volume(np.array([1.0, 0.25]), np.ones(2), 2, recrossed=np.zeros(2, dtype=bool))
    k = next(c for c in reference.GRID if c > 0.25)
    assert found.log_volume_grid == pytest.approx(2 * math.log(k), abs=1e-14)  # one ray is left


def test_all_rays_censored() -> None:
    found = estimate_volume(np.full(N, np.nan), NORMS, 7, recrossed=NOWHERE)
    assert (found.status, found.n_crossed, found.n_directions) == ("censored", 0, N)
    assert math.isnan(found.log_volume_grid)
    assert found.log_volume == pytest.approx(reference.log_mean_exp([7 * math.log(x) for x in NORMS]), abs=1e-12)


def test_censored_rays_count_at_the_cap() -> None:
    c = np.array([0.5, np.nan, 0.25, np.nan])
    norms = np.array([2.0, 3.0, 4.0, 1.0])
    found = estimate_volume(c, norms, 6, recrossed=np.array([True, False, False, False]))
    radii = [1.0, 3.0, 1.0, 1.0]  # the second and the fourth ray end at c = 1
    assert (found.status, found.n_directions, found.n_crossed, found.n_recrossed) == ("censored", 4, 2, 1)
    # Rounding of four powers.
    assert found.log_volume == pytest.approx(math.log(sum(r**6 for r in radii) / 4), abs=1e-13)
    assert found.typical_log_volume == pytest.approx(6 * sum(map(math.log, radii)) / 4, abs=1e-13)
    np.testing.assert_allclose(np.exp(log_radii(c, norms)), radii, rtol=1e-15)


def test_all_rays_cross() -> None:
    c = np.random.default_rng(2).uniform(0.1, 0.2, N)
    found = estimate_volume(c, NORMS, 300, recrossed=NOWHERE)
    assert (found.status, found.n_crossed, found.n_recrossed) == ("ok", N, 0)
    powers = [300 * math.log(x * y) for x, y in zip(c, NORMS, strict=True)]
    # Rounding of numbers near 300·ln 1.5 ~ 10².
    assert found.log_volume == pytest.approx(reference.log_mean_exp(powers), abs=1e-10)
    assert found.typical_log_volume == pytest.approx(sum(powers) / N, abs=1e-10)
    assert found.typical_log_volume <= found.log_volume
    spread = np.std(powers, ddof=1) / math.sqrt(N)
    assert found.typical_log_volume_se == pytest.approx(spread, rel=1e-9)


def test_minimum_above_the_threshold_has_no_volume() -> None:
    found = estimate_volume(np.zeros(N), NORMS, 300, recrossed=NOWHERE)
    assert (found.status, found.n_directions, found.n_crossed) == ("unconverged", N, 0)
    for name in ("log_volume", "log_volume_se", "typical_log_volume", "typical_log_volume_se", "log_volume_grid"):
        assert math.isnan(getattr(found, name))  # not −∞ as by the published rule
    heights = [[0.2 + c for c in reference.GRID]] * N
    assert published(heights, list(NORMS), 0.1, 300) == -math.inf


def test_one_direction_has_no_error() -> None:
    found = estimate_volume(np.array([0.5]), np.array([2.0]), 10, recrossed=np.zeros(1, dtype=bool))
    assert found.status == "ok" and found.log_volume == pytest.approx(0, abs=1e-14)
    assert math.isnan(found.log_volume_se) and math.isnan(found.typical_log_volume_se)


def test_grid_rounds_up_by_at_most_one_step() -> None:
    c = np.random.default_rng(3).uniform(0.05, 0.5, N)
    found = estimate_volume(c, NORMS, 1000, recrossed=NOWHERE)
    assert found.log_volume_grid > found.log_volume
    # One step of the grid is 2n/k nats; at the smallest k that occurs, and doubled for its curvature.
    assert found.log_volume_grid - found.log_volume < 2 * 2 * 1000 / (99 * math.sqrt(c.min()))


def test_cutoff_of_a_step() -> None:
    # After 100 losses of 0 and then losses of 1 the mean of k samples is 1 − 100/k, above 0.1 from k = 112 on.
    losses = np.repeat([0.0, 1.0], [100, 100])
    assert cutoff(losses, 0.1) == 112
    # At k = 125 it is 0.2, which is not above 0.2.
    assert cutoff(losses, 0.2) == 126
    assert cutoff(losses, 0.5) is None  # reached at the end, but not exceeded
    assert cutoff(losses, 2.0) is None


def test_cutoff_against_a_loop() -> None:
    losses = np.random.default_rng(4).exponential(0.1, 300) + np.linspace(0, 0.1, 300)
    for start in (1, 60, 299):
        for threshold in (0.05, 0.1, 0.12, 0.2):
            expected = None
            for k in range(start, 301):
                if math.fsum(losses[:k]) / k > threshold:
                    expected = k
                    break
            assert cutoff(losses, threshold, start=start) == expected


def test_cutoff_starts_at_the_base() -> None:
    losses = np.array([1.0, 0.0, 0.0, 0.0, 0.9])
    assert cutoff(losses, 0.3) == 1
    assert cutoff(losses, 0.3, start=4) == 5  # a large first loss does not end a minimum trained on four samples
    assert cutoff(losses, 0.2, start=4) == 4


def test_cumulative_means_in_double_precision() -> None:
    losses = np.full(100_000, 0.1, dtype=np.float32)
    # Float32 sums would be off by 10⁻³; 10⁵ additions in float64 have an error of 10⁻¹¹.
    mean = cumulative_means(losses)[-1]
    assert mean == pytest.approx(float(np.float32(0.1)), rel=1e-11)


def test_ball_from_directions_of_any_length() -> None:
    # c = ρ/‖g‖ for a ball of radius ρ.
    found = estimate_volume(0.3 / NORMS, NORMS, 50, recrossed=NOWHERE)
    assert found.log_volume == pytest.approx(50 * math.log(0.3), abs=1e-10)
    assert found.log_volume == pytest.approx(log_mean_power(np.full(N, math.log(0.3)), 50), abs=1e-10)
