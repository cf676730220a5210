"""What a landscape averages, evaluated batch by batch on a private copy of a model."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from minima_volume.errors import DataError, UserError
from minima_volume.networks.float64 import evaluation
from minima_volume.networks.losses import Criterion, Kind, zero_one_loss
from minima_volume.networks.minimum import Samples
from minima_volume.networks.private_copy import PrivateCopy

# (model, batch) -> losses (N,) or (N, …), or a pair of them and of weights of the same shape.
Closure = Callable[[Any, Any], Any]


class Objective(ABC):
    """A mean of losses or errors over data.

    Attributes:
        n_samples: Number of samples; the height of the landscape is the sum of all losses divided by this.
        grad: Whether the model needs gradients to be enabled, because it differentiates inside.
    """

    n_samples: int
    grad: bool = False

    def losses(self, copy: PrivateCopy, sizes: Sequence[int], kind: Kind = "loss") -> Iterator[Tensor]:
        """Evaluate the losses of one batch after another.

        Args:
            copy: Model at some point.
            sizes: Numbers of samples, ascending, at which batches end; the last one is how many are evaluated.
            kind: What is evaluated.

        Returns:
            Losses (batch,) whose sum over all batches, divided by the number of samples, is the mean.
        """
        for values_of in self._batches(sizes, kind):
            with evaluation(copy.dtype, grad=self.grad):
                values = values_of(copy).detach()
            yield values

    @abstractmethod
    def with_gradients(self) -> "Objective":
        """Return the same objective with gradients enabled."""

    @abstractmethod
    def _batches(self, sizes: Sequence[int], kind: Kind) -> Iterator[Callable[[PrivateCopy], Tensor]]:
        """Return one function for each batch, which returns its losses (batch,) on a copy of the model."""


@dataclass(frozen=True)
class SampleObjective(Objective):
    """The mean over samples of a criterion of a model's outputs and targets.

    Attributes:
        samples: Inputs, targets and criterion.
        tile: Samples that are evaluated together.
        grad: Whether gradients are enabled.
    """

    samples: Samples
    tile: int
    grad: bool = False

    @property
    def n_samples(self) -> int:  # type: ignore[override]  # a field of the other objective, follows from the samples here
        """Number of samples."""
        return len(self.samples)

    def with_gradients(self) -> "SampleObjective":
        """Return the same objective with gradients enabled."""
        return replace(self, grad=True)

    def outputs(self, copy: PrivateCopy, inputs: Tensor) -> Tensor:
        """Return the outputs (N, …) of a copy."""
        with evaluation(copy.dtype, grad=self.grad):
            return self._outputs(copy, inputs).detach()

    def _outputs(self, copy: PrivateCopy, inputs: Tensor) -> Tensor:
        """Evaluate inputs; a single one twice, so that a model which squeezes its outputs keeps the axis of samples."""
        fresh = fresh_tensors(inputs if len(inputs) > 1 else inputs.expand(2, *inputs.shape[1:]), copy)
        return as_tensor(copy.module(fresh))[: len(inputs)]

    def _batches(self, sizes: Sequence[int], kind: Kind) -> Iterator[Callable[[PrivateCopy], Tensor]]:
        criterion = self.samples.criterion if kind == "loss" else zero_one_loss
        for start, stop in pairwise(sorted({*range(0, sizes[-1], self.tile), *sizes})):
            part = self.samples.part(start, stop)
            yield partial(self._losses, criterion, part)

    def _losses(self, criterion: Criterion, part: Samples, copy: PrivateCopy) -> Tensor:
        """Return the losses (batch,) of some samples."""
        return criterion(self._outputs(copy, part.inputs)[None], part.targets.to(copy.device))[0]


@dataclass(frozen=True)
class ClosureObjective(Objective):
    """The mean of the losses that a closure (model, batch) returns.

    Attributes:
        closure: Returns losses (N,) or (N, …), or (losses, weights) of equal shape.
        batches: The batches, which can be read again and again.
        n_samples: Number of samples in all batches.
        scale: Number of samples divided by the sum of all weights; 1 without weights.
        errors: Returns 1 for wrong predictions and 0 elsewhere, if the model has classes.
        grad: Whether gradients are enabled.
    """

    closure: Closure
    batches: Iterable[Any]
    n_samples: int = 1
    scale: float = 1.0
    errors: Closure | None = None
    grad: bool = False

    def _batches(self, sizes: Sequence[int], kind: Kind) -> Iterator[Callable[[PrivateCopy], Tensor]]:
        closure = self.closure if self.errors is None or kind == "loss" else self.errors
        for batch in self.batches:
            yield partial(self._terms, closure, batch=batch)

    def _terms(self, closure: Closure, copy: PrivateCopy, batch: Any) -> Tensor:
        """Return what one batch adds to the sum, per sample."""
        losses, weights = _call(closure, copy, batch)
        if weights is None:
            return losses if losses.ndim == 1 else losses.flatten(1).mean(dim=1)
        # A loss of weight 0 may be anything, NaN included.
        terms = torch.where(weights == 0, torch.zeros_like(losses), losses * weights)
        return self.scale * (terms if terms.ndim == 1 else terms.flatten(1).sum(dim=1))

    def with_gradients(self) -> "ClosureObjective":
        """Return the same objective with gradients enabled."""
        return replace(self, grad=True)

    def counted(self, copy: PrivateCopy) -> "ClosureObjective":
        """Return this objective with its numbers of samples and its scale, from one pass over the batches."""
        samples, total, weighted = 0, math.nan, set[bool]()
        for batch in self.batches:
            with evaluation(copy.dtype, grad=self.grad):
                losses, weights = _call(self.closure, copy, batch)
            samples += len(losses)
            weighted.add(weights is not None)
            if weights is not None:
                total = (0.0 if math.isnan(total) else total) + float(weights.sum())
        if len(weighted) > 1:
            raise UserError("Expected a closure that returns weights always or never, got both: return weights of 1.")
        if not samples or total <= 0:
            raise DataError(
                f"Expected at least one sample with a weight above 0, got {samples} samples of total weight {total:g}: "
                "check the data."
            )
        return replace(self, n_samples=samples, scale=1.0 if math.isnan(total) else samples / total)


# What a user's loss and data make.
DataObjective = SampleObjective | ClosureObjective


def _call(closure: Closure, copy: PrivateCopy, batch: Any) -> tuple[Tensor, Tensor | None]:
    """Return the losses and weights of one batch."""
    return losses_and_weights(closure(copy.module, fresh_tensors(batch, copy)))


def losses_and_weights(returned: Any) -> tuple[Tensor, Tensor | None]:
    """Return the losses and weights that a closure returned.

    Raises:
        UserError: It returned something else.
    """
    losses, weights = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, None)
    if not isinstance(losses, Tensor) or losses.ndim == 0 or losses.is_complex():
        got = "a single number" if isinstance(losses, Tensor) else type(losses).__name__
        raise UserError(
            f"Expected a closure (model, batch) that returns one loss per sample, shaped (N,), got {got}: return the losses "
            "before they are averaged, or (losses, weights)."
        )
    if weights is not None and (not isinstance(weights, Tensor) or weights.shape != losses.shape):
        shape = tuple(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
        raise UserError(
            f"Expected weights shaped {tuple(losses.shape)} like the losses, got {shape}: return one for each."
        )
    losses = losses if losses.is_floating_point() else losses.float()  # mistakes are bools
    return losses, None if weights is None else weights.to(losses)


def as_tensor(out: object) -> Tensor:
    """Return the output of a model; raise UserError if it is not a tensor."""
    if not isinstance(out, Tensor):
        raise UserError(
            f"Expected the model to return a tensor, got {type(out).__name__}: wrap it in a module that returns its logits, "
            "or pass a closure (model, batch) -> losses."
        )
    return out


def fresh_tensors(batch: Any, copy: PrivateCopy) -> Any:
    """Return copies of all tensors of a batch in the precision and on the device of a model, which may write into them.

    Args:
        batch: Tensors in any nest of lists, tuples and dictionaries.
        copy: The model that will be called.
    """

    def fresh(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        dtype = (
            copy.dtype.to_complex() if value.is_complex() else copy.dtype if value.is_floating_point() else value.dtype
        )
        return value.detach().to(copy.device, dtype, copy=True)

    return tree_map(fresh, batch)
