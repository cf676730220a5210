"""The volume of any trained model in one call."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Literal

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from minima_volume.crossings.scan import Target
from minima_volume.crossings.sweep import MEMORY
from minima_volume.errors import UserError
from minima_volume.measurement import Measurement
from minima_volume.networks.adapters import Data, LossFunction, as_samples, check_model, per_sample, unfused_attention
from minima_volume.networks.losses import Metric, zero_one_loss
from minima_volume.networks.minimum import Minimum
from minima_volume.networks.parameters import Layout, Parameters, layout_of, parameters_of
from minima_volume.networks.precision import full_float32
from minima_volume.plan import Plan
from minima_volume.rays.preconditioner import Preconditioner, fit_preconditioner

# Leading directions of the curvature, where the samples have that many.
RANK = 256


def measure_volume(
    model: nn.Module,
    loss_fn: LossFunction | None,
    data: Data,
    *,
    threshold: float,
    n_directions: int = 500,
    seed: int = 0,
    metric: Metric = "loss",
    only: Callable[[str], bool] | str | None = None,
    per_layer: bool = False,
    normalise: bool = True,
    sigmas: Sequence[float] | None = None,
    preconditioner: Preconditioner | Literal["curvature"] | None = None,
    progress: bool | None = None,
    memory: int = MEMORY,
) -> Measurement:
    """The volume of the basin around a trained model, from radii along random filter-normalised directions.

    The basin holds the parameters θ* + s∘u, with s the norm of a weight's own filter (`parameters`), that a straight line
    joins to θ* on which the mean loss stays at or below `threshold`; `log_volume` is ln E[rⁿ] in nats, r the length of u
    where a ray leaves. With `metric="accuracy"` the basin is where the accuracy stays at or above `threshold`, and
    `loss_fn` may be None; outputs (N, C) are scores of the classes 0…C−1, a single column is a logit of class 1.

    `loss_fn(outputs, targets)`: one loss per sample, or a torch loss module that averages (`criteria.per_sample`).
    `data`: (inputs, targets) tensors or a loader of such pairs, held in memory. `only`: which parameters move, by a
    function of the name or a part of it; by default all, frozen ones (`requires_grad=False`) too. `per_layer`: also measure
    each layer alone. `normalise=False`: raw coordinates. `sigmas`: widths of the Gaussian profile. `preconditioner`: rays
    along A·g, of the whole model only (`preconditioned`); "curvature" takes A from the Gauss–Newton curvature at the
    minimum. `progress`: a bar on stderr, by default if that is a terminal. `memory`: bytes that the rays in flight may keep.

    Nothing of the model changes: neither weights, buffers, gradients and modes nor torch's random state and precision. A
    minimum above the threshold is no error but has the verdict "unconverged". Along a ray a loss that is NaN counts as
    above.

    Raises UserError for arguments, models or losses that cannot be measured, DataError for data, and NumericsError for
    losses at the minimum that are not finite.
    """
    threshold, seed = float(threshold), int(seed)
    _check_arguments(threshold, n_directions, metric, loss_fn, sigmas, preconditioner)
    parameters = _precise(parameters_of(model))
    layout = layout_of(parameters, only=_filter(only))
    if isinstance(preconditioner, Preconditioner) and len(preconditioner.scales) != layout.n_params:
        raise UserError(
            f"Expected a preconditioner of {layout.n_params} parameters, got one of {len(preconditioner.scales)}: make it "
            "for the parameters that move."
        )
    device = next(iter(parameters.values())).device
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), unfused_attention(), full_float32():
        samples = as_samples(data, zero_one_loss if loss_fn is None else per_sample(loss_fn), device)
        loss = check_model(model, samples, loss_fn, classes=metric == "accuracy")
        # The engine looks at the first samples first; one landscape has no order.
        samples = samples.shuffled()
        plan = Plan(
            model, samples, loss, _target(len(samples), threshold, metric), threshold, n_directions, seed, memory
        )
        layers = _layers(layout) if per_layer else {}
        if preconditioner == "curvature":
            preconditioner = _curved(plan, Minimum.of(parameters, layout, normalise=normalise), loss)
        with tqdm(total=n_directions * (1 + len(layers)), unit="ray", disable=_hidden(progress)) as bar:
            whole = plan.measured(parameters, layout, normalise, sigmas, preconditioner, bar.update)
            parts = {
                name: plan.measured(parameters, part, normalise, None, None, bar.update)
                for name, part in layers.items()
            }
    return replace(whole, layers=parts)


def _check_arguments(
    threshold: float,
    n_directions: int,
    metric: str,
    loss_fn: LossFunction | None,
    sigmas: object,
    preconditioner: object,
) -> None:
    if not isinstance(n_directions, Integral) or n_directions < 1:
        raise UserError(f"Expected a whole number of at least one direction, got n_directions={n_directions}.")
    if sigmas is not None and not (np.ndim(np.asarray(sigmas)) == 1 and (np.asarray(sigmas, dtype=float) > 0).all()):
        raise UserError(f"Expected sigmas as a sequence of widths above 0, got {sigmas}.")
    if not (preconditioner is None or preconditioner == "curvature" or isinstance(preconditioner, Preconditioner)):
        raise UserError(f"Expected preconditioner 'curvature' or a Preconditioner, got {preconditioner!r}.")
    if metric not in ("loss", "accuracy"):
        raise UserError(f"Expected metric 'loss' or 'accuracy', got '{metric}'.")
    if metric == "loss" and loss_fn is None:
        raise UserError("Expected a loss function, got None: pass one, or metric='accuracy'.")
    if metric == "loss" and not 0 < threshold < math.inf:
        raise UserError(
            f"Expected a finite threshold above 0, got {threshold}: add a constant to a loss that has none."
        )
    if metric == "accuracy" and not 0 < threshold <= 1:
        raise UserError(f"Expected an accuracy above 0 and up to 1 as threshold, got {threshold}.")


def _curved(plan: Plan, minimum: Minimum, loss: float) -> Preconditioner | None:
    """A from the curvature at the minimum; None for an unconverged one, which has no basin to fit."""
    if plan.target.metric == "accuracy":
        raise UserError(
            "Expected metric='loss' with preconditioner='curvature', got 'accuracy': its steps have no curvature."
        )
    rise = plan.threshold - loss
    return fit_preconditioner(plan.model, minimum, plan.samples, threshold=rise, rank=RANK) if rise > 0 else None


def _target(size: int, threshold: float, metric: Metric) -> Target:
    """The boundary; for an accuracy half a sample above the largest number of mistakes that it allows."""
    if metric == "loss":
        return Target(size, threshold)
    allowed = math.floor((1 - threshold) * size + 1e-9)
    return Target(size, (allowed + 0.5) / size, metric)


def _precise(parameters: Parameters) -> Parameters:
    """Half precision widened, so that filter norms and steps keep their digits."""
    half = (torch.float16, torch.bfloat16)
    return {name: value.float() if value.dtype in half else value for name, value in parameters.items()}


def _filter(only: Callable[[str], bool] | str | None) -> Callable[[str], bool]:
    if only is None:
        return lambda name: True
    return (lambda name: only in name) if isinstance(only, str) else only


def _layers(layout: Layout) -> dict[str, Layout]:
    """The layout of each module that owns parameters, by the module's name, and of each parameter outside of one."""
    owners = {name: name.rpartition(".")[0] or name for name, _ in layout.shapes}
    return {
        owner: Layout(tuple((name, shape) for name, shape in layout.shapes if owners[name] == owner))
        for owner in sorted(set(owners.values()))
    }


def _hidden(progress: bool | None) -> bool | None:
    """tqdm's `disable`: None hides the bar where stderr is no terminal."""
    return None if progress is None else not progress
