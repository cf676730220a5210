"""Mass matrices and trajectories of Hamiltonian Monte Carlo against Gaussians."""

import numpy as np
import torch

from minima_volume.networks.directions import generator
from minima_volume.sampling.bennett import chain_error
from minima_volume.sampling.hmc import Chains
from minima_volume.sampling.mass import MassMatrix
from minima_volume.testing.ellipsoid import Ellipsoid


def test_mass_matrix_from_the_gradients_of_a_gaussian() -> None:
    # With precision 1 + d the remaining gradient is d·z, whose draws determine d along coordinates and along directions.
    draws = torch.randn(4000, 3, generator=generator("metric"))
    strengths = torch.tensor([0.0, 2.0, 30.0])
    gradients = strengths * draws / (1 + strengths).sqrt()
    found = MassMatrix.of_gradients(gradients, None).strengths
    torch.testing.assert_close(found, strengths, rtol=0.1, atol=0.01)  # 4000 squares determine E[g²] to 2 %
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator("turn")))[0]
    low = MassMatrix.of_gradients((gradients @ turn)[:400], 2)
    assert low.basis is not None
    exact = turn.T @ torch.diag(1 + strengths) @ turn
    torch.testing.assert_close(low.power(torch.eye(3), 1.0), exact, rtol=0.2, atol=0.5)
    torch.testing.assert_close(low.power(low.power(turn, -0.5), 0.5), turn, rtol=1e-4, atol=1e-4)


def test_trajectories_preserve_the_density_for_a_wrong_mass() -> None:
    body = Ellipsoid(np.array([1.0, 100.0]))
    chains = Chains(body, torch.randn(512, 2, generator=generator("start")), generator("run"))
    chains.move_to(1.0, 3.0)
    chains.mass, chains.angle = MassMatrix(torch.tensor([30.0, 100.0])), 0.5
    squares = []
    for i in range(150):
        chains.trajectory()
        if i >= 30:
            squares.append(chains.points.double().square().numpy())
    series = np.stack(squares)
    for axis, h in enumerate(body.curvatures):
        got, error = series[:, :, axis].mean(), chain_error(series[:, :, axis])
        assert abs(got - 1 / (1 + 3 * h)) < 4 * error and error < 0.03 / (1 + 3 * h)
