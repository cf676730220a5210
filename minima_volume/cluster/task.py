"""A piece of a study's work: any process may compute it, and the one that holds the locks writes what comes out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Generic, Self, TypeVar

import torch

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Task(ABC, Generic[R]):
    """Work that is named by values that can travel, such as a study, a repeat and a range of directions.

    Attributes:
        shared: What many tasks need besides their names, such as trained networks. It reaches every worker once.
    """

    shared: Any = None

    @property
    @abstractmethod
    def name(self) -> str:
        """What the task is called in messages."""

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return torch.device("cpu")

    def for_worker(self) -> Self:
        """The task as a worker gets it."""
        return replace(self, shared=None)

    @abstractmethod
    def compute(self, shared: Any) -> R:
        """Return the result, without reading or writing files of results.

        Args:
            shared: The task's own `shared`, wherever it is computed.
        """

    @abstractmethod
    def write(self, result: R) -> "Task[Any] | None":
        """Write a result, and return the task that goes on from it if the work is not finished.

        Args:
            result: What `compute` returned.
        """

    def run(self) -> None:
        """Compute the task and what goes on from it, and write the results, all in this process."""
        task: Task[Any] | None = self
        while task is not None:
            task = task.write(task.compute(task.shared))
