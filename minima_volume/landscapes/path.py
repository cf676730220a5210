"""Curved paths of low loss between two models (Garipov et al. 2018)."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from minima_volume.crossings.sweep import MEMORY
from minima_volume.errors import NumericsError, UserError
from minima_volume.landscapes import basis
from minima_volume.landscapes.landscape import Landscape, parameters_of_model
from minima_volume.landscapes.line import Line
from minima_volume.landscapes.node_losses import Floats
from minima_volume.landscapes.subspace import Subspace
from minima_volume.landscapes.survey import losses_of, survey
from minima_volume.networks.adapters import Data, LossFunction
from minima_volume.networks.arguments import Names, as_count
from minima_volume.networks.directions import generator
from minima_volume.networks.float64 import evaluation
from minima_volume.networks.objective import SampleObjective, fresh_tensors, losses_and_weights
from minima_volume.networks.parameters import Parameters
from minima_volume.networks.surroundings import plain_surroundings
from minima_volume.networks.user_model import plain_module

Bend = Literal["bezier", "polygon"]
# Adam moves every weight by up to the rate in one step, so a larger one only overflows.
LARGEST_RATE = 1e30


@dataclass(frozen=True, eq=False, kw_only=True)
class Curve(Line):
    """Losses along a curved path φ(t) from A over a bend to B; see `Line` for the other attributes.

    Attributes:
        bend: "bezier" or "polygon".
        model: The first model's copy, which `model_at` moves.
        ends: Parameters of A, of the bend and of B by name.
    """

    bend: Bend
    model: nn.Module
    ends: tuple[Parameters, Parameters, Parameters]

    def model_at(self, t: float) -> nn.Module:
        """Return a copy of the model at φ(t), for `measure_volume` and everything else that takes a model.

        Args:
            t: Fraction of the way, 0 to 1.
        """
        copy = deepcopy(self.model)
        weights = weights_at(np.array([t]), self.bend)[0]
        a, middle, b = self.ends
        with torch.no_grad():
            for name, parameter in copy.named_parameters():
                if name in middle:
                    parts = zip(weights, (a[name], middle[name], b[name]), strict=True)
                    parameter.copy_(sum((w * part.double() for w, part in parts), torch.zeros(())).to(parameter))
        return copy


def weights_at(t: Floats, bend: Bend) -> Floats:
    """Return the weights (points, 3) of A, the bend and B at t (points,); they add up to 1.

    Args:
        t: Fractions of the way.
        bend: "bezier" for the quadratic Bézier curve (1−t)²A + 2t(1−t)θ + t²B; "polygon" for straight lines from A to θ and
            from θ to B.

    Example:
        >>> import numpy as np
        >>> weights_at(np.array([0.5]), "bezier")
        array([[0.25, 0.5 , 0.25]])
    """
    if bend == "bezier":
        return np.stack([(1 - t) ** 2, 2 * t * (1 - t), t**2], axis=1)
    first, second = np.clip(1 - 2 * t, 0, 1), np.clip(2 * t - 1, 0, 1)
    return np.stack([first, 1 - first - second, second], axis=1)


def loss_path(
    a: nn.Module,
    b: Any,
    loss: LossFunction | None,
    data: Data,
    *,
    bend: Bend = "bezier",
    steps: int = 1000,
    learning_rate: float = 0.01,
    batch_size: int = 128,
    nodes: int = 51,
    sizes: Sequence[int] | None = None,
    only: Names = None,
    seed: int = 0,
    keep: str | Path | None = None,
    progress: bool | None = None,
    memory: int = MEMORY,
) -> Curve:
    """Train a bend θ so that the mean loss along a path from A over θ to B is low, and evaluate the loss along it.

    The bend starts in the middle of A and B and minimises the loss averaged over t ~ U(0, 1) by Adam with a learning rate
    that falls to 0. The models stay as they are.

    Args:
        a: A trained model in evaluation mode.
        b: Another model of the same architecture, or its state dict.
        loss: Loss function, loss module or closure; see `measure_volume`.
        data: (inputs, targets) tensors, a data set, a loader, or any batches for a closure.
        bend: "bezier" for a quadratic Bézier curve, "polygon" for two straight lines.
        steps: Steps of training.
        learning_rate: First learning rate of Adam.
        batch_size: Samples in a step; a closure gets its own batches.
        nodes: Number of points at which the loss is evaluated.
        sizes: Numbers of samples whose mean losses are read off in the same pass.
        only: Which parameters move; see `measure_volume`. The others are those of `a`.
        seed: Seed of batches and of t.
        keep: An .npz file in which evaluated points are kept. The bend is trained again, to the same numbers.
        progress: Whether to show a bar on stderr; by default if that is a terminal.
        memory: Bytes that activations and the data of a loader may each take; 384 MiB by default.

    Returns:
        Losses along the path; `inside(τ)` tells whether it stays in the basin, `model_at(t)` returns its models.

    Raises:
        UserError: Models, a loss or arguments that cannot be used.
        NumericsError: Training the bend diverged.

    Example:
        The loss (v·w − 1)² of two weights in a row is 0 along a hyperbola, which the straight line leaves:

        >>> import torch
        >>> from minima_volume import loss_line, loss_path
        >>> a, b = (torch.nn.Sequential(*(torch.nn.Linear(1, 1, bias=False) for _ in range(2))) for _ in range(2))
        >>> with torch.no_grad():
        ...     for parameter, value in zip([*a.parameters(), *b.parameters()], (0.5, 2.0, 2.0, 0.5)):
        ...         _ = parameter.fill_(value)
        >>> loss, data = torch.nn.MSELoss(), (torch.ones(4, 1), torch.ones(4, 1))
        >>> straight = loss_line(a, b, loss, data, progress=False)
        >>> curve = loss_path(a, b, loss, data, steps=200, learning_rate=0.05, progress=False)
        >>> straight.inside(0.1), curve.inside(0.1)
        (False, True)
    """
    if bend not in ("bezier", "polygon"):
        raise UserError(f"Expected bend 'bezier' or 'polygon', got {bend!r}: pass one of them.")
    if not 0 < learning_rate <= LARGEST_RATE:
        raise UserError(
            f"Expected a learning_rate above 0 and at most {LARGEST_RATE:g}, got {learning_rate!r}: pass such a number."
        )
    steps, batch_size, nodes = (
        as_count(steps, "steps", 1),
        as_count(batch_size, "batch_size", 1),
        as_count(nodes, "nodes", 2),
    )
    model, t = plain_module(a), np.linspace(0, 1, nodes)
    with plain_surroundings(model):
        landscape = Landscape(model, loss, data, only=only, memory=memory)
        start, layout = landscape.minimum.parameters, landscape.minimum.layout
        end = parameters_of_model(b, "the second model", start)
        ones = torch.ones(layout.n_params, dtype=torch.float64, device=landscape.minimum.scales.device)
        way = basis.displacement(start, end, layout, ones)
        middle = _train(landscape, way, bend, steps, learning_rate, batch_size, seed)
        subspace = Subspace(start, layout, torch.stack([middle, way]))
        sizes = landscape.as_sizes(sizes)
        found = survey(landscape, subspace, weights_at(t, bend)[:, 1:], sizes, keep=keep, progress=progress)
    moved = subspace.at(torch.tensor([1.0, 0.0]))
    fine = np.diff(weights_at(np.linspace(0, 1, 1001), bend)[:, 1:], axis=0)
    steps_along = torch.from_numpy(fine).to(middle) @ subspace.axes
    return Curve(
        t=t, length=float(steps_along.norm(dim=1).sum()), bend=bend, model=deepcopy(model), ends=(start, moved, end),
        **losses_of(landscape, found, sizes, (len(t),)),
    )  # fmt: skip


def _train(
    landscape: Landscape, way: Tensor, bend: Bend, steps: int, learning_rate: float, batch_size: int, seed: int
) -> Tensor:
    """Return the bend (n,), seen from A, after training; its gradient at φ(t) is the share of the bend in φ times ∇L."""
    copy, minimum = landscape.copy, landscape.minimum
    copy.convert(landscape.user.dtype)
    named, layout = dict(copy.module.named_parameters()), minimum.layout
    moving = [(named[name].requires_grad_(), minimum.parameters[name].to(named[name])) for name, _ in layout.shapes]
    middle = (way / 2).to(copy.device, copy.dtype)
    straight = way.to(middle)
    adam = torch.optim.Adam([middle.requires_grad_()], learning_rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    draw = generator("path", seed)
    try:
        for step in range(steps):
            _, share, end = weights_at(torch.rand(1, generator=draw).double().numpy(), bend)[0]
            with torch.no_grad():
                point = layout.split(share * middle + end * straight)
                for (parameter, base), (name, _) in zip(moving, layout.shapes, strict=True):
                    parameter.copy_(base + point[name])
            with evaluation(copy.dtype, grad=True):
                loss = _batch_loss(landscape, step, batch_size, draw)
            slopes = torch.autograd.grad(loss, [parameter for parameter, _ in moving])
            middle.grad = share * torch.cat([slope.flatten() for slope in slopes])
            adam.step()
            falling.step()
    finally:
        copy.module.requires_grad_(False)
    if not middle.isfinite().all():
        raise NumericsError("Expected a bend that can be trained, got NaN: choose a smaller learning_rate.")
    return middle.detach().double()


def _batch_loss(landscape: Landscape, step: int, batch_size: int, draw: torch.Generator) -> Tensor:
    """Return the mean loss of one batch at the present point of the private copy."""
    objective, copy = landscape.user.objective, landscape.copy
    if isinstance(objective, SampleObjective):
        rows = torch.randint(len(objective.samples), (batch_size,), generator=draw)
        part = objective.samples.take(rows.to(objective.samples.inputs.device))
        outputs = copy.module(fresh_tensors(part.inputs, copy))
        return part.criterion(outputs[None], part.targets.to(copy.device)).mean()
    batches = list(objective.batches)
    losses, weights = losses_and_weights(
        objective.closure(copy.module, fresh_tensors(batches[step % len(batches)], copy))
    )
    return losses.mean() if weights is None else (losses * weights).sum() / weights.sum()
