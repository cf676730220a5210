"""Losses, gradients and curvature of a network's potential against plain loops and finite differences."""

import numpy as np
import torch

from minima_volume.networks.directions import generator
from minima_volume.sampling.potential import NetworkPotential
from tests import reference
from tests.sampling.problems import small_network


def test_losses_and_gradients_against_a_plain_loop() -> None:
    model, minimum, samples = small_network()
    potential = NetworkPotential(model, minimum, samples, dtype=torch.float64)
    points = 0.3 * torch.randn(5, potential.n_params, generator=generator("points"), dtype=torch.float64)
    potential.per_tile = 2  # five points make an incomplete tile
    values, gradients = potential.values_and_gradients(points)
    height = [
        reference.along(model, reference.step(model, point), samples.inputs, samples.targets)(1.0) for point in points
    ]
    np.testing.assert_allclose(values, height, rtol=1e-12)
    torch.testing.assert_close(potential.values(points), values, rtol=1e-14, atol=0)
    step = 1e-6 * torch.eye(potential.n_params, dtype=torch.float64)
    for point, gradient in zip(points, gradients, strict=True):
        slope = (potential.values(point + step) - potential.values(point - step)) / 2e-6
        torch.testing.assert_close(gradient, slope, rtol=1e-6, atol=1e-8)  # error h² of the central difference


def test_curvature_is_the_gauss_newton_matrix() -> None:
    model, minimum, samples = small_network()
    potential = NetworkPotential(model, minimum, samples, dtype=torch.float64)
    points = 0.2 * torch.randn(1, potential.n_params, generator=generator("point"), dtype=torch.float64)
    jacobian = torch.func.jacrev(lambda u: potential._outputs(u, potential.samples.inputs))(points[0]).detach()
    p = potential._outputs(points[0], potential.samples.inputs).softmax(-1).detach()
    exact = sum(j.T @ (torch.diag(q) - torch.outer(q, q)) @ j for j, q in zip(jacobian, p, strict=True)) / len(p)
    rank = potential.n_params
    draws = generator("pairs")
    several = [potential.mean_curvature(points, rank=rank, draws=draws) for _ in range(8)]
    mean = sum(m.power(torch.eye(rank, dtype=torch.float64), 1.0) for m in several) / 8 - torch.eye(rank)
    # 8 × 1024 pairs: about 2 % of the largest entries.
    assert torch.linalg.matrix_norm(mean - exact) < 0.05 * torch.linalg.matrix_norm(exact)
