"""Sharpness measures against dense matrices, closed forms and plain loops."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, hessian, vmap

from minima_volume.networks.losses import CRITERIA
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import layout_of, parameters_of
from minima_volume.sampling.potential import NetworkPotential
from minima_volume.sharpness.coordinates import COORDINATES, in_coordinates
from minima_volume.sharpness.curvature import curvature, curvature_operator
from minima_volume.sharpness.fisher_rao import fisher_rao_norm
from minima_volume.sharpness.learning_coefficient import learning_coefficient
from minima_volume.sharpness.worst_case import worst_case_sharpness
from minima_volume.testing.ellipsoid import Ellipsoid

LOSSES = ("cross_entropy", "one_hot_squared_error", "binary_cross_entropy")


def network(loss: str) -> tuple[nn.Module, Minimum, Samples]:
    """A small network in float64, not at a minimum, with classes that suit the loss."""
    torch.manual_seed(0)
    outputs = 1 if loss == "binary_cross_entropy" else 3
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, outputs)).double()
    parameters = parameters_of(model)
    inputs = torch.randn(30, 4, dtype=torch.float64)
    samples = Samples(inputs, torch.arange(30) % max(2, outputs), CRITERIA[loss])
    return model, Minimum.of(parameters, layout_of(parameters)), samples


def mean_loss(model: nn.Module, minimum: Minimum, samples: Samples, u: torch.Tensor) -> torch.Tensor:
    return samples.criterion(functional_call(model, minimum.moved(u), (samples.inputs,)), samples.targets).mean()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("coordinates", COORDINATES)
def test_hessian_agrees_with_the_dense_matrix(loss: str, coordinates: str) -> None:
    model, minimum, samples = network(loss)
    minimum = in_coordinates(minimum, coordinates)
    dense = hessian(lambda u: mean_loss(model, minimum, samples, u))(torch.zeros(minimum.layout.n_params).double())
    operator = curvature_operator(model, minimum, samples, "hessian")
    found = operator @ np.eye(operator.shape[0])
    # Both are float64 derivatives of the same function.
    np.testing.assert_allclose(found, dense.numpy(), rtol=1e-9, atol=1e-12)
    estimate = curvature(model, minimum, samples, n_vectors=400)
    assert estimate.largest == pytest.approx(float(torch.linalg.eigvalsh(dense)[-1]), rel=2e-3)
    assert abs(estimate.trace - float(dense.trace())) < 4 * estimate.trace_se


@pytest.mark.parametrize("loss", LOSSES)
def test_gauss_newton_agrees_with_its_definition(loss: str) -> None:
    model, minimum, samples = network(loss)
    zero = torch.zeros(minimum.layout.n_params).double()

    def outputs(u: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return functional_call(model, minimum.moved(u), (x[None],))[0]

    dense = torch.zeros(len(zero), len(zero)).double()
    for x, y in zip(samples.inputs, samples.targets, strict=True):
        jacobian = torch.func.jacrev(outputs)(zero, x)
        inner = hessian(lambda f, y=y: samples.criterion(f[None], y[None])[0])(outputs(zero, x))
        dense += jacobian.T @ inner @ jacobian / len(samples)
    operator = curvature_operator(model, minimum, samples, "gauss_newton")
    np.testing.assert_allclose(operator @ np.eye(len(zero)), dense.numpy(), rtol=1e-9, atol=1e-12)


def test_threads_do_not_mix_their_derivatives() -> None:
    problems = [network(loss) for loss in LOSSES] * 4
    alone = [(curvature(*problem).trace, fisher_rao_norm(*problem)) for problem in problems]
    with ThreadPoolExecutor(len(problems)) as pool:
        together = list(pool.map(lambda problem: (curvature(*problem).trace, fisher_rao_norm(*problem)), problems))
    assert together == alone


def test_only_the_perturbed_parameters_count_and_the_model_stays() -> None:
    model, minimum, samples = network("cross_entropy")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    head = layout_of(minimum.parameters, only=lambda name: name.startswith("2."))
    part = Minimum.of({name: tensor + 0.1 for name, tensor in minimum.parameters.items()}, head)
    dense = hessian(lambda u: mean_loss(model, part, samples, u))(torch.zeros(head.n_params).double())
    operator = curvature_operator(model, part, samples, "hessian")
    np.testing.assert_allclose(operator @ np.eye(head.n_params), dense.numpy(), rtol=1e-9, atol=1e-12)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_fisher_rao_norm_agrees_with_gradients_of_samples_and_ignores_coordinates() -> None:
    model, minimum, samples = network("cross_entropy")

    def loss(parameters: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return samples.criterion(functional_call(model, parameters, (x[None],)), y[None])[0]

    gradients = vmap(grad(loss), in_dims=(None, 0, 0))(minimum.parameters, samples.inputs, samples.targets)
    inner = sum((gradients[name] * p).flatten(1).sum(1) for name, p in minimum.parameters.items())
    expected = float(torch.as_tensor(inner).square().mean().sqrt())
    found = [fisher_rao_norm(model, in_coordinates(minimum, c), samples) for c in COORDINATES]
    assert found == pytest.approx([expected] * 3, rel=1e-10)


def test_worst_case_of_an_ellipsoid_and_of_a_network_on_a_fine_circle() -> None:
    stiff = Ellipsoid(np.geomspace(10.0, 0.1, 50))
    # The maximum over the ball is ½·10·ρ²; ascent ends within a percent, and never above.
    assert 0.99 * 0.2 < worst_case_sharpness(stiff, 0.2, steps=60) <= 0.2 * (1 + 1e-6)
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Tanh()).double()
    parameters = parameters_of(model)
    minimum = Minimum.of(parameters, layout_of(parameters), normalise=False)
    samples = Samples(torch.randn(20, 1).double(), torch.zeros(20, dtype=torch.long), CRITERIA["one_hot_squared_error"])
    angle = torch.linspace(0, 2 * torch.pi, 2001, dtype=torch.float64)
    radius = torch.linspace(0, 0.5, 51, dtype=torch.float64)
    disc = (radius[:, None, None] * torch.stack([angle.cos(), angle.sin()], 1)).reshape(-1, 2)
    potential = NetworkPotential(model, minimum, samples, dtype=torch.float64)
    expected = float(potential.values(disc).max() - potential.values(torch.zeros(1, 2))[0])
    # Ascent from two starts may end at the lower of two maxima, but not above the highest.
    assert 0.98 * expected < worst_case_sharpness(potential, 0.5, steps=60, starts=4) <= expected + 1e-5


def test_learning_coefficient_of_a_regular_minimum() -> None:
    curvatures, n, pull = np.geomspace(5.0, 0.01, 40), 500, 100.0
    stiff = n / np.log(n) * curvatures
    expected = 0.5 * float((stiff / (stiff + pull)).sum())
    found = learning_coefficient(Ellipsoid(curvatures), n, 5.0, localisation=pull, chains=8, burn_in=300, steps=3000)
    # A step of a tenth of the limit of stability adds at most a ninth to the variance of the stiffest direction.
    assert abs(found.value - expected) < 4 * found.se + 0.11 * expected
    assert abs(found.drift) < 8 * found.se
