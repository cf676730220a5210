"""Hamiltonian Monte Carlo for densities exp(−βL(σz)) under a standard Gaussian z, with many chains at once.

The mass matrix is A = I + βσ²C with an estimate C of the mean curvature of L. The energy ½zᵀAz + ½vᵀAv rotates (z, v) by
an angle, which is computed exactly. Only the remainder βL − ½zᵀ(A − I)z changes the velocity. So directions in which L is
flat decorrelate in a quarter turn at any dimension. Source: Beskos et al., Stoch. Proc. Appl. 121 (2011) 2201, with A in
place of the prior's precision.
"""

import math

import numpy as np
import torch
from torch import Tensor

from minima_volume.estimators.radial import Floats
from minima_volume.sampling.mass import MassMatrix
from minima_volume.sampling.potential import Potential

QUARTER_TURN = math.pi / 2
MAX_STEPS = 12  # of a trajectory; in stiff landscapes this is less than a quarter turn
TARGET_ACCEPTANCE = 0.8
ADAPTATION_RATE = 0.4  # of ln(angle) per trajectory and unit of acceptance


class Chains:
    """The state of all chains on one rung (σ, β), with a step and a mass matrix that adapt during burn-in.

    Args:
        potential: Loss surface L over n coordinates.
        points: Initial positions z (chains, n).
        draws: Generator of all random numbers.

    Attributes:
        points: Current positions z (chains, n).
        losses: L(σz) (chains,).
        gradients: β ∂L(σz)/∂z (chains, n).
        angle: Angle of one step in radians.
        mass: Mass matrix A.
        burn_acceptance: Mean acceptance probability of the second half of the last burn-in.
    """

    def __init__(self, potential: Potential, points: Tensor, draws: torch.Generator) -> None:
        self.potential, self.points, self.draws = potential, points, draws
        self.sigma, self.beta, self.angle = 1.0, 0.0, 1.0
        self.burn_acceptance = 1.0
        self.mass = MassMatrix(torch.zeros(points.shape[1], dtype=points.dtype))

    def move_to(self, sigma: float, beta: float) -> None:
        """Continue from the same positions on another rung."""
        # The strengths of A scale with βσ². The next fit replaces this guess.
        old, new = self.beta * self.sigma**2, beta * sigma**2
        if old > 0:
            self.mass = self.mass.scaled(new / old)
        self.sigma, self.beta = sigma, beta
        self.losses, self.gradients = self._evaluate(self.points)

    def _evaluate(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return L (k,) and β ∂L/∂z (k, n) at z (k, n)."""
        losses, gradients = self.potential.values_and_gradients(self.sigma * points)
        return losses, gradients * (self.beta * self.sigma)

    def _energy(self, points: Tensor, velocities: Tensor, losses: Tensor) -> Tensor:
        """Return βL + ½zᵀz + ½vᵀAv (chains,)."""
        kinetic = self.mass.power(velocities, 0.5).double().square().sum(dim=1)
        return self.beta * losses + 0.5 * (points.double().square().sum(dim=1) + kinetic)

    def _kick(self, points: Tensor, velocities: Tensor, gradients: Tensor, angle: float) -> Tensor:
        """Return the velocities after half a step in the remaining force A⁻¹(z + β ∂L/∂z) − z."""
        return velocities - 0.5 * angle * (self.mass.power(points + gradients, -1.0) - points)

    def trajectory(self) -> float:
        """Run one trajectory of every chain, and return the mean acceptance probability."""
        points, losses, gradients = self.points, self.losses, self.gradients
        noise = torch.randn(points.shape, generator=self.draws, dtype=points.dtype)
        velocities = self.mass.power(noise, -0.5)
        before = self._energy(points, velocities, losses)
        # A random angle prevents trajectories that return to their start in some direction.
        angle = self.angle * (0.8 + 0.4 * float(torch.rand((), generator=self.draws)))
        for _ in range(min(MAX_STEPS, max(2, round(QUARTER_TURN / self.angle)))):
            velocities = self._kick(points, velocities, gradients, angle)
            points, velocities = (
                points * math.cos(angle) + velocities * math.sin(angle),
                velocities * math.cos(angle) - points * math.sin(angle),
            )
            losses, gradients = self._evaluate(points)
            velocities = self._kick(points, velocities, gradients, angle)
        change = (self._energy(points, velocities, losses) - before).nan_to_num(nan=math.inf, posinf=math.inf)
        chance = (-change).clamp(max=0).exp()
        taken = torch.rand(len(chance), generator=self.draws, dtype=torch.float64) < chance
        self.points = torch.where(taken[:, None], points, self.points)
        self.gradients = torch.where(taken[:, None], gradients, self.gradients)
        self.losses = torch.where(taken, losses, self.losses)
        return float(chance.mean())

    def burn(self, trajectories: int, rank: int | None) -> list[Tensor]:
        """Burn in on a rung, while the angle adapts after every trajectory and the mass matrix once, half-way.

        Args:
            trajectories: Number of trajectories of every chain.
            rank: Number of leading curvature directions in the mass matrix; None for a mass per coordinate.

        Returns:
            Positions z (chains, n) after each trajectory of the second half.
        """
        seen, points, rates = [], [], []
        for i in range(trajectories):
            rates.append(self.trajectory())
            self.angle = min(QUARTER_TURN / 2, self.angle * math.exp(ADAPTATION_RATE * (rates[-1] - TARGET_ACCEPTANCE)))
            if i < trajectories // 2:
                seen.append(self.gradients)
            else:
                points.append(self.points)
            if i == trajectories // 2 - 1 and self.beta > 0:
                self.mass = MassMatrix.of_gradients(torch.cat(seen), rank)
        self.burn_acceptance = float(np.mean(rates[trajectories // 2 :])) if rates else 1.0
        return points

    def values(self, sigma: float) -> Floats:
        """Return L (chains,) at the current z for another σ."""
        return np.asarray(self.potential.values(sigma * self.points), dtype=np.float64)
