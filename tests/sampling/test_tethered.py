"""The gold standard against bodies of known Gaussian mass, and the parts it is made of against closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import chi2, norm
from torch import Tensor, nn

from minima_volume.errors import NumericsError
from minima_volume.networks.directions import generator
from minima_volume.networks.losses import CRITERIA
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import layout_of, parameters_of
from minima_volume.sampling.bennett import (
    autocorrelation_time,
    bennett_ratio,
    chain_error,
    chain_status,
    join_ladder,
    log_mean_weight,
)
from minima_volume.sampling.hmc import Chains
from minima_volume.sampling.mass import MassMatrix
from minima_volume.sampling.potential import NetworkPotential
from minima_volume.sampling.tethered import TetheredSettings, TetheredVolume, tethered_hmc
from minima_volume.testing.ellipsoid import Ellipsoid
from minima_volume.training.models import mlp
from tests import reference

TAU = 0.1
# Few moves of many chains: at these sizes a call costs more than its points.
QUICK = TetheredSettings(replicas=8, chains=4, burn=12, keep=24)

SHORT = TetheredSettings(
    replicas=8, chains=2, burn=10, keep=24, stride=1.5, finish=16
)  # many rungs, so few draws on each


def spread_ellipsoid(n: int) -> Ellipsoid:
    """Curvatures whose logarithms have a standard deviation of 1.5."""
    return Ellipsoid(np.exp(1.5 * np.random.default_rng(n).standard_normal(n)))


def unit(body: Ellipsoid) -> float:
    """The σ at which the mean loss of a Gaussian draw is the threshold."""
    return math.sqrt(2 * TAU / body.curvatures.sum())


def naive(body: Ellipsoid, sigma: float, n_rays: int = 500) -> float:
    """At least ln of the mean over rays of P(σ·χ_n ≤ r), what radii along Gaussian directions make of the mass.

    No mean exceeds its largest term, the longest ray's.
    """
    rays = np.random.default_rng(0).standard_normal((n_rays, body.n_params))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    longest = 1 / (rays**2 @ body.curvatures).min()
    return Ellipsoid(np.ones(body.n_params)).log_mass(sigma, TAU * longest)


def check(body: Ellipsoid, found: TetheredVolume, sigmas: list[float], *, fails: float) -> None:
    """Within three of its own errors, within 1 % or 3 nats, and rays off by at least `fails` nats at the last σ."""
    for sigma in sigmas:
        i, exact = found.at(sigma), body.log_mass(sigma, TAU)
        off = abs(found.log_gamma[i] - exact)
        assert found.sigmas[i] == sigma and found.status[i] == "ok"
        assert off <= 3 * found.error()[i] and off <= max(3.0, 0.01 * abs(exact))
    assert naive(body, sigmas[-1]) < body.log_mass(sigmas[-1], TAU) - fails


# --- the oracle itself ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [4, 10, 100, 1000])
@pytest.mark.parametrize("reach", [0.1, 0.5, 1.0, 1.5])
def test_exact_mass_of_equal_axes_is_chi_squared(n: int, reach: float) -> None:
    # Rounding of sums over n terms; the tail's own digits are lost where ln P is −0.
    threshold = reach * n / 2
    exact = chi2.logcdf(2 * threshold, n)
    assert Ellipsoid(np.ones(n)).log_mass(1.0, threshold) == pytest.approx(exact, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("reach", [0.2, 1.0, 3.0])
def test_exact_mass_against_imhofs_integral(reach: float) -> None:
    h = np.exp(np.random.default_rng(0).standard_normal(12))
    threshold = reach * h.sum() / 2

    def integrand(s: float) -> float:
        phase = 0.5 * np.arctan(s * h).sum() - s * threshold
        return math.sin(phase) / (s * math.exp(0.25 * np.log1p((s * h) ** 2).sum()))

    mass = 0.5 - quad(integrand, 1e-12, np.inf, limit=500)[0] / math.pi
    assert Ellipsoid(h).log_mass(1.0, threshold) == pytest.approx(math.log(mass), abs=1e-6)  # quad's own error


def test_exact_mass_against_counting() -> None:
    body = spread_ellipsoid(30)
    z = np.random.default_rng(1).standard_normal((200_000, 30))
    threshold = 0.3 * body.curvatures.sum() / 2
    share = (0.5 * z**2 @ body.curvatures <= threshold).mean()
    error = math.sqrt((1 - share) / (share * len(z)))
    assert body.log_mass(1.0, threshold) == pytest.approx(math.log(share), abs=4 * error)


# --- the parts --------------------------------------------------------------------------------------------------------


def test_bridge_between_gaussians() -> None:
    # U = hz²/2 with h = 1 and 4: Z₁/Z₀ = 1/2.
    draws = np.random.default_rng(0).standard_normal((2, 50_000))
    joined = bennett_ratio(1.5 * draws[0] ** 2, 1.5 * (draws[1] / 2) ** 2)
    error = math.hypot(joined.forward.std(), joined.backward.std()) / math.sqrt(50_000)
    assert joined.log_ratio == pytest.approx(-math.log(2), abs=4 * error) and error < 0.01


def test_bridge_over_a_wall() -> None:
    # |z| ≤ 1 inside the whole line: draws outside have Δ = +∞.
    draws = np.random.default_rng(0).standard_normal(50_000)
    inside = draws[np.abs(draws) <= 1]
    joined = bennett_ratio(np.where(np.abs(draws) <= 1, 0.0, np.inf), np.zeros_like(inside))
    share = len(inside) / len(draws)
    assert joined.log_ratio == pytest.approx(math.log(share), abs=1e-6)  # the same draws counted, to the solver's end


def test_ladder_error_counts_a_rungs_draws_once() -> None:
    # Two steps whose influences on the middle rung cancel: the sum does not depend on its draws.
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, 3, 1))
    joined = join_ladder([0 * x[:, 0], -0.1 * x[:, 1]], [0.1 * x[:, 1], 0 * x[:, 2]])
    # What is left is of second order in the step of 0.1.
    assert joined.error(1) > 0.5 * chain_error(0.05 * x[:, 1])
    assert joined.error(2) < 0.1 * joined.error(1)


def test_correlation_time_of_an_autoregression() -> None:
    rng, rho = np.random.default_rng(0), 0.8
    noise = rng.standard_normal((4000, 16))
    series = np.zeros_like(noise)
    for t in range(1, len(noise)):
        series[t] = rho * series[t - 1] + noise[t]
    # (1 + ρ)/(1 − ρ) = 9; 64,000 draws of it leave a few per cent.
    assert autocorrelation_time(series) == pytest.approx(9, rel=0.1)
    assert log_mean_weight(np.zeros(3))[0] == -math.inf


def test_verdicts() -> None:
    fine = {"spread": 1.0, "within": 0.9, "drift": 1.0}
    assert chain_status(thin=False, **fine) == "ok"
    assert chain_status(thin=False, **{**fine, "spread": 3.0}) == "disagree"
    assert chain_status(thin=False, **{**fine, "drift": -6.0}) == "drift"
    assert chain_status(thin=True, **fine) == chain_status(thin=False, **{**fine, "spread": math.nan}) == "thin"


def test_metric_from_the_gradients_of_a_gaussian() -> None:
    # Under precision 1 + d the remaining gradient is d·z, and its draws tell d, along axes and along directions.
    draws = torch.randn(4000, 3, generator=generator("metric"))
    strengths = torch.tensor([0.0, 2.0, 30.0])
    gradients = strengths * draws / (1 + strengths).sqrt()
    found = MassMatrix.of_gradients(gradients, None).strengths
    torch.testing.assert_close(found, strengths, rtol=0.1, atol=0.01)  # 4000 squares leave 2 % in E[g²]
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator("turn")))[0]
    low = MassMatrix.of_gradients((gradients @ turn)[:400], 2)
    assert low.basis is not None
    exact = turn.T @ torch.diag(1 + strengths) @ turn
    torch.testing.assert_close(low.power(torch.eye(3), 1.0), exact, rtol=0.2, atol=0.5)
    torch.testing.assert_close(low.power(low.power(turn, -0.5), 0.5), turn, rtol=1e-4, atol=1e-4)


def test_trajectories_keep_the_density_whatever_the_mass() -> None:
    body = Ellipsoid(np.array([1.0, 100.0]))
    chains = Chains(body, torch.randn(512, 2, generator=generator("start")), generator("run"))
    chains.move_to(1.0, 3.0)
    chains.metric, chains.angle = MassMatrix(torch.tensor([30.0, 100.0])), 0.5
    squares = []
    for i in range(150):
        chains.trajectory()
        if i >= 30:
            squares.append(chains.points.double().square().numpy())
    series = np.stack(squares)
    for axis, h in enumerate(body.curvatures):
        got, error = series[:, :, axis].mean(), chain_error(series[:, :, axis])
        assert abs(got - 1 / (1 + 3 * h)) < 4 * error and error < 0.03 / (1 + 3 * h)


def small_network(seed: int = 0) -> tuple[nn.Sequential, Minimum, Samples]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = mlp(2, 5, 3)
        samples = Samples(torch.randn(7, 2), torch.randint(3, (7,)), CRITERIA["cross_entropy"])
    parameters = {name: tensor.double() for name, tensor in parameters_of(model).items()}
    return model, Minimum.of(parameters, layout_of(parameters)), samples


def test_network_heights_and_gradients_against_a_plain_loop() -> None:
    model, minimum, samples = small_network()
    potential = NetworkPotential(model, minimum, samples, dtype=torch.float64)
    points = 0.3 * torch.randn(5, potential.n_params, generator=generator("points"), dtype=torch.float64)
    potential.per_tile = 2  # tiles that do not divide the points
    values, gradients = potential.values_and_gradients(points)
    height = [
        reference.along(model, reference.step(model, point), samples.inputs, samples.targets)(1.0) for point in points
    ]
    np.testing.assert_allclose(values, height, rtol=1e-12)
    torch.testing.assert_close(potential.values(points), values, rtol=1e-14, atol=0)
    step = 1e-6 * torch.eye(potential.n_params, dtype=torch.float64)
    for point, gradient in zip(points, gradients, strict=True):
        slope = (potential.values(point + step) - potential.values(point - step)) / 2e-6
        torch.testing.assert_close(gradient, slope, rtol=1e-6, atol=1e-8)  # h² of the central difference


def test_network_curvature_is_gauss_newton() -> None:
    model, minimum, samples = small_network()
    potential = NetworkPotential(model, minimum, samples, dtype=torch.float64)
    origin = torch.zeros(1, potential.n_params, dtype=torch.float64)
    jacobian = torch.func.jacrev(lambda u: potential._outputs(u, potential.samples.inputs))(origin[0]).detach()
    p = potential._outputs(origin[0], potential.samples.inputs).softmax(-1).detach()
    exact = sum(j.T @ (torch.diag(q) - torch.outer(q, q)) @ j for j, q in zip(jacobian, p, strict=True)) / len(p)
    rank = potential.n_params
    draws = generator("pairs")
    several = [potential.mean_curvature(origin, rank=rank, draws=draws) for _ in range(8)]
    mean = sum(m.power(torch.eye(rank, dtype=torch.float64), 1.0) for m in several) / 8 - torch.eye(rank)
    # 8 × 1024 pairs: about 2 % of the largest entries.
    assert torch.linalg.matrix_norm(mean - exact) < 0.05 * torch.linalg.matrix_norm(exact)


# --- the whole --------------------------------------------------------------------------------------------------------


def test_ellipsoid_profile_where_rays_fail() -> None:
    body = spread_ellipsoid(200)
    sigmas = [factor * unit(body) for factor in (1, 2, 5)]
    check(body, tethered_hmc(body, TAU, sigmas, seed=0, settings=QUICK), sigmas, fails=20)


def test_errors_are_honest_over_seeds() -> None:
    body = spread_ellipsoid(20)
    sigmas = [unit(body), 2 * unit(body)]
    scores = []
    for seed in range(6):
        found = tethered_hmc(body, TAU, sigmas, seed=seed, settings=QUICK)
        for sigma in sigmas:
            i = found.at(sigma)
            scores.append((found.log_gamma[i] - body.log_mass(sigma, TAU)) / found.error()[i])
    # Twelve scores of standard deviation 1: a root mean square above 1.8 or below 0.3 has odds of about 1 : 10⁴.
    assert 0.3 < math.sqrt(np.mean(np.square(scores))) < 1.8


def test_same_seed_same_numbers() -> None:
    body = spread_ellipsoid(20)
    short = TetheredSettings(replicas=2, chains=2, burn=6, keep=8)
    first, again, other = (tethered_hmc(body, TAU, [0.2], seed=seed, settings=short) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.replica_log_gamma, again.replica_log_gamma)
    assert first.log_gamma[-1] != other.log_gamma[-1]


class TwoSlabs:
    """L = ½ min(u₁², (u₁ − 1.2)²): two slabs with a hill of 1.8 τ between them, free in all other directions."""

    n_params = 40

    def values(self, points: Tensor) -> Tensor:
        return self.values_and_gradients(points)[0]

    def values_and_gradients(self, points: Tensor) -> tuple[Tensor, Tensor]:
        first = points[:, 0]
        near = torch.where(first < 0.6, first, first - 1.2)
        gradients = torch.zeros_like(points)
        gradients[:, 0] = near
        return 0.5 * near.double().square(), gradients


def test_mass_behind_a_hill_is_counted() -> None:
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


# --- minutes ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("n", "factor", "fails"), [(200, 10, 50), (1000, 10, 300), (5000, 2, 100)])
def test_ellipsoids_of_the_networks_size(n: int, factor: float, fails: float) -> None:
    body = spread_ellipsoid(n)
    sigmas = [unit(body), 1.5 * unit(body), factor * unit(body)]
    check(body, tethered_hmc(body, TAU, sigmas, seed=0, settings=SHORT), sigmas, fails=fails)


@pytest.mark.slow
def test_turned_ellipsoid_with_leading_directions_only() -> None:
    body, turn = spread_ellipsoid(200), np.linalg.qr(np.random.default_rng(0).standard_normal((200, 200)))[0]
    rotation = torch.as_tensor(turn, dtype=torch.float32)

    class Turned(Ellipsoid):
        def values_and_gradients(self, points: Tensor) -> tuple[Tensor, Tensor]:
            values, gradients = super().values_and_gradients(points @ rotation)
            return values, gradients @ rotation.T

        def values(self, points: Tensor) -> Tensor:
            return super().values(points @ rotation)

    sigmas = [unit(body), 2 * unit(body), 5 * unit(body)]
    settings = TetheredSettings(rank=32, keep=120)
    check(body, tethered_hmc(Turned(body.curvatures), TAU, sigmas, seed=0, settings=settings), sigmas, fails=20)
