"""Draws of somebody's model, evaluated one batch after another or on the workers of a cluster."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from minima_volume.cluster.engine import Cluster
from minima_volume.cluster.task import Task
from minima_volume.crossings.model_problem import ModelProblem
from minima_volume.crossings.packed import Packed
from minima_volume.networks.directions import draw_directions
from minima_volume.networks.losses import Kind
from minima_volume.networks.surroundings import plain_surroundings


def draws_inside(
    problem: ModelProblem, n_draws: int, seed: int, widths: Sequence[float], cluster: Cluster | None = None
) -> NDArray[np.bool_]:
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
    size, parts = problem.batch_for(n_draws), dict[int, NDArray[np.bool_]]()
    shared = problem if cluster is None else Packed.of(*problem.arguments)
    batches = [
        _DrawBatch(
            seed=seed,
            start=start,
            stop=min(start + size, n_draws),
            widths=tuple(widths),
            parts=parts,
            here=problem,
            shared=shared,
        )
        for start in range(0, n_draws, size)
    ]
    if cluster is None:
        for batch in batches:
            batch.run()
    elif cluster.workers:
        cluster.each(batches, unit="batches", label="draws", hidden=True)
    return np.concatenate([parts[batch.start] for batch in batches])


@dataclass(frozen=True, kw_only=True)
class _DrawBatch(Task[tuple[NDArray[np.bool_], bool]]):
    """Which of some draws lie inside."""

    seed: int
    start: int
    stop: int
    widths: tuple[float, ...]
    # In the process that asked: draws inside by the first one of a batch, and the sweep.
    parts: dict[int, NDArray[np.bool_]] | None = None
    here: ModelProblem | None = None

    @property
    def name(self) -> str:
        return f"draws {self.start} to {self.stop - 1}"

    def travelling(self) -> "_DrawBatch":
        return replace(self, shared=None, parts=None, here=None)

    def compute(self, shared: Any) -> tuple[NDArray[np.bool_], bool]:
        if not isinstance(shared, Packed):
            return self.inside(shared), False
        with shared.opened() as (problem, _), plain_surroundings(problem.user.model):
            problem.failures.clear()
            return self.inside(problem), bool(problem.failures)

    def inside(self, problem: ModelProblem) -> NDArray[np.bool_]:
        target = problem.targets[0]
        kind: Kind = "loss" if target.is_loss[0] else "error_rate"
        block = draw_directions(self.seed, range(self.start, self.stop), problem.layout.n_params)
        rays = problem.bundle(block, problem.dtype).rays(problem.minima[0], target.largest)
        index = torch.arange(len(block)).repeat_interleave(len(self.widths))
        c = torch.tensor(self.widths, dtype=torch.float64).repeat(len(block))
        means = rays.means(index, c, [target.largest], kind)[:, 0].numpy()
        inside: NDArray[np.bool_] = (means <= target.thresholds[0]).reshape(len(block), len(self.widths))
        return inside

    def write(self, result: tuple[NDArray[np.bool_], bool]) -> None:
        if self.parts is not None and self.here is not None:
            # A model that failed on a worker might run here at these points.
            self.parts[self.start] = self.inside(self.here) if result[1] else result[0]
