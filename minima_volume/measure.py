"""The volume of any trained model in one call: check the arguments, follow the rays, judge the volume."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from minima_volume.crossings.continuation import STEP_RTOL
from minima_volume.crossings.problem import SweepProblem, tolerance_for
from minima_volume.crossings.scan import Target, Targets
from minima_volume.crossings.sweep import MEMORY, cross_block
from minima_volume.errors import NumericsError, UserError
from minima_volume.estimators.diagnostics import diagnose, unconverged_verdict
from minima_volume.estimators.gaussian import gaussian_profile
from minima_volume.estimators.radial import Floats
from minima_volume.estimators.volume import Volume, estimate_volume, log_radii
from minima_volume.measurement import Measurement
from minima_volume.networks.adapters import (
    Data,
    LossFunction,
    as_samples,
    check_model,
    per_sample,
    unfused_attention,
)
from minima_volume.networks.arguments import name_filter, split_by_layer, widen_half_precision
from minima_volume.networks.directions import direction_norms, draw_directions
from minima_volume.networks.losses import Metric, zero_one_loss
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import layout_of, parameters_of
from minima_volume.networks.precision import full_float32
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
    """Measure the volume of the basin around a trained model, along random filter-normalised directions.

    The basin is the set of parameters θ* + s∘u that a straight line joins to θ* on which the mean loss stays at or below
    the threshold. The scale s of a weight is the norm of its own filter, and 1 for biases. With r the length of u where a
    ray leaves the basin, the volume is V_ball(n)·E[rⁿ], and the result holds ln E[rⁿ] in nats.

    Nothing of the model changes: neither weights, buffers, gradients and modes nor torch's random state and precision. A
    minimum above the threshold has the verdict "unconverged" and no volume. A loss that is NaN counts as above.

    Args:
        model: A trained model in evaluation mode.
        loss_fn: A function of outputs and targets that returns one loss per sample, or a torch loss module that averages.
            May be None with `metric="accuracy"`.
        data: (inputs, targets) tensors, or a loader of such pairs, which is held in memory.
        threshold: The mean loss at which the basin ends, in the unit of `loss_fn`; or the lowest accuracy.
        n_directions: Number of random directions.
        seed: Seed of the directions. Measurements with the same seed share their directions.
        metric: "loss", or "accuracy" for the basin in which the accuracy stays at or above the threshold. Outputs (N, C)
            are then scores of the classes 0…C−1; a single column is a logit of class 1.
        only: Which parameters move: a function of the name, or a part of it. By default all, frozen ones too.
        per_layer: Also measure each layer alone.
        normalise: Whether coordinates are filter-normalised; raw ones otherwise.
        sigmas: Widths of the Gaussian profile ln γ_σ in filter units; by default around the median radius.
        preconditioner: Shapes the directions of the whole model; "curvature" fits it to the Gauss–Newton curvature.
        progress: Whether to show a bar on stderr; by default if that is a terminal.
        memory: Bytes that the rays in flight may keep; 384 MiB by default.

    Returns:
        The volume with its error and verdict, the Gaussian profile, and every radius.

    Raises:
        UserError: Arguments, a model or a loss that cannot be measured.
        DataError: Data that are empty or not pairs of tensors of equal length.
        NumericsError: Losses at the minimum that are not finite.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from minima_volume import measure_volume
        >>> inputs = torch.eye(3)
        >>> model = nn.Linear(3, 1, bias=False)
        >>> with torch.no_grad():
        ...     _ = model.weight.copy_(torch.tensor([[1.0, 2.0, 2.0]]))
        >>> result = measure_volume(model, nn.MSELoss(), (inputs, model(inputs).detach()), threshold=0.03)
        >>> round(result.log_volume, 2)  # a ball of radius √(3·0.03)/3 in filter units: 3 ln 0.1
        -6.91
        >>> result.verdict.word
        'converged'
    """
    threshold, seed = float(threshold), int(seed)
    _check_arguments(threshold, n_directions, metric, loss_fn, sigmas, preconditioner)
    parameters = widen_half_precision(parameters_of(model))
    layout = layout_of(parameters, only=name_filter(only))
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
        # Float32 is checked on the first samples; shuffled ones stand for all.
        samples = samples.shuffled()
        target = _target(len(samples), threshold, metric)
        task = _Task(model, samples, loss, target, threshold, n_directions, seed, memory)
        minimum = Minimum.of(parameters, layout, normalise=normalise)
        if preconditioner == "curvature":
            preconditioner = _from_curvature(task, minimum)
        layers = split_by_layer(layout) if per_layer else {}
        with tqdm(total=n_directions * (1 + len(layers)), unit="ray", disable=_hidden(progress)) as bar:
            whole = _measure(task, minimum, sigmas, preconditioner, bar.update)
            parts = {
                name: _measure(task, Minimum.of(parameters, part, normalise=normalise), None, None, bar.update)
                for name, part in layers.items()
            }
    return replace(whole, layers=parts)


@dataclass(frozen=True)
class _Task:
    """What stays the same for the whole model and each of its layers."""

    model: nn.Module
    samples: Samples
    loss: float  # mean at the minimum, from the model as the user calls it
    target: Target
    threshold: float
    n_directions: int
    seed: int
    memory: int


@dataclass(frozen=True)
class _Rays:
    """First crossings, ‖g‖ and ln(‖A·g‖/‖g‖) of all rays (directions,), and the mean at the minimum."""

    coefficients: Floats
    recrossed: NDArray[np.bool_]
    norms: Floats
    stretches: Floats
    at_zero: float


def _measure(
    task: _Task,
    minimum: Minimum,
    sigmas: Sequence[float] | None,
    preconditioner: Preconditioner | None,
    tick: Callable[[int], object],
) -> Measurement:
    """Volume, verdict and profile of one minimum with the parameters of its layout moved."""
    rays, n = _follow_rays(task, minimum, preconditioner, tick), minimum.layout.n_params
    if task.target.metric == "loss" and not math.isclose(rays.at_zero, task.loss, rel_tol=1e-3, abs_tol=1e-5):
        raise NumericsError(
            f"Expected the model's own mean loss of {task.loss:.6g} at the minimum, got {rays.at_zero:.6g}: its parameters "
            "are not all that it depends on; wrap it in a module without hooks or state."
        )
    log_det = preconditioner.log_determinant if preconditioner else 0.0
    volume = estimate_volume(rays.coefficients, rays.norms, n, recrossed=rays.recrossed)
    censored = np.isnan(rays.coefficients)
    logs, profile, error = np.full(len(censored), -np.inf), None, math.nan
    verdict = unconverged_verdict(len(censored))
    if volume.status != "unconverged":
        logs = log_radii(rays.coefficients, rays.norms)
        verdict = diagnose(n * logs, n_censored=int(censored.sum()), n_recrossed=volume.n_recrossed)
        solver = n * (STEP_RTOL if task.target.metric == "accuracy" else tolerance_for(n))
        # A single direction has no error: NaN stays NaN.
        error = math.hypot(np.fmax(volume.log_volume_se, verdict.bulk_error), solver)
        # The Gaussian measure of A's image is |det A|·‖A w‖⁻ⁿ per direction w (`rays.preconditioner`).
        weights = log_det - n * rays.stretches if preconditioner else None
        profile = gaussian_profile(logs + rays.stretches, n, sigmas=sigmas, censored=censored, log_weights=weights)
    value = 1 - rays.at_zero if task.target.metric == "accuracy" else rays.at_zero
    return Measurement(
        n, len(task.samples), task.seed, task.target.metric, task.threshold, value, _add_determinant(volume, log_det), error,
        verdict, profile, logs, censored, log_det,
    )  # fmt: skip


def _follow_rays(
    task: _Task, minimum: Minimum, preconditioner: Preconditioner | None, tick: Callable[[int], object]
) -> _Rays:
    """Crossings along all directions, one batch after another."""
    problem = SweepProblem(task.model, [minimum], [Targets.of([task.target])], task.samples, task.memory)
    # Twenty ticks of the bar, but no tiny batches: below a million numbers a call costs more than its arithmetic.
    n = minimum.layout.n_params
    batch = min(problem.batch_size, max(25, task.n_directions // 20, 2**20 // n))
    states, parts, at_zero = problem.initial_states, [], math.nan
    for start in range(0, task.n_directions, batch):
        indices = range(start, min(start + batch, task.n_directions))
        block = draw_directions(task.seed, indices, n)
        shaped = block if preconditioner is None else preconditioner.apply(block)
        norms = direction_norms(block).numpy()
        (found,), states = cross_block(problem, shaped, states)
        stretches = np.log(direction_norms(shaped).numpy() / norms)
        parts.append((found.coefficients[:, 0], found.recrossed[:, 0], norms, stretches))
        at_zero = float(found.at_zero[0]) if start == 0 else at_zero
        tick(len(indices))
    coefficients, recrossed, norms, stretches = map(np.concatenate, zip(*parts, strict=True))
    return _Rays(coefficients, recrossed, norms, stretches, at_zero)


def _add_determinant(volume: Volume, log_det: float) -> Volume:
    """The volume in u from that in A⁻¹u; the published grid rule knows no preconditioner."""
    if log_det == 0.0:
        return volume
    return replace(
        volume,
        log_volume=volume.log_volume + log_det,
        typical_log_volume=volume.typical_log_volume + log_det,
        log_volume_grid=math.nan,
    )


def _from_curvature(task: _Task, minimum: Minimum) -> Preconditioner | None:
    """A from the curvature at the minimum; None for an unconverged one, which has no basin to fit."""
    if task.target.metric == "accuracy":
        raise UserError(
            "Expected metric='loss' with preconditioner='curvature', got 'accuracy', whose steps have no "
            "curvature: measure the loss, or leave the preconditioner out."
        )
    rise = task.threshold - task.loss
    return fit_preconditioner(task.model, minimum, task.samples, threshold=rise, rank=RANK) if rise > 0 else None


# --- arguments --------------------------------------------------------------------------------------------------------


def _check_arguments(
    threshold: float,
    n_directions: int,
    metric: str,
    loss_fn: LossFunction | None,
    sigmas: object,
    preconditioner: object,
) -> None:
    """Raise UserError for arguments that contradict each other or cannot be meant."""
    if not isinstance(n_directions, Integral) or n_directions < 1:
        raise UserError(
            f"Expected a whole number of at least one direction, got n_directions={n_directions}: pass 1 or more."
        )
    if sigmas is not None and not (np.ndim(np.asarray(sigmas)) == 1 and (np.asarray(sigmas, dtype=float) > 0).all()):
        raise UserError(f"Expected sigmas as a sequence of widths above 0, got {sigmas}: leave out the others.")
    if not (preconditioner is None or preconditioner == "curvature" or isinstance(preconditioner, Preconditioner)):
        raise UserError(
            f"Expected preconditioner 'curvature' or a Preconditioner, got {preconditioner!r}: pass one of them."
        )
    if metric not in ("loss", "accuracy"):
        raise UserError(f"Expected metric 'loss' or 'accuracy', got '{metric}': pass one of them.")
    if metric == "loss" and loss_fn is None:
        raise UserError("Expected a loss function, got None: pass one, or metric='accuracy'.")
    if metric == "loss" and not 0 < threshold < math.inf:
        raise UserError(
            f"Expected a finite threshold above 0, got {threshold}: add a constant to a loss that has none."
        )
    if metric == "accuracy" and not 0 < threshold <= 1:
        raise UserError(
            f"Expected an accuracy above 0 and up to 1 as threshold, got {threshold}: pass a share, such as 0.9."
        )


def _target(size: int, threshold: float, metric: Metric) -> Target:
    """The boundary; for an accuracy half a sample above the largest number of mistakes that it allows."""
    if metric == "loss":
        return Target(size, threshold)
    allowed = math.floor((1 - threshold) * size + 1e-9)
    return Target(size, (allowed + 0.5) / size, metric)


def _hidden(progress: bool | None) -> bool | None:
    """tqdm's `disable`: None hides the bar where stderr is no terminal."""
    return None if progress is None else not progress
