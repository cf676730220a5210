"""What rounding does to a radius: the scatter of the loss around a straight line within a tiny step of a crossing."""

import numpy as np
import torch

from minima_volume.crossings.problem import SweepProblem
from minima_volume.crossings.scan import Floats
from minima_volume.networks.directions import draw_directions
from minima_volume.rays.preconditioner import Preconditioner

# Steps in ln c around a crossing. A loss in float64 is straight on this scale to 10⁻¹³.
STEPS = 1e-8 * np.arange(-2, 3)

# Part of the coefficient over which the slope is taken.
BEYOND = 1e-3


def rounding_error(
    problem: SweepProblem, seed: int, coefficients: Floats, shape: Preconditioner | None = None
) -> float:
    """Estimate how far rounding moves n·ln r, in nats, from the first crossing of all rays.

    Args:
        problem: A sweep of one minimum.
        seed: Seed of the directions.
        coefficients: Crossings c of the directions from number 0 on (rays, targets).
        shape: Preconditioner of the directions.

    Returns:
        The standard deviation of a loss around the line through five points close to the crossing, divided by the slope,
        times n; 0 if no ray crosses or the loss has no slope there.
    """
    crossed = np.argwhere(coefficients > 0)
    if not len(crossed):
        return 0.0
    ray, column = crossed[0]
    size = int(problem.targets[0].sizes[column])
    direction = draw_directions(seed, range(ray, ray + 1), problem.layout.n_params)
    rows = problem.prepare(direction if shape is None else shape.apply(direction))
    rays = problem.bundle(rows, torch.float64).rays(problem.prepare(problem.minima[0]))
    points = torch.from_numpy(coefficients[ray, column] * np.exp(STEPS))
    heights = rays.means(torch.zeros(len(STEPS), dtype=torch.long), points, [size])[:, 0].numpy()
    steep = rays.means(torch.zeros(2, dtype=torch.long), points[3] * torch.tensor([0.999, 1.001]).double(), [size])[
        :, 0
    ]
    slope = float(steep[1] - steep[0]) / 0.002
    line = np.polynomial.Polynomial.fit(STEPS, heights, 1)
    scatter = float(np.std(heights - line(STEPS), ddof=2)) if np.isfinite(heights).all() else 0.0
    return problem.layout.n_params * scatter / slope if slope > 0 else 0.0
