"""Tethered Hamiltonian Monte Carlo against bodies of known Gaussian mass."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from minima_volume.errors import NumericsError
from minima_volume.sampling.potential import NetworkPotential
from minima_volume.sampling.tethered import TetheredSettings, TetheredVolume, tethered_hmc
from minima_volume.testing.ellipsoid import Ellipsoid
from tests.sampling.problems import TAU, small_network, spread_ellipsoid, unit

# Few moves of many chains: at these sizes a call costs more than its points.
QUICK = TetheredSettings(replicas=8, chains=4, burn=12, keep=24)
# Many rungs, so few draws on each.
SHORT = TetheredSettings(replicas=8, chains=2, burn=10, keep=24, stride=1.5, finish=16)


def naive(body: Ellipsoid, sigma: float, n_rays: int = 500) -> float:
    """Return an upper bound on the mass estimated from radii along Gaussian directions, ln of the mean of P(σ·χ_n ≤ r).

    A mean is at most its largest term, which belongs to the longest ray.
    """
    rays = np.random.default_rng(0).standard_normal((n_rays, body.n_params))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    longest = 1 / (rays**2 @ body.curvatures).min()
    return Ellipsoid(np.ones(body.n_params)).log_mass(sigma, TAU * longest)


def check(body: Ellipsoid, found: TetheredVolume, sigmas: list[float], *, fails: float) -> None:
    """Assert that errors are within three standard errors and 1 % or 3 nats, and that rays fail by `fails` nats."""
    for sigma in sigmas:
        i, exact = found.at(sigma), body.log_mass(sigma, TAU)
        off = abs(found.log_gamma[i] - exact)
        assert found.sigmas[i] == sigma and found.status[i] == "ok"
        assert off <= 3 * found.error()[i] and off <= max(3.0, 0.01 * abs(exact))
    assert naive(body, sigmas[-1]) < body.log_mass(sigmas[-1], TAU) - fails


def test_ellipsoid_profile_where_rays_fail() -> None:
    body = spread_ellipsoid(200)
    sigmas = [factor * unit(body) for factor in (1, 2, 5)]
    check(body, tethered_hmc(body, TAU, sigmas, seed=0, settings=QUICK), sigmas, fails=20)


def test_standard_errors_over_seeds() -> None:
    body = spread_ellipsoid(20)
    sigmas = [unit(body), 2 * unit(body)]
    scores = []
    for seed in range(6):
        found = tethered_hmc(body, TAU, sigmas, seed=seed, settings=QUICK)
        for sigma in sigmas:
            i = found.at(sigma)
            scores.append((found.log_gamma[i] - body.log_mass(sigma, TAU)) / found.error()[i])
    # Twelve scores with standard deviation 1 have a root mean square above 1.8 or below 0.3 with probability 10⁻⁴.
    assert 0.3 < math.sqrt(np.mean(np.square(scores))) < 1.8


def test_equal_seeds_give_equal_numbers() -> None:
    body = spread_ellipsoid(20)
    short = TetheredSettings(replicas=2, chains=2, burn=6, keep=8)
    first, again, other = (tethered_hmc(body, TAU, [0.2], seed=seed, settings=short) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.replica_log_gamma, again.replica_log_gamma)
    assert first.log_gamma[-1] != other.log_gamma[-1]


class TwoSlabs:
    """L = ½ min(u₁², (u₁ − 1.2)²): two slabs with a hill of 1.8 τ in between, flat in all other directions."""

    n_params = 40

    def values(self, points: Tensor, ceiling: float = math.inf) -> Tensor:
        return self.values_and_gradients(points)[0]

    def values_and_gradients(self, points: Tensor) -> tuple[Tensor, Tensor]:
        first = points[:, 0]
        near = torch.where(first < 0.6, first, first - 1.2)
        gradients = torch.zeros_like(points)
        gradients[:, 0] = near
        return 0.5 * near.double().square(), gradients


def test_mass_beyond_a_hill_is_counted() -> None:
    sigma, half = 1.0, math.sqrt(2 * TAU)
    found = tethered_hmc(
        TwoSlabs(), TAU, [sigma], seed=0, settings=TetheredSettings(replicas=8, chains=32, burn=20, keep=30)
    )
    edges = [norm.cdf(edge / sigma) for edge in (-half, half, 1.2 - half, 1.2 + half)]
    exact = math.log(edges[1] - edges[0] + edges[3] - edges[2])
    seen_by_rays = math.log(edges[1] - edges[0])
    assert abs(found.log_gamma[-1] - exact) <= 3 * found.error()[-1]
    assert found.log_gamma[-1] - seen_by_rays > 3 * found.error()[-1]


def test_a_minimum_above_the_threshold_is_refused() -> None:
    model, minimum, samples = small_network()
    with pytest.raises(NumericsError, match="below the threshold"):
        tethered_hmc(NetworkPotential(model, minimum, samples), 1e-3, [0.1], seed=0)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "factor", "fails"), [(200, 10, 50), (1000, 10, 300), (5000, 2, 100)])
def test_ellipsoids_of_the_size_of_networks(n: int, factor: float, fails: float) -> None:
    body = spread_ellipsoid(n)
    sigmas = [unit(body), 1.5 * unit(body), factor * unit(body)]
    check(body, tethered_hmc(body, TAU, sigmas, seed=0, settings=SHORT), sigmas, fails=fails)


@pytest.mark.slow
def test_rotated_ellipsoid_with_leading_directions_only() -> None:
    body, turn = spread_ellipsoid(200), np.linalg.qr(np.random.default_rng(0).standard_normal((200, 200)))[0]
    rotation = torch.as_tensor(turn, dtype=torch.float32)

    class Turned(Ellipsoid):
        def values_and_gradients(self, points: Tensor) -> tuple[Tensor, Tensor]:
            values, gradients = super().values_and_gradients(points @ rotation)
            return values, gradients @ rotation.T

        def values(self, points: Tensor, ceiling: float = math.inf) -> Tensor:
            return super().values(points @ rotation)

    sigmas = [unit(body), 2 * unit(body), 5 * unit(body)]
    settings = TetheredSettings(rank=32, keep=120)
    check(body, tethered_hmc(Turned(body.curvatures), TAU, sigmas, seed=0, settings=settings), sigmas, fails=20)
