"""A Gaussian fitted to a basin and truncated at its boundary, with elliptical slice moves inside.

Source of the moves: Murray, Adams & MacKay, "Elliptical slice sampling", AISTATS 2010.
"""

import math
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from minima_volume.errors import NumericsError
from minima_volume.estimators.radial import Floats
from minima_volume.sampling.mass import MassMatrix
from minima_volume.sampling.potential import CountingPotential, Potential

MIN_ANGLE_BRACKET = 1e-7  # radians
MIN_STIFFNESS, MAX_STIFFNESS = 1e-3, 1e7  # factors on the mean curvature, in units of 1/τ
STIFFNESS_BISECTIONS = 14
FIT_SHRINKAGE = 1.5  # of the round Gaussian that the first fit starts from, per attempt


class CurvedPotential(Potential, Protocol):
    """A potential with an estimate of its curvature."""

    def mean_curvature(self, points: Tensor, *, rank: int, draws: torch.Generator) -> MassMatrix:
        """Return I + a positive estimate of the mean of ∇²L over points (k, n), either diagonal or of rank ≤ `rank`."""


class TruncatedGaussian:
    """A Gaussian in z with precision I + D, truncated to the basin {L(σz) ≤ τ}, and slice moves inside.

    Args:
        potential: Loss surface L over n coordinates with its curvature.
        threshold: τ, the loss below which a point belongs to the basin.
        sigma: Width σ of the tether, in filter norms.
        draws: Generator of all random numbers.

    Attributes:
        gaussian: The precision I + D; D = 0 before the fit.
        counter: The potential with the number of its evaluations.
    """

    def __init__(self, potential: CurvedPotential, threshold: float, sigma: float, draws: torch.Generator) -> None:
        self.potential, self.counter = potential, CountingPotential(potential)
        self.threshold, self.sigma, self.draws = threshold, sigma, draws
        self.gaussian = MassMatrix(torch.zeros(potential.n_params))

    def heights(self, points: Tensor) -> Tensor:
        """Return L(σz) (k,) at z (k, n)."""
        return self.counter.values(self.sigma * points)

    def q(self, points: Tensor) -> Floats:
        """Return ½ zᵀDz (k,) at z (k, n), in float64."""
        full = self.gaussian.power(points, 0.5).double().square().sum(dim=1)
        return np.asarray(0.5 * (full - points.double().square().sum(dim=1)))

    def fit(self, *, trials: int, rank: int, rounds: int) -> None:
        """Fit D = βσ²C, with the mean curvature C over the Gaussian's own draws and β such that half of them are inside.

        Args:
            trials: Number of draws.
            rank: Number of curvature directions.
            rounds: Number of fits, each at the draws of the previous Gaussian.
        """
        noise = self._noise(trials)
        points = noise
        while self.heights(points).median() > self.threshold:
            points = points / FIT_SHRINKAGE  # until half of a round Gaussian is inside
        for _ in range(rounds):
            curvature = self.potential.mean_curvature(self.sigma * points, rank=rank, draws=self.draws)
            self._fit_stiffness(curvature, noise)
            points = self.gaussian.power(noise, -0.5)

    def _fit_stiffness(self, curvature: MassMatrix, noise: Tensor) -> None:
        """Find the smallest β for which half of the draws are inside, by bisection of ln β."""
        low, high = math.log(MIN_STIFFNESS / self.threshold), math.log(MAX_STIFFNESS / self.threshold)
        for _ in range(STIFFNESS_BISECTIONS):
            middle = (low + high) / 2
            self.gaussian = curvature.scaled(math.exp(middle) * self.sigma**2)
            inside = float(self.heights(self.gaussian.power(noise, -0.5)).median()) <= self.threshold
            low, high = (low, middle) if inside else (middle, high)
        self.gaussian = curvature.scaled(math.exp(high) * self.sigma**2)

    def draw_inside(self, replicas: int, trials: int, chains: int) -> tuple[Tensor, Floats]:
        """Draw from the Gaussian and keep what is inside.

        Args:
            replicas: Number of replicas.
            trials: Number of draws of each replica.
            chains: Number of starting points of each replica.

        Returns:
            Starting points (replicas · chains, n), and the share of each replica's draws inside (replicas,).

        Raises:
            NumericsError: Some replica has fewer draws inside than chains.
        """
        tried = self.gaussian.power(self._noise(replicas * trials), -0.5)
        inside = (self.heights(tried) <= self.threshold).view(replicas, trials)
        fewest = int(inside.sum(dim=1).min())
        if fewest < chains:
            raise NumericsError(
                f"Expected {chains} of {trials} draws of the fitted Gaussian inside the basin, got {fewest}: raise "
                f"`trials` or `rank`, or lower the sigma {self.sigma:.3g}."
            )
        groups = zip(tried.view(replicas, trials, -1), inside, strict=True)
        points = torch.cat([own[within][:chains] for own, within in groups])
        return points, inside.double().mean(dim=1).numpy()

    def slice_move(self, points: Tensor, weight: float, *, pull: float) -> tuple[Tensor, float]:
        """Make one elliptical slice move of every chain for the density ∝ N(z; 0, I) exp(−weight·q) inside the basin.

        The ellipses go through draws of N(0, (I + pull·D)⁻¹). The slice variable covers the rest of the density,
        exp((pull − weight)·q). The bracket of angles shrinks towards 0, the current point, until a point is in the slice.

        Args:
            points: Current positions z (chains, n).
            weight: λ of the rung.
            pull: λ of the Gaussian that the ellipses are drawn from.

        Returns:
            New positions (chains, n) and the mean absolute angle in radians.
        """
        through = self.gaussian.scaled(pull).power(self._noise(len(points)), -0.5)
        tilt = pull - weight
        floor = torch.as_tensor(tilt * self.q(points)) + self._uniform(len(points)).log()
        angles = 2 * math.pi * self._uniform(len(points))
        low, high = angles - 2 * math.pi, angles.clone()
        result, rest = points.clone(), torch.arange(len(points))
        while len(rest):
            turn = angles[rest, None].to(points.dtype)
            tried = points[rest] * turn.cos() + through[rest] * turn.sin()
            fits = torch.as_tensor(tilt * self.q(tried)) >= floor[rest]
            fits[fits.clone()] = self.heights(tried[fits]) <= self.threshold
            result[rest[fits]] = tried[fits]
            # Below this bracket the point stays: rounding in batches of another size could place it outside.
            rest = rest[~fits & (high - low > MIN_ANGLE_BRACKET)[rest]]
            below = angles[rest] < 0
            low[rest[below]], high[rest[~below]] = angles[rest[below]], angles[rest[~below]]
            angles[rest] = low[rest] + self._uniform(len(rest)) * (high[rest] - low[rest])
        return result, float(angles.abs().mean())

    def _uniform(self, count: int) -> Tensor:
        """Draw uniform numbers (count,)."""
        return torch.rand(count, generator=self.draws, dtype=torch.float64)

    def _noise(self, count: int) -> Tensor:
        """Draw standard Gaussian points (count, n)."""
        return torch.randn(count, self.potential.n_params, generator=self.draws)
