"""Subset simulation against known Gaussian masses, on bodies that fool it, and on networks with fewer coordinates."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import chi2, ks_2samp, norm
from torch import Tensor, nn

from minima_volume.networks.losses import Criterion, cross_entropy, zero_one_loss
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.reduction import reduce_first_layer
from minima_volume.sampling.potential import NetworkPotential
from minima_volume.sampling.subset import SubsetSettings, subset_simulation
from minima_volume.testing.ellipsoid import Ellipsoid
from tests.sampling.problems import TAU, own_predictions, spread_ellipsoid, unit


class Surface:
    """A loss surface from a function of points (k, n)."""

    def __init__(self, n_params: int, height: Callable[[Tensor], Tensor]) -> None:
        self.n_params, self.height = n_params, height

    def values(self, points: Tensor, ceiling: float = math.inf) -> Tensor:
        return self.height(points.double())

    def values_and_gradients(self, points: Tensor) -> tuple[Tensor, Tensor]:
        raise AssertionError("subset simulation needs no gradients")


def rotated(n: int) -> tuple[Surface, Ellipsoid]:
    """Return an ellipsoid with oblique axes, and the one with its curvatures."""
    body = spread_ellipsoid(n)
    turn = torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)).Q
    h = torch.from_numpy(body.curvatures)
    return Surface(n, lambda u: 0.5 * ((u @ turn).square() * h).sum(dim=1)), body


def cube(n: int, side: float) -> Surface:
    return Surface(n, lambda u: u.abs().amax(dim=1))


def log_erf(side: float, sigma: float, n: int) -> float:
    return n * math.log(math.erf(side / (sigma * math.sqrt(2))))


# Surface, threshold, σ and the exact ln γ.
BODIES: dict[str, Callable[[], tuple[Surface | Ellipsoid, float, float, float]]] = {
    "ellipsoid": lambda: (e := spread_ellipsoid(40), TAU, 2 * unit(e), e.log_mass(2 * unit(e), TAU)),
    "oblique ellipsoid": lambda: (
        (pair := rotated(30))[0], TAU, 2 * unit(pair[1]), pair[1].log_mass(2 * unit(pair[1]), TAU)
    ),
    "wide ellipsoid": lambda: (e := spread_ellipsoid(3000), TAU, 1.05 * unit(e), e.log_mass(1.05 * unit(e), TAU)),
    "cube": lambda: (cube(500, 0.3), 0.3, 0.13, log_erf(0.3, 0.13, 500)),
    "slab": lambda: (Surface(1000, lambda u: u[:, 0].abs()), 1e-3, 1.0, log_erf(1e-3, 1.0, 1)),
    "L-shape": lambda: (
        Surface(2, lambda u: torch.maximum(u.amax(dim=1), u.abs().amin(dim=1)).abs()), 0.01, 1.0,
        math.log(_l_shape(0.01)),
    ),
}  # fmt: skip
# One whose errors are up to 0.6 nats, and one that takes minutes.
MORE_BODIES: dict[str, Callable[[], tuple[Surface | Ellipsoid, float, float, float]]] = {
    "ball with a spike": lambda: (Surface(4, _spiked), 1.0, 1.0, math.log(_spiked_mass())),
    "ellipsoid of 100,000 axes": lambda: (
        e := spread_ellipsoid(100_000), TAU, 1.01 * unit(e), e.log_mass(1.01 * unit(e), TAU)
    ),
}  # fmt: skip
BALL, SPIKE, LENGTH = 0.1, 0.02, 3.0


def _spiked(u: Tensor) -> Tensor:
    """A ball of radius 0.1, and a spike of radius 0.02 through its centre: they hold masses of 3·10⁻⁶ and 2·10⁻⁶."""
    spike = torch.maximum(u[:, 0].abs() / LENGTH, u[:, 1:].norm(dim=1) / SPIKE)
    return torch.minimum(u.norm(dim=1) / BALL, spike)


def _spiked_mass() -> float:
    """Return the Gaussian mass of the union."""
    inside = quad(lambda x: norm.pdf(x) * chi2.cdf(min(SPIKE**2, BALL**2 - x**2), 3), -BALL, BALL, epsabs=0)[0]
    spike = (norm.cdf(LENGTH) - norm.cdf(-LENGTH)) * chi2.cdf(SPIKE**2, 3)
    return float(chi2.cdf(BALL**2, 4) + spike - inside)


def _l_shape(side: float) -> float:
    """Return the Gaussian mass of {max(max u, min |u|) within ±side}: two arms that share a corner."""
    draw = np.random.default_rng(0).normal(size=(4_000_000, 2))
    height = np.abs(np.maximum(draw.max(axis=1), np.abs(draw).min(axis=1)))
    return float((height <= side).mean())


@pytest.mark.parametrize("name", BODIES)
def test_bodies_of_known_mass(name: str) -> None:
    surface, threshold, sigma, exact = BODIES[name]()
    seeds = range(8)
    found = [subset_simulation(surface, threshold, [sigma], seed=seed) for seed in seeds]
    off = np.array([f.log_gamma[0] for f in found]) - exact
    errors = np.array([f.error()[0] for f in found])
    assert {f.status[0] for f in found} == {"ok"}
    assert (np.abs(off) < 2 * errors).mean() >= 6 / 8 and (np.abs(off) < 4 * errors).all()
    assert abs(off.mean()) < 3 * errors.mean() / math.sqrt(len(off))
    assert errors.max() < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", [*BODIES, *MORE_BODIES])
def test_two_errors_hold_the_truth(name: str) -> None:
    surface, threshold, sigma, exact = (BODIES | MORE_BODIES)[name]()
    settings = SubsetSettings(particles=64, moves=6) if "100,000" in name else None
    found = [subset_simulation(surface, threshold, [sigma], seed=100 + seed, settings=settings) for seed in range(60)]
    held = [abs(f.log_gamma[0] - exact) < 2 * f.error()[0] for f in found if f.status[0] == "ok"]
    assert len(held) >= 55 and np.mean(held) >= 0.93


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    body = spread_ellipsoid(10)
    one, again, other = (subset_simulation(body, TAU, [3 * unit(body)], seed=seed) for seed in (0, 0, 1))
    assert one.log_gamma[0] == again.log_gamma[0] != other.log_gamma[0]


def test_the_levels_give_the_whole_curve_over_thresholds() -> None:
    body, sigma = spread_ellipsoid(40), 2 * unit(spread_ellipsoid(40))
    found = subset_simulation(body, TAU, [sigma], seed=3)
    for curve in found.curves[0]:
        assert (np.diff(curve[0]) < 0).all() and curve[0, -1] == TAU
    level = found.curves[0][0][0, 1]
    values = [curve[1, 1] for curve in found.curves[0]]
    assert np.mean(values) == pytest.approx(body.log_mass(sigma, float(level)), abs=0.4)


def test_steps_of_one_sample() -> None:
    """An error rate has ties: the level is then the next lower value."""
    surface = Surface(8, lambda u: (u.abs() > 0.5).double().mean(dim=1))
    found = subset_simulation(surface, 0.05, [1.0], seed=0)
    assert found.status == ("ok",)
    assert found.log_gamma[0] == pytest.approx(log_erf(0.5, 1.0, 8), abs=4 * found.error()[0])


def test_a_pilot_run_that_gives_up_says_so_and_ends_there() -> None:
    body, settings = spread_ellipsoid(200), SubsetSettings(floor=-9.6, runs=2)
    found = subset_simulation(body, TAU, [4 * unit(body)], seed=5, settings=settings)
    assert found.status == ("below floor",)
    assert body.log_mass(4 * unit(body), TAU) < found.log_gamma[0] <= -9.6
    levels = found.curves[0][0].shape[1]
    assert found.n_values == settings.particles * (1 + settings.moves * (levels - 1))


def test_a_share_of_one_has_a_bound_and_no_error_of_zero() -> None:
    body = spread_ellipsoid(20)
    found = subset_simulation(body, TAU, [0.1 * unit(body)], seed=0)
    draws = SubsetSettings().runs * SubsetSettings().particles
    assert found.log_gamma[0] == 0
    assert 2 * found.error()[0] >= 3 / draws, "none of N lost: the share lost may be 3/N at 95 %"


# --- bodies that fool it ----------------------------------------------------------------------------------------------


def test_a_plateau_without_a_slope_says_so() -> None:
    surface = Surface(6, lambda u: (u.square().sum(dim=1) > 0.01).double())
    found = subset_simulation(surface, 0.5, [1.0], seed=0)
    assert found.status == ("below floor",) and found.log_gamma[0] == -math.inf


def test_a_basin_that_rises_from_a_plateau_is_invisible_beside_one_with_a_slope() -> None:
    """A ball around the minimum with ln γ = −12, and a slot of probability 10⁻⁴ with no slope towards it."""
    n, edge = 4, 3.719

    def height(u: Tensor) -> Tensor:
        ball = u.square().sum(dim=1)
        return torch.where(u[:, 0] > edge, torch.zeros_like(ball), ball)

    radius = float(chi2.ppf(math.exp(-12), n))
    found = subset_simulation(Surface(n, height), radius, [1.0], seed=0)
    assert found.status == ("ok",)
    assert found.log_gamma[0] == pytest.approx(-12, abs=4 * found.error()[0])
    assert math.log(1e-4) - 2 > -12, "the slot holds most of the mass, and no particle starts in it"


def test_runs_that_find_different_parts_disagree() -> None:
    """With a slot of probability 1/200, some runs start with a particle in it and others do not."""
    surface = Surface(4, lambda u: torch.where(u[:, 0] > 2.576, 0.0, u.square().sum(dim=1)))
    radius = float(chi2.ppf(math.exp(-12), 4))
    statuses = {subset_simulation(surface, radius, [1.0], seed=seed).status[0] for seed in range(6)}
    assert "disagree" in statuses


# --- networks ---------------------------------------------------------------------------------------------------------


def wide_network(criterion: Criterion) -> tuple[nn.Sequential, Minimum, Samples]:
    """Return a network with many more inputs than samples."""
    return own_predictions(200, 8, 10, gain=20, criterion=criterion)


@pytest.mark.parametrize("criterion", [cross_entropy, zero_one_loss])
def test_fewer_coordinates_have_the_same_losses_under_gaussian_steps(criterion: Criterion) -> None:
    network = wide_network(criterion)
    small = reduce_first_layer(*network)
    n, m = network[1].layout.n_params, small[1].layout.n_params
    assert m == n - 190 * 8
    draws = torch.Generator().manual_seed(1)
    whole = NetworkPotential(*network).values(0.3 * torch.randn(4000, n, generator=draws)).numpy()
    reduced = NetworkPotential(*small).values(0.3 * torch.randn(4000, m, generator=draws)).numpy()
    assert ks_2samp(whole, reduced).pvalue > 1e-3
    at_zero = [float(NetworkPotential(*part).values(torch.zeros(1, k))[0]) for part, k in ((network, n), (small, m))]
    assert at_zero[0] == pytest.approx(at_zero[1], rel=1e-4, abs=1e-7)


def test_subset_simulation_agrees_with_draws_on_a_network() -> None:
    potential = NetworkPotential(*reduce_first_layer(*wide_network(cross_entropy)))
    draws = 0.3 * torch.randn(40_000, potential.n_params, generator=torch.Generator().manual_seed(2))
    heights = potential.values(draws).numpy()
    threshold = float(np.quantile(heights, 0.005))
    found = subset_simulation(potential, threshold, [0.3], seed=0, settings=SubsetSettings(runs=6))
    assert found.status == ("ok",)
    assert found.log_gamma[0] == pytest.approx(math.log(0.005), abs=4 * math.hypot(found.error()[0], 0.07))
