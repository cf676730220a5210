"""Batches of directions of somebody's model, computed one after another here or on the workers of a cluster."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from minima_volume.cluster.engine import Cluster
from minima_volume.cluster.task import Task
from minima_volume.crossings.model_problem import ModelProblem
from minima_volume.crossings.packed import Packed
from minima_volume.rays.preconditioner import Preconditioner

R = TypeVar("R")


@dataclass(frozen=True)
class Home:
    """What stays in the process that asks.

    Attributes:
        problem: The sweep.
        shape: Preconditioner of the directions.
        collect: Called with the first direction of a batch and its result.
    """

    problem: ModelProblem
    shape: Preconditioner | None
    collect: Callable[[int, Any], object]


@dataclass(frozen=True, kw_only=True)
class ModelBatch(Task[tuple[R, bool]], Generic[R]):
    """Something that is computed along some directions of one minimum.

    Attributes:
        seed: Seed of the directions.
        start: Number of the first direction.
        stop: Number after the last one.
        home: What stays in the process that asks; None on a worker.
    """

    seed: int
    start: int
    stop: int
    home: Home | None = None

    @abstractmethod
    def follow(self, problem: ModelProblem, shape: Preconditioner | None) -> R:
        """Return the result.

        Args:
            problem: The sweep.
            shape: Preconditioner of the directions.
        """

    def for_worker(self) -> "ModelBatch[R]":
        """The batch without what stays here."""
        return replace(self, shared=None, home=None)

    def compute(self, shared: Any) -> tuple[R, bool]:
        """Return the result, and whether the model failed at some points on a worker.

        Args:
            shared: The sweep on a worker, as `Packed`.
        """
        if self.home is not None:
            return self.follow(self.home.problem, self.home.shape), False
        with shared.unpack() as (problem, shape):
            return self.follow(problem, shape), bool(problem.failures)

    def write(self, result: tuple[R, bool]) -> None:
        """Collect the result; one with failures is computed again here, where the model might run at these points.

        Args:
            result: What `compute` returned.
        """
        value, failed = result
        if self.home is not None:
            self.home.collect(self.start, self.follow(self.home.problem, self.home.shape) if failed else value)


def compute_batches(batches: Sequence[ModelBatch[Any]], home: Home, cluster: Cluster | None) -> None:
    """Compute batches and collect their results.

    Args:
        batches: In any order.
        home: What stays here.
        cluster: Whose workers compute them, in any order; by default this process, one after another.
    """
    if cluster is None:
        for batch in batches:
            replace(batch, home=home).run()
    elif batches:
        shared = Packed.of(*home.problem.arguments, home.shape)
        cluster.each(
            [replace(batch, home=home, shared=shared) for batch in batches],
            unit="batches",
            label="directions",
            hidden=True,
        )
