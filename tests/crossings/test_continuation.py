"""Crossings continued from a coarse landscape against Brent's method on the landscape itself, and against plain float64."""

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from torch import Tensor

from minima_volume.crossings.continuation import solve_block
from minima_volume.crossings.landscapes import LandscapeSchedule
from minima_volume.crossings.scan import Target, Targets
from minima_volume.crossings.table import CrossingTable
from minima_volume.networks.directions import draw_directions
from minima_volume.networks.losses import cross_entropy
from minima_volume.rays.base import Rays
from tests import reference
from tests.ray_problems import plain_step, swept, trained

SMALL, LARGE = 800, 6400
N_PARAMS = 1000


class Landscapes:
    """Sharp rays whose heights are a function of c for each landscape, and that count where they were asked."""

    float64_logits = True
    samples = SimpleNamespace(criterion=cross_entropy)

    def __init__(self, heights: dict[int, Callable[[float], float]], n_rays: int = 1) -> None:
        self.heights, self.n_rays = heights, n_rays
        self.asked = dict.fromkeys(heights, 0)

    def means(self, rays: Tensor, coefficients: Tensor, sizes: Sequence[int], kind: str = "loss") -> Tensor:
        self.asked[sizes[-1]] += len(rays)
        return torch.tensor([[self.heights[size](float(c)) for size in sizes] for c in coefficients]).double()

    def losses(self, rays: Tensor, coefficients: Tensor, size: int, start: int = 0) -> Tensor:
        below = [start * self.heights[start](float(c)) if start else 0.0 for c in coefficients]
        rest = size * self.means(rays, coefficients, [size]) - torch.tensor(below).double().unsqueeze(1)
        found = (rest / (size - start - 1)).repeat(1, size - start)
        found[:, 0] = 1e-30  # one sample that the network is sure of, so that float32 is expected to round
        return found


def schedule_of(wanted: list[Target], *, float32_resolves: bool = True) -> LandscapeSchedule:
    return LandscapeSchedule.of(Targets.of(wanted), N_PARAMS, float32_resolves=float32_resolves)


def found_on(rays: Landscapes, wanted: list[Target], missed: float = 0.0) -> CrossingTable:
    """The table of a block whose float32 sums are short by a share `missed`."""

    def correction(ray: int, c: float, losses: Tensor, tolerance: float) -> float:
        return missed * float(losses.sum())

    return solve_block(cast("Rays", rays), schedule_of(wanted), None, 1e-9, correction)


def smooth(factor: float, exponent: float) -> Callable[[float], float]:
    return lambda c: 1e-4 + factor * c**exponent


def test_a_coarse_landscape_an_eighth_as_large_is_added() -> None:
    schedule = schedule_of([Target(LARGE, 0.1), Target(LARGE, 0.02)])
    added = schedule.targets.select(np.arange(2, 4))
    assert (
        added.sizes.tolist() == [SMALL, SMALL] and added.thresholds.tolist() == [0.02, 0.1] and schedule.n_wanted == 2
    )
    assert schedule.starts(np.array([0, 1])).tolist() == [3, 2] and schedule.scanned.tolist() == [2, 3]
    nested = schedule_of([Target(size, 0.1) for size in (60, 600, 2000, 6000, 20_000, 60_000)])
    assert (
        nested.coarse == 600
        and len(nested.targets) == 6
        and nested.float32_sizes == [60, 600, 2000, 6000, 20_000, 60_000]
    )
    assert nested.starts(np.array([3, 5])).tolist() == [2, 4] and nested.starts(
        np.array([5]), coarse=True
    ).tolist() == [1]


@pytest.mark.parametrize("wanted", [[Target(4000, 0.1)], [Target(LARGE, 0.1), Target(LARGE, 0.05, "accuracy")]])
def test_no_coarse_landscape_where_it_saves_nothing(wanted: list[Target]) -> None:
    assert schedule_of(wanted).coarse == max(target.size for target in wanted)
    rough = schedule_of([Target(LARGE, 0.1)], float32_resolves=False)
    assert rough.coarse == LARGE and rough.in_float64.all()


@pytest.mark.parametrize("shift", [0.5, 0.9, 1.0, 1.3, 3.0])
def test_a_crossing_is_continued_to_a_curve_close_by(shift: float) -> None:
    rays = Landscapes({SMALL: smooth(40, 4.5), LARGE: smooth(40 * shift, 4.3)})
    found = found_on(rays, [Target(LARGE, 0.1), Target(LARGE, 0.02)])
    expected = [brentq(lambda c, t=t: rays.heights[LARGE](c) - t, 0.01, 1, rtol=1e-14) for t in (0.1, 0.02)]
    # A last step of SHORTEST along a slope that is a few percent off; heights are exact here.
    np.testing.assert_allclose(found.coefficients[0, :2], expected, rtol=2e-8)
    assert rays.asked[LARGE] <= 14  # the minimum itself, and at most six heights per crossing: no scan


