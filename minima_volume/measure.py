"""The volume of any trained model in one call: check the arguments, follow the rays, judge the volume."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Never, overload

import numpy as np
from torch import nn
from tqdm import tqdm

from minima_volume.cluster.engine import Cluster
from minima_volume.crossings.continuation import STEP_RTOL
from minima_volume.crossings.cost import expected_cost
from minima_volume.crossings.model_preconditioner import check_preconditioner, choose_preconditioner
from minima_volume.crossings.model_problem import ModelProblem
from minima_volume.crossings.model_sweep import ModelRays, follow_rays
from minima_volume.crossings.problem import tolerance_for
from minima_volume.crossings.scan import Target
from minima_volume.crossings.sweep import MEMORY
from minima_volume.estimators.diagnostics import diagnose, unconverged_verdict
from minima_volume.estimators.gaussian import gaussian_profile
from minima_volume.estimators.volume import Volume, estimate_volume, log_radii, volume_error
from minima_volume.measurement import Measurement
from minima_volume.networks import arguments
from minima_volume.networks.adapters import Data, LossFunction
from minima_volume.networks.losses import Metric
from minima_volume.networks.minimum import Minimum
from minima_volume.networks.probes import data_hash, probe
from minima_volume.networks.surroundings import plain_surroundings
from minima_volume.networks.user_model import UserModel, check_user_model, plain_module
from minima_volume.rays.preconditioner import Preconditioner
from minima_volume.storage.archives import fingerprint
from minima_volume.storage.ray_file import RayFile
from minima_volume.threshold_curve import ThresholdCurve


@overload
def measure_volume(
    model: nn.Module, loss_fn: LossFunction | None, data: Data, *, threshold: float, n_directions: int = ...,
    seed: int = ..., metric: Metric = ..., only: arguments.Names = ..., per_layer: bool = ..., normalise: bool = ...,
    sigmas: Sequence[float] | None = ..., preconditioner: Preconditioner | Literal["curvature"] | None = ...,
    keep: str | Path | None = ..., progress: bool | None = ..., memory: int = ..., client: Any = ...,
) -> Measurement: ...  # fmt: skip
@overload
def measure_volume(
    model: nn.Module, loss_fn: LossFunction | None, data: Data, *, threshold: Sequence[float], n_directions: int = ...,
    seed: int = ..., metric: Metric = ..., only: arguments.Names = ..., per_layer: bool = ..., normalise: bool = ...,
    sigmas: Sequence[float] | None = ..., preconditioner: Preconditioner | Literal["curvature"] | None = ...,
    keep: str | Path | None = ..., progress: bool | None = ..., memory: int = ..., client: Any = ...,
) -> ThresholdCurve: ...  # fmt: skip
def measure_volume(
    model: nn.Module,
    loss_fn: LossFunction | None,
    data: Data,
    *,
    threshold: float | Sequence[float],
    n_directions: int = 500,
    seed: int = 0,
    metric: Metric = "loss",
    only: arguments.Names = None,
    per_layer: bool = False,
    normalise: bool = True,
    sigmas: Sequence[float] | None = None,
    preconditioner: Preconditioner | Literal["curvature"] | None = None,
    keep: str | Path | None = None,
    progress: bool | None = None,
    memory: int = MEMORY,
    client: Any = None,
) -> Measurement | ThresholdCurve:
    """Measure the volume of the basin around a trained model, along random filter-normalised directions.

    The basin is the set of parameters θ* + s∘u that a straight line joins to θ* on which the mean loss stays at or below
    the threshold. The scale s of a weight is the norm of its own filter, and 1 for biases. With r the length of u where a
    ray leaves the basin, the volume is V_ball(n)·E[rⁿ], and the result holds ln E[rⁿ] in nats.

    Nothing of the model changes: neither weights, buffers, gradients and modes nor torch's random state and precision. A
    minimum above the threshold has the verdict "unconverged" and no volume. A point where the loss is NaN, or where the
    model raises an error, counts as outside.

    Args:
        model: A trained model in evaluation mode.
        loss_fn: A function of outputs and targets that returns one loss per sample, or a torch loss module that averages;
            or a closure (model, batch) that returns one loss per sample (N,), or (losses, weights), whose weighted mean is
            then the loss. May be None for other metrics than "loss".
        data: (inputs, targets) tensors, a data set, or a loader of such pairs. For a closure any batches: what it takes.
            A loader is kept in memory up to `memory`, and read again for every point beyond that.
        threshold: The mean loss at which the basin ends, in the unit of `loss_fn`; or the lowest accuracy. Several
            thresholds are measured along the same rays.
        n_directions: Number of random directions.
        seed: Seed of the directions. Measurements with the same seed share their directions.
        metric: "loss"; "accuracy" for the basin in which the accuracy stays at or above the threshold, with outputs
            (N, C) that are scores of the classes 0…C−1, or a single column of logits of class 1; or "kl" for the mean
            divergence from the class probabilities at the minimum, in nats.
        only: Which parameters move: a function of the name, a part of it, or a list of names. By default all, frozen ones
            too.
        per_layer: Also measure each layer alone.
        normalise: Whether coordinates are filter-normalised; raw ones otherwise.
        sigmas: Widths of the Gaussian profile ln γ_σ in filter units; by default around the median radius.
        preconditioner: Shapes the directions of the whole model; "curvature" fits it to the Gauss–Newton curvature.
        keep: An .npz file in which the rays are kept block by block, and from which the same call goes on.
        progress: Whether to show a bar with the expected time on stderr; by default if that is a terminal.
        memory: Bytes that the rays in flight, the activations, and the data of a loader may each take; 384 MiB by default.
        client: A `distributed.Client`, on whose workers the rays are followed (extra `cluster`). The radii are those of a
            call without it on one torch thread. Model, loss and data are pickled and reach each worker once.

    Returns:
        The volume with its error and verdict, the Gaussian profile, and every radius. For several thresholds a curve of
        such measurements.

    Raises:
        UserError: Arguments, a model or a loss that cannot be measured.
        DataError: Data that are empty or do not fit the loss.
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
    arguments.check_metric(metric, loss_fn)
    thresholds = arguments.as_thresholds(threshold, metric)
    n_directions, seed = arguments.as_directions(n_directions), arguments.as_count(seed, "seed", 0)
    memory, widths, model = arguments.as_count(memory, "memory", 1), arguments.as_widths(sigmas), plain_module(model)
    check_preconditioner(preconditioner, metric)
    normalise, per_layer = (
        arguments.as_flag(value, name) for value, name in ((normalise, "normalise"), (per_layer, "per_layer"))
    )
    cluster = None if client is None else Cluster.of(client)
    with plain_surroundings(model):
        # Nothing writes into these tensors, so they stay the caller's.
        parameters = arguments.widen_half_precision({name: p.detach() for name, p in model.named_parameters()})
        layout = arguments.moving_layout(model, parameters, only)
        minimum = Minimum.of(parameters, layout, normalise=normalise)
        user = check_user_model(model, loss_fn, data, minimum, metric=metric, threshold=min(thresholds), memory=memory)
        settings = _Settings(thresholds, metric, n_directions, seed, widths, memory, cluster, normalise)
        shape = choose_preconditioner(preconditioner, user, minimum, max(thresholds))
        kept = RayFile(keep, "" if keep is None else _fingerprint(user, minimum, settings, shape))
        layers = arguments.split_by_layer(layout) if per_layer else {}
        with tqdm(total=n_directions * (1 + len(layers)), unit="ray", disable=_hidden(progress)) as bar:
            whole = _measure(user, minimum, settings, shape, kept, "", bar)
            parts = {
                name: _measure(user, Minimum.of(parameters, part, normalise=normalise), settings, None, kept, name, bar)
                for name, part in layers.items()
            }
    found = [replace(one, layers={name: part[i] for name, part in parts.items()}) for i, one in enumerate(whole)]
    return found[0] if np.ndim(threshold) == 0 else ThresholdCurve(tuple(found))


