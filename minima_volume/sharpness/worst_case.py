"""Worst-case sharpness: the largest rise of the loss within a ball around a minimum.

S(ρ) = max over ‖u‖ ≤ ρ of L(θ* + s∘u) − L(θ*). With raw coordinates this is the sharpness of SAM (Foret et al. 2021), with
s = |θ*| the adaptive sharpness (Kwon et al. 2021; Andriushchenko et al. 2023).
"""

import torch
from torch import Tensor

from minima_volume.sampling.potential import Potential

# Length of the first steps as a part of the radius; a step that lowers the loss is halved.
STEP = 0.5


def worst_case_sharpness(
    potential: Potential, radius: float, *, steps: int = 20, starts: int = 2, seed: int = 0
) -> float:
    """Return the largest rise of the loss within ‖u‖ ≤ ρ that gradient ascent finds: a lower bound of S(ρ).

    Ascent follows the normalised gradient and returns to the ball by projection. The first start follows the gradient at the
    minimum, as SAM does; others start at random points on the sphere, because the gradient of a minimum is mostly noise.

    Args:
        potential: The mean loss L(u) with its minimum at u = 0.
        radius: ρ > 0, in the coordinates of the potential.
        steps: Number of gradients along each ascent.
        starts: Number of ascents.
        seed: Seed of the random starts.

    Returns:
        The rise in units of the loss, at least 0.

    Example:
        The loss ½(4u₁² + u₂²) rises most along u₁: S(0.5) = 0.5.

        >>> import numpy as np
        >>> from minima_volume.testing.ellipsoid import Ellipsoid
        >>> round(worst_case_sharpness(Ellipsoid(np.array([4.0, 1.0])), 0.5, steps=40), 3)
        0.5
    """
    n = potential.n_params
    draws = torch.randn(starts, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    zero = torch.zeros(1, n)
    heights, gradients = potential.values_and_gradients(zero)
    here, best = float(heights[0]), 0.0
    draws[0] = gradients[0].double()
    points = radius * _unit(draws)
    length = torch.full((starts,), STEP * radius, dtype=torch.float64)
    heights, gradients = potential.values_and_gradients(points.float())
    for _ in range(steps):
        best = max(best, float(heights.nan_to_num(nan=float("-inf")).max()) - here)
        tried = points + length[:, None] * _unit(gradients.double())
        tried = tried * (radius / tried.norm(dim=1, keepdim=True).clamp(min=radius))
        new_heights, new_gradients = potential.values_and_gradients(tried.float())
        better = new_heights > heights
        points, gradients = (
            torch.where(better[:, None], tried, points),
            torch.where(better[:, None], new_gradients, gradients),
        )
        heights, length = torch.where(better, new_heights, heights), torch.where(better, length, length / 2)
    return max(best, float(heights.nan_to_num(nan=float("-inf")).max()) - here)


def _unit(vectors: Tensor) -> Tensor:
    """Return vectors (k, n) divided by their lengths; a zero vector stays."""
    return vectors / vectors.norm(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
