"""Elliptical slice sampling against known Gaussian masses, its moves against closed forms, and both samplers together."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from minima_volume.errors import NumericsError
from minima_volume.networks.directions import generator
from minima_volume.networks.losses import CRITERIA
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import layout_of, parameters_of
from minima_volume.sampling.bennett import chain_error
from minima_volume.sampling.elliptical import EllipticalSettings, elliptical_slice_path
from minima_volume.sampling.mass import MassMatrix
from minima_volume.sampling.potential import NetworkPotential
from minima_volume.sampling.tethered import TetheredSettings, TetheredVolume, tethered_hmc
from minima_volume.sampling.truncated import TruncatedGaussian
from minima_volume.testing.ellipsoid import Ellipsoid
from minima_volume.training.datasets import load
from minima_volume.training.interventions import INTERVENTIONS
from minima_volume.training.models import MODELS, initial_parameters, mlp
from minima_volume.training.recipe import Recipe
from minima_volume.training.trainer import Job, train
from tests.sampling.problems import TAU, spread_ellipsoid, unit

FAST = EllipticalSettings(chains=4, trials=128, burn=20, keep=40, fits=1)


class Misjudged(Ellipsoid):
    """An ellipsoid that reports wrong curvatures, by about 30 per cent along every axis."""

    def mean_curvature(self, points: Tensor, *, rank: int, draws: torch.Generator) -> MassMatrix:
        wrong = 0.3 * torch.randn(self.n_params, generator=generator("wrong"))
        return MassMatrix(super().mean_curvature(points, rank=rank, draws=draws).strengths * wrong.exp())


def test_misjudged_ellipsoid() -> None:
    body = Misjudged(spread_ellipsoid(60).curvatures)
    sigmas = [unit(body), 4 * unit(body)]
    found = elliptical_slice_path(body, TAU, sigmas, seed=0, settings=FAST)
    exact = np.array([body.log_mass(sigma, TAU) for sigma in sigmas])
    assert found.status == ("ok",) * 2
    assert (np.abs(found.log_gamma - exact) <= 3 * found.error()).all()
    assert (np.abs(found.log_gamma - exact) <= np.maximum(3, 0.01 * np.abs(exact))).all()
    # The Gaussian alone, at the start of the path, is far off.
    assert found.log_gaussian[-1] < exact[-1] - 10


@pytest.mark.parametrize(("weight", "pull"), [(0.0, 1.0), (0.5, 1.0), (0.5, 0.5), (0.0, 0.0)])
def test_slice_moves_preserve_the_truncated_gaussian(weight: float, pull: float) -> None:
    # One stiff axis, N(0, 1/(1 + 4·weight)) truncated at |z| = √(2τ/h) = 1, and a free one.
    body = Ellipsoid(np.array([2 * TAU, 1e-9]))
    basin = TruncatedGaussian(body, TAU, 1.0, generator("slices", weight, pull))
    basin.gaussian = MassMatrix(torch.tensor([4.0, 0.0]))
    points, squares = torch.zeros(800, 2), []
    for i in range(100):
        points, _ = basin.slice_move(points, weight, pull=pull)
        if i >= 20:
            squares.append(points.double().square().numpy())
    series, z = np.stack(squares), np.linspace(-1, 1, 20_001)
    density = np.exp(-(1 + 4 * weight) * z**2 / 2)
    for axis, exact in enumerate([(z**2 * density).sum() / density.sum(), 1.0]):
        error = chain_error(series[:, :, axis])
        assert abs(series[:, :, axis].mean() - exact) < 4 * error and error < 0.03 * exact


def test_equal_seeds_give_equal_numbers() -> None:
    short = EllipticalSettings(replicas=2, chains=2, trials=64, burn=4, keep=6, fits=1)
    body = spread_ellipsoid(20)
    first, again, other = (elliptical_slice_path(body, TAU, [0.2], seed=seed, settings=short) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.replica_log_gamma, again.replica_log_gamma)
    assert first.log_gamma[0] != other.log_gamma[0]


def test_a_minimum_above_the_threshold_is_refused() -> None:
    class Lifted(Ellipsoid):
        def values(self, points: Tensor, ceiling: float = math.inf) -> Tensor:
            return super().values(points) + 2 * TAU

    with pytest.raises(NumericsError, match="below the threshold"):
        elliptical_slice_path(Lifted(np.ones(3)), TAU, [0.1], seed=0)


def agree(
    potential: NetworkPotential, tethered: TetheredVolume, sigmas: list[float], settings: EllipticalSettings
) -> None:
    """Assert that both samplers are "ok" and agree within three joint standard errors at every σ."""
    other = elliptical_slice_path(potential, TAU, sigmas, seed=0, settings=settings)
    for i, sigma in enumerate(sigmas):
        rung = tethered.at(sigma)
        joint = math.hypot(tethered.error()[rung], other.error()[i])
        assert tethered.sigmas[rung] == sigma and tethered.status[rung] == other.status[i] == "ok"
        assert abs(tethered.log_gamma[rung] - other.log_gamma[i]) <= 3 * joint
    # The agreement means something: errors are small, and the volume is not the whole Gaussian.
    assert joint < 1 and tethered.log_gamma[rung] < -1


def trained(name: str, n_samples: int, epochs: int) -> NetworkPotential:
    """Return the potential of a network trained on `n_samples` points of two spirals."""
    data = load("swiss_roll", 10)
    pool = INTERVENTIONS["data"](data, 20, n_samples - 20, 10)
    model = MODELS[name]().eval()
    job = Job(initial_parameters(name, 0), pool.inputs, pool.targets, 0)
    *_, (_, (parameters,)) = train(model, [job], Recipe(epochs=epochs), CRITERIA[data.loss])
    samples = Samples(pool.inputs, pool.targets, CRITERIA[data.loss])
    return NetworkPotential(model, Minimum.of(parameters, layout_of(parameters)), samples)


def test_samplers_agree_on_a_small_network() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, inputs = mlp(2, 6, 6, 1), torch.randn(12, 2)
    targets = (inputs[:, 0] * inputs[:, 1] > 0).long()
    recipe, criterion = Recipe(epochs=200, lr=0.03), CRITERIA["binary_cross_entropy"]
    *_, (_, (parameters,)) = train(model, [Job(parameters_of(model), inputs, targets, 0)], recipe, criterion)
    minimum = Minimum.of(parameters, layout_of(parameters))
    potential = NetworkPotential(model, minimum, Samples(inputs, targets, criterion))
    # Few moves of many chains, because a call costs more than its points.
    tethered = tethered_hmc(potential, TAU, [0.3], seed=0, settings=TetheredSettings(chains=8, burn=8, keep=16))
    agree(potential, tethered, [0.3], EllipticalSettings(burn=10, keep=20, rank=20, fits=2))


@pytest.mark.slow
@pytest.mark.parametrize("n_samples", [50, 200, 800])
def test_samplers_agree_on_swiss_networks(n_samples: int) -> None:
    potential, sigmas = trained("swiss_x5", n_samples, 1000), [0.02, 0.05]
    tethered = tethered_hmc(
        potential, TAU, sigmas, seed=0, settings=TetheredSettings(chains=2, burn=15, keep=30, rank=64)
    )
    agree(potential, tethered, sigmas, EllipticalSettings(chains=4, trials=128, burn=15, keep=30, rank=150))
