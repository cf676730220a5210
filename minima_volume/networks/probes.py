"""A few numbers by which a loss on its data is known again: in a kept file, and in another process.

The mean loss at the minimum does not suffice: every divergence is 0 there, an accuracy is a count, and a network may fit two
data sets exactly.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from minima_volume.errors import UserError, is_machine_error
from minima_volume.networks.directions import draw_directions
from minima_volume.networks.losses import Metric, zero_one_loss
from minima_volume.networks.minimum import Minimum
from minima_volume.networks.objective import SampleObjective
from minima_volume.networks.private_copy import PrivateCopy
from minima_volume.networks.user_model import UserModel

# Coefficients of the points along one direction: the minimum, near and far from it, and where rays end.
COEFFICIENTS = (0.0, 0.05, 0.3, 1.0)
# Part by which means may differ between processors and numbers of threads, and the digits that a hash holds, by precision.
TOLERANCES, DIGITS = {torch.float64: 1e-9, torch.float32: 1e-5}, {torch.float64: 7, torch.float32: 4}

Mean = float | None  # None where the model fails, or where outputs are not at hand


@dataclass(frozen=True)
class Probe:
    """Means over all samples at the points of `COEFFICIENTS`.

    Attributes:
        losses: Mean losses, or error rates for an accuracy.
        outputs: Mean squares of the outputs.
        n_samples: Number of samples.
        dtype: Precision of the forward pass.
        mistakes: Whether the losses are error rates, in which single samples may differ away from the minimum.
    """

    losses: tuple[Mean, ...]
    outputs: tuple[Mean, ...]
    n_samples: int
    dtype: torch.dtype
    mistakes: bool

    def agrees(self, other: "Probe") -> bool:
        """Return whether another probe is of the same function, up to rounding; where one of them fails says nothing."""
        part = TOLERANCES[self.dtype]
        slack = [part + (2 / self.n_samples if self.mistakes and c else 0.0) for c in COEFFICIENTS]
        pairs = [
            *zip(self.losses, other.losses, slack, strict=True),
            *((a, b, part) for a, b in zip(self.outputs, other.outputs, strict=True)),
        ]
        return self.n_samples == other.n_samples and all(_close(a, b, part, most) for a, b, most in pairs)

    def __str__(self) -> str:
        known = [value for value in (*self.losses, *self.outputs) if value is not None]
        return "; ".join(f"{value:.{DIGITS[self.dtype]}g}" for value in (*known, self.n_samples))


def _close(a: Mean, b: Mean, part: float, most: float) -> bool:
    """Return whether two means are equal up to rounding."""
    return a is None or b is None or (a != a and b != b) or math.isclose(a, b, rel_tol=part, abs_tol=most)


@torch.no_grad()
def probe(user: UserModel, minimum: Minimum, metric: Metric) -> Probe:
    """Evaluate a loss on its data at a minimum and at three points beside it.

    Args:
        user: The model with its loss and data.
        minimum: Where the points lie, with what moves.
        metric: What is evaluated.
    """
    copy = PrivateCopy(user.model, user.device, user.final_dtype)
    (direction,) = draw_directions(0, [0], minimum.layout.n_params)
    direction, found = direction.to(user.device), []
    for c in COEFFICIENTS:
        copy.move(minimum, direction, c)
        try:
            found.append(_means(user, copy, metric))
        except Exception as error:  # somebody's model may fail away from its minimum, as along a ray
            if c == 0.0 or isinstance(error, UserError) or is_machine_error(error):
                raise
            found.append((None, None))
    losses, outputs = zip(*found, strict=True)
    return Probe(losses, outputs, user.objective.n_samples, user.final_dtype, mistakes=metric == "accuracy")


def _means(user: UserModel, copy: PrivateCopy, metric: Metric) -> tuple[Mean, Mean]:
    """Return the mean loss at the present point of a copy, and the mean square of its outputs."""
    objective, mistakes = user.objective, metric == "accuracy"
    if not isinstance(objective, SampleObjective):
        batches = objective.losses(copy, [objective.n_samples], "error_rate" if mistakes else "loss")
        return math.fsum(float(values.double().sum()) for values in batches) / objective.n_samples, None
    total = squares = 0.0
    for start in range(0, objective.n_samples, objective.tile):
        part = objective.samples.part(start, min(start + objective.tile, objective.n_samples))
        outputs = objective.outputs(copy, part.inputs)
        criterion = zero_one_loss if mistakes else part.criterion
        total += float(criterion(outputs[None], part.targets.to(outputs.device)).double().sum())
        squares += float(outputs.double().square().mean()) * len(part)
    return total / objective.n_samples, squares / objective.n_samples


def data_hash(user: UserModel, metric: Metric) -> str:
    """Return a hash of the numbers and texts in the data, in their order."""
    objective, total = user.objective, sha256()
    if isinstance(objective, SampleObjective):
        # The targets of a divergence are the model's own outputs, whose last digits vary.
        samples = objective.samples
        batches: Iterable[Any] = [samples.inputs] if metric == "kl" else [(samples.inputs, samples.targets)]
    else:
        batches = objective.batches
    for leaf in (leaf for batch in batches for leaf in tree_leaves(batch)):
        if isinstance(leaf, Tensor):
            for part in _parts(leaf.detach()):
                total.update(f"{part.dtype} {tuple(part.shape)}".encode())
                total.update(part.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        elif isinstance(leaf, np.ndarray | np.generic):
            total.update(np.ascontiguousarray(leaf).tobytes())
        elif isinstance(leaf, int | float | str | bytes):
            total.update(repr(leaf).encode())
    return total.hexdigest()


def _parts(tensor: Tensor) -> tuple[Tensor, ...]:
    """Return what a tensor holds as dense tensors; nothing for the rarer layouts."""
    if tensor.layout == torch.sparse_coo:
        joined = tensor.coalesce()
        return joined.indices(), joined.values()
    return (tensor,) if tensor.layout == torch.strided else ()
