"""Crossings of curves and of networks against Brent's method and closed forms."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from torch import Tensor, nn

from minima_volume.crossings.bracket import enclose, first_brackets, solve_brackets
from minima_volume.crossings.continuation import heights_on, means_along, means_at
from minima_volume.crossings.scan import SCAN_NODES, Target, Targets, scan
from minima_volume.networks.directions import draw_directions
from minima_volume.networks.losses import CRITERIA
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import layout_of, parameters_of
from minima_volume.rays.bundle import RayBundle
from minima_volume.training.models import mlp
from tests import reference
from tests.ray_problems import plain_step

Heights = list[Callable[[float], float]]


class Curves:
    """Rays whose heights are given functions of c: what the scan and the solver ask of rays, without a network."""

    def __init__(self, heights: Heights) -> None:
        self.heights, self.n_rays = heights, len(heights)

    def means(self, rays: Tensor, coefficients: Tensor, sizes: Sequence[int], kind: str = "loss") -> Tensor:
        values = [[self.heights[int(i)](float(c))] * len(sizes) for i, c in zip(rays, coefficients, strict=True)]
        return torch.tensor(values, dtype=torch.float64)


def crossings(rays: Any, wanted: list[Target], tolerance: float = 1e-12) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (rays, targets), NaN where none, and recrossed, by scan, brackets and one solve in float64."""
    targets = Targets.of(wanted)
    at_zero = means_at(rays, np.zeros(1, dtype=np.int64), np.zeros(1), targets)[0]
    table, _ = scan(means_along(rays, targets), at_zero, targets.thresholds, rays.n_rays)
    ray, column, brackets, recrossed = first_brackets(table, targets.thresholds)
    roots = solve_brackets(heights_on(rays, targets, ray, column), brackets, tolerance)
    found = np.full((rays.n_rays, len(targets)), np.nan)
    found[ray, column] = np.exp(roots.x)
    return found, recrossed


def first_by_brent(height: Callable[[float], float], threshold: float) -> float:
    """The first crossing that the scan can see, solved by Brent's method."""
    for a, b in pairwise([0.0, *SCAN_NODES]):
        if not height(b) <= threshold:
            return float(brentq(lambda c: height(c) - threshold, a, b, xtol=1e-300, rtol=1e-14))
    return math.nan


def power(start: float, factor: float, exponent: float) -> Callable[[float], float]:
    return lambda c: start + factor * c**exponent


def wavy(start: float, factor: float, waves: float) -> Callable[[float], float]:
    return lambda c: start * (1 + 0.5 * math.sin(waves * c)) + factor * c * c


def steep(start: float, rate: float) -> Callable[[float], float]:
    return lambda c: start * math.exp(min(rate * c, 700))


def random_curves() -> Heights:
    rng = np.random.default_rng(0)
    found: Heights = []
    for _ in range(60):
        start = 10 ** rng.uniform(-9, -2.5)
        found.append(power(start, 10 ** rng.uniform(-1, 8), rng.uniform(0.5, 6)))
        found.append(wavy(start, 10 ** rng.uniform(0, 5), rng.uniform(0, 30)))
        found.append(steep(start, 10 ** rng.uniform(1, 4)))
    return found


def test_random_curves_against_brent() -> None:
    heights, targets = random_curves(), [Target(1, 0.1), Target(1, 0.013), Target(1, 0.004)]
    found, _ = crossings(Curves(heights), targets)
    wanted = [[first_by_brent(height, target.threshold) for target in targets] for height in heights]
    assert np.isfinite(wanted).sum() > 400
    # Both solvers stop at the last few digits of c; a curve of slope d ln L/d ln c ≥ 0.1 near the threshold loses one
    # more digit to the rounding of its height.
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_random_networks_against_brent(seeded: Callable[..., nn.Module]) -> None:
    model = seeded(lambda: mlp(6, 12, 9, 4))
    rng = torch.Generator().manual_seed(0)
    inputs = torch.randn(17, 6, generator=rng, dtype=torch.float64)
    with torch.no_grad():
        targets = model(inputs).argmax(dim=1)  # so that the height rises from the start on most rays
        model[-1].weight *= 40
        model[-1].bias *= 40
    parameters = parameters_of(model)
    layout = layout_of(parameters)
    samples = Samples(inputs, targets, CRITERIA["cross_entropy"])
    block = draw_directions(0, range(20), layout.n_params).double()
    rays = RayBundle(model, layout, samples, block, torch.float64).rays(Minimum.of(parameters, layout))
    heights = [reference.along(model, plain_step(model, g), inputs, targets) for g in block]
    bounds = [Target(17, heights[0](0.0) * factor) for factor in (1.5, 3, 10)]
    found, _ = crossings(rays, bounds)
    wanted = [[first_by_brent(height, bound.threshold) for bound in bounds] for height in heights]
    assert np.isfinite(wanted).mean() > 0.9
    # The heights of both sides agree to 10⁻¹⁵ (test_landscape), and their slopes are of order one.
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_first_of_two_crossings() -> None:
    def bump(c: float) -> float:
        return 0.01 + 0.5 * math.exp(-(((c - 0.12) / 0.03) ** 2)) + 2 * c**4

    rays = Curves([bump])
    single, _ = crossings(rays, [Target(1, 0.1)])
    both, recrossed = crossings(rays, [Target(1, 0.1), Target(1, 1.0)])
    first = brentq(lambda c: bump(c) - 0.1, 0.05, 0.12, rtol=1e-14)
    # Smooth and of slope one: both solvers reach the last digits.
    np.testing.assert_allclose([single[0, 0], both[0, 0]], first, rtol=1e-12)
    # The scan continues to the second threshold and sees the ray below the first one again.
    assert recrossed.tolist() == [[True, False]]
    assert both[0, 1] == pytest.approx(brentq(lambda c: bump(c) - 1.0, 0.5, 1, rtol=1e-14), rel=1e-12)


