"""Preconditioned rays: exact on ellipsoids, unbiased for any A, and curvature against Hessians from autograd."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd.functional import hessian
from torch.func import functional_call

from minima_volume import measure_volume
from minima_volume.errors import UserError
from minima_volume.networks.adapters import per_sample
from minima_volume.networks.curvature import gauss_newton_rows
from minima_volume.networks.losses import cross_entropy
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import layout_of, parameters_of
from minima_volume.rays.preconditioner import (
    Preconditioner,
    add_leading_directions,
    diagonal_preconditioner,
    fit_preconditioner,
    shrink_diagonal,
)
from minima_volume.testing import bodies


def random_preconditioner(n: int, k: int) -> Preconditioner:
    draw = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(n, k, generator=draw, dtype=torch.float64)).Q
    scales, stretches = (torch.exp(0.3 * torch.randn(m, generator=draw, dtype=torch.float64)) for m in (n, k))
    return Preconditioner(4 * scales, basis, stretches)  # 4: well below the cap c = 1 on small bodies


def test_determinant_and_product_of_the_dense_matrix() -> None:
    a = random_preconditioner(9, 4)
    matrix = a.apply(torch.eye(9)).double().T
    expected = torch.diag(a.scales) @ (torch.eye(9).double() + a.basis @ torch.diag(a.stretches - 1) @ a.basis.T)
    # Directions are float32.
    np.testing.assert_allclose(matrix, expected, atol=1e-6)
    assert a.log_determinant == pytest.approx(float(torch.linalg.slogdet(expected).logabsdet), abs=1e-12)


@pytest.mark.parametrize("spread", [0.5, 3.0])
def test_the_exact_curvature_gives_equal_radii(spread: float) -> None:
    body = bodies.ellipsoid(300, spread)
    assert body.curvatures is not None
    a = diagonal_preconditioner(torch.from_numpy(body.curvatures), body.threshold)
    found = measure_volume(
        body.model, body.loss_fn, body.data, threshold=body.threshold, n_directions=60, preconditioner=a
    )
    # The tolerance of the solver for n·ln r, and float32 directions.
    assert np.ptp(300 * found.log_radii) < 0.01
    assert found.log_volume == pytest.approx(body.log_volume, abs=0.01)
    # Rays of a quadratic basin of any size cross at c = 1/6.
    assert not found.censored.any()


def test_any_preconditioner_gives_the_same_volume_and_profile() -> None:
    body = bodies.ellipsoid(8, 0.5)
    assert body.log_gamma is not None
    a = random_preconditioner(8, 3)
    how = {"threshold": body.threshold, "n_directions": 3000, "sigmas": [0.05, 0.2, 1.0], "preconditioner": a}
    found = measure_volume(body.model, body.loss_fn, body.data, **how)
    assert found.verdict.word == "converged" and found.log_volume_se < 0.1
    assert abs(found.log_volume - body.log_volume) < 4 * found.log_volume_se
    assert found.profile is not None
    for point in found.profile.points:
        assert abs(point.log_gamma - body.log_gamma(point.sigma)) < 4 * point.log_gamma_se < 0.4


def test_density_ratios_of_directions_have_mean_one() -> None:
    # E[|det A|·‖A w‖⁻ⁿ] = 1 over uniform w.
    a, draw = random_preconditioner(4, 2), torch.Generator().manual_seed(1)
    g = torch.randn(200_000, 4, generator=draw)
    stretches = (a.apply(g).double().norm(dim=1) / g.double().norm(dim=1)).log()
    weights = (a.log_determinant - 4 * stretches).exp()
    assert float(weights.mean()) == pytest.approx(1, abs=4 * float(weights.std()) / math.sqrt(200_000))


def minimum_of(model: nn.Module) -> Minimum:
    parameters = parameters_of(model)
    return Minimum.of(parameters, layout_of(parameters))


def test_rows_are_the_hessian_of_a_linear_model() -> None:
    body = bodies.linear_model(7, n_samples=50)
    minimum = minimum_of(body.model)
    rows = gauss_newton_rows(body.model, minimum, Samples(*body.data, per_sample(body.loss_fn)))
    inputs = body.data[0].double()
    expected = 2 * float(minimum.scales[0]) ** 2 * inputs.T @ inputs / 50
    # The loss is quadratic in the parameters and has one output, so nothing is sampled.
    np.testing.assert_allclose(rows.T @ rows / len(rows), expected, rtol=1e-9, atol=1e-9)


def test_rows_average_to_the_gauss_newton_matrix_of_a_classifier() -> None:
    # A linear classifier's Gauss–Newton matrix is its Hessian.
    draw = torch.Generator().manual_seed(2)
    model = nn.Sequential(nn.Linear(3, 4)).double()
    inputs, targets = torch.randn(6, 3, generator=draw).double(), torch.randint(0, 4, (6,), generator=draw)
    minimum, samples = minimum_of(model), Samples(inputs, targets, cross_entropy)
    rows = gauss_newton_rows(model, minimum, samples, draws=300)

    def height(u: torch.Tensor) -> torch.Tensor:
        moved = minimum.layout.split(minimum.scales * u)
        at = {name: value + moved[name] for name, value in minimum.parameters.items()}
        return cross_entropy(functional_call(model, at, (inputs,)), targets).mean()

    expected = hessian(height, torch.zeros(16, dtype=torch.float64))
    # 1,800 rows of random signs: four times 1/√1800 of the largest entry.
    np.testing.assert_allclose(rows.T @ rows / len(rows), expected, atol=0.1 * float(expected.max()))


def test_all_directions_together_are_the_inverse_root_of_the_curvature() -> None:
    body = bodies.linear_model(8, n_samples=60)
    minimum, samples = minimum_of(body.model), Samples(*body.data, per_sample(body.loss_fn))
    rows = gauss_newton_rows(body.model, minimum, samples)
    with torch.no_grad():
        rise = body.threshold - float(body.loss_fn(body.model(body.data[0].double()), body.data[1].double()))
    base = diagonal_preconditioner(rows.square().mean(dim=0), rise)
    a = add_leading_directions(base, rows, rows, rise, rank=8)
    found = measure_volume(
        body.model, body.loss_fn, body.data, threshold=body.threshold, n_directions=60, preconditioner=a
    )
    # A contains the whole curvature, so radii are equal up to the float32 rounding of directions.
    assert np.ptp(8 * found.log_radii) < 1e-3
    assert found.log_volume == pytest.approx(body.log_volume, abs=1e-3)


def test_the_fitted_preconditioner_reduces_the_variance_without_bias() -> None:
    body = bodies.linear_model(40, n_samples=4000)
    plain = measure_volume(body.model, body.loss_fn, body.data, threshold=body.threshold, n_directions=200)
    helped = measure_volume(
        body.model, body.loss_fn, body.data, threshold=body.threshold, n_directions=200, preconditioner="curvature"
    )
    assert helped.verdict.bulk_size > 2 * plain.verdict.bulk_size
    assert helped.verdict.word == "converged"
    assert abs(helped.log_volume - body.log_volume) < 4 * helped.log_volume_se


def test_noise_shrinks_to_a_constant_and_signal_stays() -> None:
    draw = torch.Generator().manual_seed(3)
    flat = torch.randn(2, 8, 5000, generator=draw, dtype=torch.float64)
    assert float(shrink_diagonal(flat[0], flat[1]).log().std()) < 0.1  # halves agree on nothing
    shape = torch.exp(torch.linspace(-3, 3, 5000, dtype=torch.float64))
    found = shrink_diagonal(flat[0] * shape.sqrt(), flat[1] * shape.sqrt())
    assert float((found.log() - shape.log()).std()) < 0.4  # 16 squares: a log-error of √(2/16) = 0.35
    same = shrink_diagonal(shape.sqrt()[None], shape.sqrt()[None])
    np.testing.assert_allclose(same, shape, rtol=1e-12)


def test_flat_coordinates_need_a_bound() -> None:
    with pytest.raises(UserError, match="sigma=1"):
        diagonal_preconditioner(torch.tensor([1.0, 0.0]), 0.1)
    bounded = diagonal_preconditioner(torch.tensor([1.0, 0.0]), 0.1, sigma=0.5)
    assert bounded.scales[1] == pytest.approx(6 * 0.5)


def test_too_many_outputs_are_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 300)).double()
    samples = Samples(torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64), cross_entropy)
    with pytest.raises(UserError, match="at most 256 outputs"):
        fit_preconditioner(model, minimum_of(model), samples, threshold=0.1)