def test_a_correction_moves_the_crossing() -> None:
    rays, missed = Landscapes({SMALL: smooth(40, 4.5), LARGE: smooth(44, 4.3)}), 1e-6
    plain = found_on(rays, [Target(LARGE, 0.1)])
    corrected = found_on(rays, [Target(LARGE, 0.1)], missed)
    slope = 4.3 * (1 - 1e-4 / 0.1)
    moved = float(np.log(corrected.coefficients[0, 0] / plain.coefficients[0, 0]))
    assert moved == pytest.approx(-missed / slope, rel=1e-3)


def test_a_crossing_that_does_not_settle_is_left_to_float64() -> None:
    generator = np.random.default_rng(0)
    noisy = Landscapes(
        {LARGE: lambda c: 40 * c**4.3 * (1 + 1e-3 * generator.standard_normal()), SMALL: smooth(40, 4.3)}
    )
    found = found_on(noisy, [Target(LARGE, 0.1)])
    assert found.unsettled[0].tolist() == [True, False]
    quiet = found_on(Landscapes({SMALL: smooth(40, 4.5), LARGE: smooth(44, 4.3)}), [Target(LARGE, 0.1)])
    assert not quiet.unsettled.any()


def test_an_earlier_crossing_that_the_coarse_landscape_nearly_shows_is_found() -> None:
    def bump(height: float) -> Callable[[float], float]:
        return lambda c: 1e-4 + height * math.exp(-(((c - 0.08) / 0.02) ** 2)) + 2 * c**4

    rays = Landscapes({SMALL: bump(0.07), LARGE: bump(0.13)})
    found = found_on(rays, [Target(LARGE, 0.1)])
    assert found.coefficients[0, 0] == pytest.approx(brentq(lambda c: bump(0.13)(c) - 0.1, 0.01, 0.08), rel=1e-8)


def test_a_coarse_landscape_without_a_crossing_decides_nothing() -> None:
    censored = Landscapes({SMALL: lambda c: 1e-3, LARGE: smooth(40, 4)})
    above = Landscapes({SMALL: lambda c: 0.2, LARGE: smooth(40, 4)})
    for rays in (censored, above):
        found = found_on(rays, [Target(LARGE, 0.1)])
        assert found.coefficients[0, 0] == pytest.approx(brentq(lambda c: smooth(40, 4)(c) - 0.1, 0.01, 1), rel=1e-8)


def test_a_landscape_without_a_crossing_or_above_the_threshold() -> None:
    flat = Landscapes({SMALL: smooth(40, 4), LARGE: lambda c: 1e-3})
    assert math.isnan(found_on(flat, [Target(LARGE, 0.1)]).coefficients[0, 0])
    high = Landscapes({SMALL: smooth(40, 4), LARGE: lambda c: 0.2})
    assert found_on(high, [Target(LARGE, 0.1)]).coefficients[0, 0] == 0


def test_a_jump_stays_where_the_scan_found_it() -> None:
    rays = Landscapes({SMALL: lambda c: 1e-3 + (c > 0.3), LARGE: lambda c: 1e-3 + (c > 0.31)})
    found = found_on(rays, [Target(LARGE, 0.1)])
    assert found.coefficients[0, 0] == pytest.approx(0.31, rel=2e-3)  # float32 solves a jump to 10⁻³


@pytest.mark.parametrize("sizes", [[6000], [60, 700, 2000, 6000]])
def test_large_landscapes_against_plain_float64(sizes: list[int]) -> None:
    model, samples = trained((64, 64, 32, 10), 6000, 60)
    targets = [Target(size, threshold) for size in sizes for threshold in (0.3, 0.1)]
    found = swept(model, samples, targets, list(range(3)))
    n_params = sum(p.numel() for p in model.parameters())
    assert (found.coefficients > 0).all()
    for i in range(3):
        steps = plain_step(model, draw_directions(0, [i], n_params)[0])
        for j, target in enumerate(targets):
            height = reference.along(model, steps, samples.inputs[: target.size], samples.targets[: target.size])
            expected, _ = reference.crossing(height, target.threshold)
            # 0.01 nats of n·ln r are promised.
            assert n_params * math.log(found.coefficients[i, j] / expected) == pytest.approx(0, abs=0.01)