def test_a_bump_between_two_nodes_is_not_seen() -> None:
    middle = 0.5 * (SCAN_NODES[6] + SCAN_NODES[7])
    found, recrossed = crossings(Curves([lambda c: 5.0 * (abs(c - middle) < 1e-4) + 0.01]), [Target(1, 0.1)])
    assert np.isnan(found).all() and not recrossed.any()  # the stated limit of the scan, and nothing worse


@pytest.mark.parametrize("outside", [math.nan, math.inf, 1e300])
@pytest.mark.parametrize("edge", [0.0123, 0.5, 0.9])
def test_losses_that_are_no_numbers_lie_outside(outside: float, edge: float) -> None:
    found, _ = crossings(Curves([lambda c: 0.05 if c < edge else outside]), [Target(1, 0.1)])
    # A jump is found by bisection alone, down to the tolerance of 10⁻¹² asked for and the rounding of ln c.
    assert found[0, 0] == pytest.approx(edge, rel=3e-12)


@pytest.mark.parametrize("inside", [0.0, 1e-300])
def test_flat_floor_then_a_wall(inside: float) -> None:
    found, _ = crossings(Curves([lambda c: inside + max(0.0, c - 0.3) * 10]), [Target(1, 0.1)])
    # ln L falls to its floor of −700 just left of the root; the solver must not take small steps for convergence.
    assert found[0, 0] == pytest.approx(0.31, rel=1e-12)


def test_crossings_very_close_to_the_minimum() -> None:
    factors = [1e3, 1e9, 1e30]
    found, _ = crossings(Curves([power(0.05, 0.05 * factor, 1) for factor in factors]), [Target(1, 0.1)])
    # L = τ/2 + c·k·τ/2 crosses at 1/k; heights near τ round to 10⁻¹⁶ relative.
    np.testing.assert_allclose(found[:, 0], 1 / np.array(factors), rtol=1e-12)
    nearer, _ = crossings(Curves([power(0.05, 1e60, 1)]), [Target(1, 0.1)])
    assert 0 < nearer[0, 0] < 1e-30  # positive, so that it is not taken for an unconverged minimum


def test_minimum_on_the_threshold_is_inside() -> None:
    found, _ = crossings(Curves([power(0.1, 1.0, 2)]), [Target(1, 0.1)])
    assert 0 < found[0, 0] < 1e-7  # heights resolve c² only down to 10⁻¹⁷


def test_the_solver_knows_no_network() -> None:
    """Scan, brackets and solver on plain functions of x = ln c, with thresholds of their own."""
    exponents, thresholds = np.array([1.0, 2.0, 4.5]), np.array([0.5, 0.1])

    def means(ray: np.ndarray, c: float) -> np.ndarray:
        return np.repeat(c ** exponents[ray][:, None], 2, axis=1)

    table, points = scan(means, np.zeros(2), thresholds, 3)
    ray, column, brackets, recrossed = first_brackets(table, thresholds)
    assert ray.tolist() == [0, 0, 1, 1, 2, 2] and column.tolist() == [0, 1] * 3 and not recrossed.any()

    def heights(rows: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.exp(exponents[ray[rows]] * x) / thresholds[column[rows]]

    roots = solve_brackets(heights, brackets, 1e-13)
    np.testing.assert_allclose(roots.x, np.log(thresholds[column]) / exponents[ray], rtol=1e-12)
    np.testing.assert_allclose(
        roots.slope, exponents[ray], rtol=1e-3
    )  # straight in ln c, up to the rounding of heights
    assert (points >= 1).all() and roots.steps.max() < 12
    near = enclose(heights, roots.x + 0.05, roots.slope, 1e-13)
    np.testing.assert_allclose(near.x, roots.x, rtol=1e-12)
    # Nothing to enclose within a factor e of the point: it stays.
    np.testing.assert_array_equal(enclose(heights, roots.x - 3.0, roots.slope, 1e-13).x, roots.x - 3.0)
