"""Draws of somebody's model: which of them lie inside the basin."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from minima_volume.cluster.engine import Cluster
from minima_volume.crossings.model_batches import Home, ModelBatch, compute_batches
from minima_volume.crossings.model_problem import ModelProblem
from minima_volume.networks.directions import draw_directions
from minima_volume.networks.losses import Kind
from minima_volume.rays.preconditioner import Preconditioner

Inside = NDArray[np.bool_]


def draws_inside(
    problem: ModelProblem, n_draws: int, seed: int, widths: Sequence[float], cluster: Cluster | None = None
) -> Inside:
    """Return which draws lie inside the basin: a draw of width σ is the point c = σ of its direction's ray.

    Args:
        problem: One minimum with one target.
        n_draws: Number of draws.
        seed: Seed of the draws.
        widths: Widths σ.
        cluster: Whose workers evaluate them; by default this process.

    Returns:
        Booleans (draws, widths).
    """
    size, parts = problem.batch_for(n_draws), dict[int, Inside]()
    batches = [
        _DrawBatch(seed=seed, start=start, stop=min(start + size, n_draws), widths=tuple(widths))
        for start in range(0, n_draws, size)
    ]
    compute_batches(batches, Home(problem, None, parts.__setitem__), cluster)
    return np.concatenate([parts[batch.start] for batch in batches])


@dataclass(frozen=True, kw_only=True)
class _DrawBatch(ModelBatch[Inside]):
    """Which of some draws lie inside."""

    widths: tuple[float, ...]

    @property
    def name(self) -> str:
        return f"draws {self.start} to {self.stop - 1}"

    def follow(self, problem: ModelProblem, shape: Preconditioner | None) -> Inside:
        target = problem.targets[0]
        kind: Kind = "loss" if target.is_loss[0] else "error_rate"
        block = draw_directions(self.seed, range(self.start, self.stop), problem.layout.n_params)
        rays = problem.bundle(block, problem.dtype).rays(problem.minima[0], target.largest)
        index = torch.arange(len(block)).repeat_interleave(len(self.widths))
        c = torch.tensor(self.widths, dtype=torch.float64).repeat(len(block))
        means = rays.means(index, c, [target.largest], kind)[:, 0].numpy()
        inside: Inside = (means <= target.thresholds[0]).reshape(len(block), len(self.widths))
        return inside
