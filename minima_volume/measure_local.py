"""The Gaussian local volume of any trained model in one call, by drawing steps instead of following rays."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from minima_volume.cluster.engine import Cluster
from minima_volume.crossings.model_draws import draws_inside
from minima_volume.crossings.model_problem import ModelProblem
from minima_volume.crossings.scan import Floats
from minima_volume.crossings.sweep import MEMORY
from minima_volume.errors import UserError
from minima_volume.estimators.gaussian import UNSEEN
from minima_volume.measure import boundary
from minima_volume.networks import arguments
from minima_volume.networks.adapters import Data, LossFunction
from minima_volume.networks.losses import Metric
from minima_volume.networks.minimum import Minimum
from minima_volume.networks.reduction import reduce_first_layer
from minima_volume.networks.surroundings import plain_surroundings
from minima_volume.networks.user_model import check_user_model, plain_module
from minima_volume.sampling.local_volume import LocalVolume
from minima_volume.sampling.potential import NetworkPotential
from minima_volume.sampling.subset import subset_simulation

# Groups of draws whose spread gives the error, and draws inside below which an estimate is called too thin.
GROUPS, FEWEST_INSIDE = 8, 50


def local_volume(
    model: nn.Module,
    loss_fn: LossFunction | None,
    data: Data,
    *,
    threshold: float,
    sigmas: Sequence[float],
    n_draws: int = 2000,
    seed: int = 0,
    metric: Metric = "loss",
    only: arguments.Names = None,
    normalise: bool = True,
    memory: int = MEMORY,
    client: Any = None,
) -> LocalVolume:
    """Estimate ln γ_σ = ln P(L(θ* + s∘u) ≤ τ), u ~ N(0, σ²I), by drawing u.

    Unlike rays, draws count every point of {L ≤ τ}, also behind hills, and their error does not grow with the number of
    parameters: γ is a share of draws, with the error √((1 − γ)/γN) of its logarithm. Widths with fewer than 50 draws
    inside are measured by subset simulation (`minima_volume.sampling.subset`) if a batch of networks can be evaluated
    together; its cost grows with −ln γ. It finds what lies downhill from where most of the Gaussian is; a basin that rises
    from a plateau without a slope towards it is invisible.

    Args:
        model: A trained model in evaluation mode.
        loss_fn: As in `measure_volume`.
        data: As in `measure_volume`.
        threshold: The mean loss at which the basin ends, or the lowest accuracy.
        sigmas: Widths σ in filter norms.
        n_draws: Number of draws, which all widths share.
        seed: Seed of the draws, which are the directions of `measure_volume`.
        metric: "loss", "accuracy" or "kl".
        only: Which parameters move.
        normalise: Whether coordinates are filter-normalised.
        memory: As in `measure_volume`.
        client: A `distributed.Client`, on whose workers the draws are evaluated; subset simulation runs here.

    Returns:
        ln γ at each width with two errors and a status: "ok", or the reason for doubt.

    Raises:
        UserError: Arguments, a model or a loss that cannot be measured, or a minimum above the threshold.

    Example:
        The loss ‖w‖²/3 of three weights at 0 stays below 0.03 with probability P(χ²₃ ≤ 9) = 0.971 for σ = 0.1.

        >>> import torch
        >>> from minima_volume import local_volume
        >>> model = torch.nn.Linear(3, 1, bias=False).eval()
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> data = (torch.eye(3), torch.zeros(3, 1))
        >>> found = local_volume(
        ...     model, torch.nn.MSELoss(), data, threshold=0.03, sigmas=[0.1], normalise=False
        ... )
        >>> found.status, bool(abs(found.log_gamma[0] - math.log(0.971)) < 3 * found.error()[0])
        (('ok',), True)
    """
    arguments.check_metric(metric, loss_fn)
    normalise = arguments.as_flag(normalise, "normalise")
    height, widths = arguments.as_threshold(threshold, metric), arguments.as_widths(sigmas)
    n_draws, seed = arguments.as_count(n_draws, "n_draws", 2 * GROUPS), arguments.as_count(seed, "seed", 0)
    memory, model = arguments.as_count(memory, "memory", 1), plain_module(model)
    cluster = None if client is None else Cluster.of(client)
    if widths is None:
        raise UserError("Expected sigmas as a sequence of widths above 0, got None: pass a list, such as [0.01].")
    with plain_surroundings(model):
        parameters = arguments.widen_half_precision({name: p.detach() for name, p in model.named_parameters()})
        minimum = Minimum.of(parameters, arguments.moving_layout(model, parameters, only), normalise=normalise)
        user = check_user_model(model, loss_fn, data, minimum, metric=metric, threshold=height, memory=memory)
        target = boundary(user.objective.n_samples, height, metric)
        if not user.loss <= target.threshold:
            raise UserError(
                f"Expected a minimum within the threshold {threshold:g}, got {user.loss:.4g}: train longer, or raise it."
            )
        problem = ModelProblem(user, minimum, [target], memory)
        found = _from_draws(draws_inside(problem, n_draws, seed, widths, cluster), np.array(widths))
        thin = [i for i, status in enumerate(found.status) if status == "thin"]
        if thin and user.samples is not None and problem.path != "module":
            network = user.model, minimum, user.samples
            small = reduce_first_layer(*network) if problem.path == "stack" else network
            # Somebody's loss may be negative on some samples.
            potential = NetworkPotential(*small, nonnegative=metric != "loss")
            chain = subset_simulation(potential, target.threshold, [widths[i] for i in thin], seed=seed)
            found = _joined(found, chain, thin)
    return found


def _from_draws(inside: NDArray[np.bool_], widths: Floats) -> LocalVolume:
    """Return shares of draws as a local volume."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share, groups = inside.mean(axis=0), np.stack([part.mean(axis=0) for part in np.array_split(inside, GROUPS)])
        halves = [part.mean(axis=0) for part in np.array_split(inside, 2)]
        return LocalVolume(
            sigmas=widths,
            log_gamma=np.log(share),
            log_gamma_se=groups.std(axis=0, ddof=1) / math.sqrt(GROUPS) / share,
            # Where no draw is lost, the bound that so many draws give.
            log_gamma_within_se=np.fmax(np.sqrt((1 - share) / (share * len(inside))), UNSEEN / len(inside)),
            drift=np.log(halves[1]) - np.log(halves[0]),
            replica_log_gamma=np.log(groups).T,
            status=tuple("ok" if count >= FEWEST_INSIDE else "thin" for count in inside.sum(axis=0)),
            n_values=inside.size,
        )


def _joined(draws: LocalVolume, chain: LocalVolume, places: list[int]) -> LocalVolume:
    """Return draws with the widths at some places taken from subset simulation, in their order."""

    def mixed(name: str) -> Floats:
        values = np.array(getattr(draws, name))
        values[places] = getattr(chain, name)
        return values

    status, groups = list(draws.status), np.full((len(draws.sigmas), GROUPS), np.nan)
    groups[:] = draws.replica_log_gamma
    groups[places] = np.nan
    groups[places, : chain.replica_log_gamma.shape[1]] = chain.replica_log_gamma
    for place, word in zip(places, chain.status, strict=True):
        status[place] = word
    names = ("log_gamma", "log_gamma_se", "log_gamma_within_se", "drift")
    return LocalVolume(
        sigmas=draws.sigmas, **{name: mixed(name) for name in names}, replica_log_gamma=groups, status=tuple(status),
        n_values=draws.n_values + chain.n_values,
    )  # fmt: skip
