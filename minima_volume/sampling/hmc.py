"""Hamiltonian Monte Carlo for densities exp(−βL(σz)) under a standard Gaussian z, many chains at once.

The mass matrix is A = I + βσ²C with C an estimate of L's mean curvature. Energy ½zᵀAz + ½vᵀAv alone turns (z, v) by an
angle, exactly; only the remainder βL − ½zᵀ(A − I)z kicks the velocity, so directions in which L is flat decorrelate in one
quarter turn at any dimension. Source: Beskos et al., Stoch. Proc. Appl. 121 (2011) 2201, with A in place of the prior.
"""

import math

import numpy as np
import torch
from torch import Tensor

from minima_volume.estimators.radial import Floats
from minima_volume.sampling.mass import MassMatrix
from minima_volume.sampling.potential import Potential

QUARTER_TURN = math.pi / 2
MOST_STEPS = 12  # of a trajectory; past it, stiff landscapes move by less than a quarter turn
ACCEPTANCE = 0.8


class Chains:
    """The state of all chains on one rung (σ, β), with a step that adapts while burning in."""

    def __init__(self, potential: Potential, points: Tensor, draws: torch.Generator) -> None:
        self.potential, self.points, self.draws = potential, points, draws
        self.sigma, self.beta, self.angle = 1.0, 0.0, 1.0
        self.metric = MassMatrix(torch.zeros(points.shape[1], dtype=points.dtype))

    def move_to(self, sigma: float, beta: float) -> None:
        """Go on from the same z on another rung."""
        # Strengths are curvature × βσ²; the next fit replaces this guess.
        old, new = self.beta * self.sigma**2, beta * sigma**2
        if old > 0:
            self.metric = self.metric.scaled(new / old)
        self.sigma, self.beta = sigma, beta
        self.losses, self.gradients = self._look(self.points)

    def _look(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """L (k,) and β ∂L/∂z (k, n) at z (k, n)."""
        losses, gradients = self.potential.values_and_gradients(self.sigma * points)
        return losses, gradients * (self.beta * self.sigma)

    def _energy(self, points: Tensor, velocities: Tensor, losses: Tensor) -> Tensor:
        kinetic = self.metric.power(velocities, 0.5).double().square().sum(dim=1)
        return self.beta * losses + 0.5 * (points.double().square().sum(dim=1) + kinetic)

    def _kick(self, points: Tensor, velocities: Tensor, gradients: Tensor, angle: float) -> Tensor:
        return velocities - 0.5 * angle * (self.metric.power(points + gradients, -1.0) - points)

    def trajectory(self) -> float:
        """One trajectory of every chain, accepted or not; returns the mean acceptance probability."""
        points, losses, gradients = self.points, self.losses, self.gradients
        noise = torch.randn(points.shape, generator=self.draws, dtype=points.dtype)
        velocities = self.metric.power(noise, -0.5)
        before = self._energy(points, velocities, losses)
        # A drawn angle keeps trajectories from closing on themselves in some direction.
        angle = self.angle * (0.8 + 0.4 * float(torch.rand((), generator=self.draws)))
        for _ in range(min(MOST_STEPS, max(2, round(QUARTER_TURN / self.angle)))):
            velocities = self._kick(points, velocities, gradients, angle)
            points, velocities = (
                points * math.cos(angle) + velocities * math.sin(angle),
                velocities * math.cos(angle) - points * math.sin(angle),
            )
            losses, gradients = self._look(points)
            velocities = self._kick(points, velocities, gradients, angle)
        change = (self._energy(points, velocities, losses) - before).nan_to_num(nan=math.inf, posinf=math.inf)
        chance = (-change).clamp(max=0).exp()
        taken = torch.rand(len(chance), generator=self.draws, dtype=torch.float64) < chance
        self.points = torch.where(taken[:, None], points, self.points)
        self.gradients = torch.where(taken[:, None], gradients, self.gradients)
        self.losses = torch.where(taken, losses, self.losses)
        return float(chance.mean())

    def burn(self, trajectories: int, rank: int | None) -> list[Tensor]:
        """Settle on a rung: adapt the angle throughout and the mass once, half-way; returns z of the second half."""
        seen, points = [], []
        for i in range(trajectories):
            self.angle = min(QUARTER_TURN / 2, self.angle * math.exp(0.4 * (self.trajectory() - ACCEPTANCE)))
            if i < trajectories // 2:
                seen.append(self.gradients)
            else:
                points.append(self.points)
            if i == trajectories // 2 - 1 and self.beta > 0:
                self.metric = MassMatrix.of_gradients(torch.cat(seen), rank)
        return points

    def values(self, sigma: float) -> Floats:
        """L (chains,) of the present z at another σ."""
        return np.asarray(self.potential.values(sigma * self.points), dtype=np.float64)
