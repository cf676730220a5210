"""The local learning coefficient by stochastic-gradient-free Langevin sampling around a minimum.

λ̂ = Nβ·(E[L(w)] − L(w*)) with w from the density exp(−NβL(w) − γ‖w − w*‖²/2), β = 1/ln N (Lau et al. 2023). For a regular
minimum with Hessian eigenvalues h this is ½Σ Nβh/(Nβh + γ), half the number of directions that the data determine.
"""

import math
from dataclasses import dataclass

import torch

from minima_volume.sampling.potential import Potential

# Step of the Langevin equation as a part of its limit of stability 4/(Nβλ_max + γ); its bias of the variance along the
# stiffest direction is this part.
STEP = 0.1


@dataclass(frozen=True)
class LearningCoefficient:
    """An estimate of the local learning coefficient.

    Attributes:
        value: λ̂.
        se: Standard error by the spread of independent chains.
        drift: λ̂ of the second half of the chains minus that of the first; beyond a few errors the chains are too short.
    """

    value: float
    se: float
    drift: float


def learning_coefficient(
    potential: Potential, n_samples: int, largest: float, *, localisation: float = 100.0, chains: int = 4,
    burn_in: int = 200, steps: int = 200, seed: int = 0,
) -> LearningCoefficient:  # fmt: skip
    """Estimate λ̂ by unadjusted Langevin chains that start at the minimum.

    Args:
        potential: The mean loss L(u) over the samples, minimum at u = 0, in raw coordinates.
        n_samples: N, at least 2.
        largest: Largest eigenvalue of the Hessian, which limits the step.
        localisation: γ, the strength of the pull to the minimum.
        chains: Number of chains, at least 2.
        burn_in: Steps of each chain that are left out.
        steps: Steps of each chain that count, at least 2.
        seed: Seed of the noise.

    Returns:
        λ̂ with its error and drift.

    Example:
        Forty directions of curvature 1 with Nβ = 1000/ln 1000 ≈ 145 and γ = 100: ½·40·145/245 ≈ 11.8, and a tenth more by
        the length of the step.

        >>> import numpy as np
        >>> from minima_volume.testing.ellipsoid import Ellipsoid
        >>> found = learning_coefficient(Ellipsoid(np.ones(40)), 1000, largest=1.0, steps=2000)
        >>> abs(found.value / 11.8 - 1) < 0.15
        True
    """
    beta_n = n_samples / math.log(n_samples)
    step = STEP * 4 / (beta_n * max(largest, 0.0) + localisation)
    noise = torch.Generator().manual_seed(seed)
    points = torch.zeros(chains, potential.n_params)
    bottom = float(potential.values(points[:1])[0])
    rises = torch.empty(steps, chains, dtype=torch.float64)
    for number in range(burn_in + steps):
        heights, gradients = potential.values_and_gradients(points)
        if number >= burn_in:
            rises[number - burn_in] = heights - bottom
        pull = beta_n * gradients + localisation * points
        points = points - step / 2 * pull + math.sqrt(step) * torch.randn(points.shape, generator=noise)
    values = beta_n * rises
    halves = [part.mean().item() for part in values.tensor_split(2)]
    means = values.mean(dim=0)
    return LearningCoefficient(float(means.mean()), float(means.std() / math.sqrt(chains)), halves[1] - halves[0])