@dataclass(frozen=True)
class _Settings:
    """What the caller asked for."""

    thresholds: tuple[float, ...]
    metric: Metric
    n_directions: int
    seed: int
    sigmas: tuple[float, ...] | None
    memory: int
    cluster: Cluster | None
    normalise: bool


def _measure(
    user: UserModel,
    minimum: Minimum,
    settings: _Settings,
    shape: Preconditioner | None,
    kept: RayFile,
    name: str,
    bar: "tqdm[Never]",
) -> list[Measurement]:
    """Volume, verdict and profile at every threshold, with the parameters of the minimum's layout moved."""
    targets = [boundary(user.objective.n_samples, threshold, settings.metric) for threshold in settings.thresholds]
    problem = ModelProblem(user, minimum, targets, settings.memory)
    left = int(bar.total or 0) - len(kept.known(name).get("norms", ()))
    if not bar.disable and not name and left > 0:
        bar.set_description(str(expected_cost(problem, left)))
    rays = follow_rays(
        problem, settings.n_directions, settings.seed,
        shape=shape, kept=kept, name=name, tick=bar.update, cluster=settings.cluster,
    )  # fmt: skip
    return [_judge(user, minimum, settings, shape, rays, column) for column in range(len(settings.thresholds))]


def _judge(
    user: UserModel, minimum: Minimum, settings: _Settings, shape: Preconditioner | None, rays: ModelRays, column: int
) -> Measurement:
    """Volume, verdict and profile at one threshold."""
    n, coefficients = minimum.layout.n_params, rays.coefficients[:, column]
    log_det = shape.log_determinant if shape else 0.0
    volume = estimate_volume(coefficients, rays.norms, n, recrossed=rays.recrossed[:, column])
    censored = np.isnan(coefficients)
    logs, profile, error = np.full(len(censored), -np.inf), None, math.nan
    verdict = unconverged_verdict(len(censored))
    if volume.status != "unconverged":
        logs = log_radii(coefficients, rays.norms)
        verdict = diagnose(n * logs, n_censored=int(censored.sum()), n_recrossed=volume.n_recrossed, doubt=rays.doubt)
        solver = n * (STEP_RTOL if settings.metric == "accuracy" else tolerance_for(n)) + rays.rounding
        # A single direction has no error: NaN stays NaN.
        error = math.hypot(volume_error(volume, verdict, logs, n), solver)
        # The Gaussian measure of A's image is |det A|·‖A w‖⁻ⁿ per direction w (`rays.preconditioner`).
        weights = log_det - n * rays.stretches if shape else None
        profile = gaussian_profile(
            logs + rays.stretches, n, sigmas=settings.sigmas, censored=censored, log_weights=weights
        )
    value = 1 - user.loss if settings.metric == "accuracy" else user.loss
    return Measurement(
        n, user.objective.n_samples, settings.seed, settings.metric, settings.thresholds[column], value,
        _add_determinant(volume, log_det), error, verdict, profile, logs, censored, log_det, notes=rays.notes,
        coordinates="filter-normalised" if settings.normalise else "raw",
    )  # fmt: skip


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


def boundary(size: int, threshold: float, metric: Metric) -> Target:
    """Return the boundary at a threshold; for an accuracy half a sample above the largest number of mistakes it allows."""
    if metric != "accuracy":
        return Target(size, threshold)
    allowed = math.floor((1 - threshold) * size + 1e-9)
    return Target(size, (allowed + 0.5) / size, metric)


def _fingerprint(user: UserModel, minimum: Minimum, settings: _Settings, shape: Preconditioner | None) -> str:
    """What kept rays depend on."""
    weights, metric = sha256(), settings.metric
    for _, tensor in sorted(minimum.parameters.items()):
        weights.update(tensor.cpu().numpy().tobytes())
    return fingerprint(
        weights.hexdigest(), minimum.layout.shapes, float(minimum.scales.double().sum()), data_hash(user, metric),
        str(probe(user, minimum, metric)), settings.thresholds, metric, settings.seed, shape.probe() if shape else "",
    )  # fmt: skip


def _hidden(progress: bool | None) -> bool | None:
    """tqdm's `disable`: None hides the bar where stderr is no terminal."""
    return None if progress is None else not progress
