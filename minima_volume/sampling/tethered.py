"""The Gaussian local volume ln γ_σ = ln P(L(u) ≤ τ), u ~ N(0, σ²I), by tethered Hamiltonian Monte Carlo along a ladder.

With u = σz, rung j of the ladder is the density ∝ exp(−β_j L(σ_j z)) under z ~ N(0, I): a tether of strength k = 1/σ²
(Frenkel & Ladd 1984) with the tether's own volume divided out. The first rung has β = 0 and ln Z = 0 exactly; every next
one has a larger σ, and the β that keeps ⟨L⟩ near τ. Neighbours are joined by Bennett's ratio, and on every rung, exactly
for any β,

    γ_σ = Z · E[1{L ≤ τ} exp(βL)].

So one run gives the whole profile of γ over σ. It counts every point of {L ≤ τ} that the chains reach, beyond a hill along
the ray as well, while rays count the star-shaped part alone: it may lie above them for that reason too. A separate basin
that no chain finds is missing from both the estimate and its errors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from torch import Tensor

from minima_volume.estimators.radial import Floats
from minima_volume.networks.directions import generator
from minima_volume.sampling.bennett import chain_status, join_ladder, log_mean_weight, replica_error
from minima_volume.sampling.hmc import Chains
from minima_volume.sampling.potential import CountingPotential, Potential, check_inside

Integers = NDArray[np.int64]
FIRST_RATIO = 1.3  # between the σ tried for the first rung
LONGEST_STEP, SHORTEST_STEP = 0.4, 0.004  # of ln σ
CORRECTION = 0.2  # of the distance of ⟨L⟩ from τ, per rung
PLAN_POINTS = 160  # draws that plan the next rung
LARGEST_BETA = 1e7  # in units of 1/τ
THIN = 0.05  # overlap below which a bridge rests on a few draws
ENOUGH_INSIDE = 30  # effective draws that a rung's own γ needs


@dataclass(frozen=True)
class TetheredSettings:
    """How long and how finely the ladder is sampled; `replicas` groups of chains share the ladder and nothing else."""

    replicas: int = 8
    chains: int = 4  # of each replica
    burn: int = 30  # trajectories of every chain on a new rung before any counts
    keep: int = 60  # trajectories of every chain that count
    finish: int = 4  # times as many on the rungs that were asked for, whose γ rests on the draws nearest to the wall
    stride: float = 1.0  # standard deviation, in nats, of the weights between neighbouring rungs
    rank: int | None = None  # leading curvature directions in the mass matrix; None: a mass for each coordinate


@dataclass(frozen=True)
class TetheredVolume:
    """The profile ln γ over the ladder's σ (rungs,), in nats.

    `log_gamma_se` is the spread of the replicas; `log_gamma_within_se` comes from autocorrelations inside the rungs;
    `drift` is the estimate from the later half of every rung's draws less that from the earlier. `replica_log_gamma`
    (rungs, replicas). `status` (rungs,): "ok" or the doubt, as `bridges.verdict` names it.
    """

    sigmas: Floats
    betas: Floats
    log_gamma: Floats
    log_gamma_se: Floats
    log_gamma_within_se: Floats
    drift: Floats
    replica_log_gamma: Floats
    mean_loss: Floats
    acceptance: Floats
    status: tuple[str, ...]
    n_values: int
    n_gradients: int

    def at(self, sigma: float) -> int:
        """The rung of a requested σ."""
        return int(np.argmin(np.abs(np.log(self.sigmas / sigma))))

    def error(self) -> Floats:
        """The larger of the two standard errors (rungs,)."""
        return np.fmax(self.log_gamma_se, self.log_gamma_within_se)


class _Rung(NamedTuple):
    """Losses (keep, chains) at the same z for the σ of this rung, of the one below, and of the one above."""

    sigma: float
    beta: float
    here: Floats
    below: Floats
    above: Floats
    acceptance: float

    def of(self, chains: Integers) -> "_Rung":
        """The draws of some chains."""
        return self._replace(here=self.here[:, chains], below=self.below[:, chains], above=self.above[:, chains])

    def half(self, which: int) -> "_Rung":
        """The earlier (0) or later (1) half of the draws."""
        here, below, above = (np.array_split(losses, 2)[which] for losses in (self.here, self.below, self.above))
        return self._replace(here=here, below=below, above=above)


def tethered_hmc(
    potential: Potential,
    threshold: float,
    sigmas: Sequence[float],
    *,
    seed: int,
    settings: TetheredSettings | None = None,
) -> TetheredVolume:
    """ln γ_σ at every σ of `sigmas` and on the rungs between them; the same seed gives the same numbers.

    Raises NumericsError if the minimum itself lies above the threshold.
    """
    settings = settings or TetheredSettings()
    check_inside(potential, threshold)
    counter = CountingPotential(potential)
    rungs = list(_climb(counter, threshold, sorted(set(sigmas)), seed, settings))
    return _profile(rungs, threshold, settings, counter)


def _climb(
    potential: CountingPotential, threshold: float, sigmas: list[float], seed: int, settings: TetheredSettings
) -> Iterator[_Rung]:
    """Sample rung after rung up to the largest σ; the next rung is planned before the present one's draws count."""
    draws = generator("gold", seed)
    points = torch.randn(settings.replicas * settings.chains, potential.n_params, generator=draws)
    sigma = sigmas[0] / FIRST_RATIO
    while potential.values(sigma * points).mean() > threshold:
        sigma /= FIRST_RATIO
    chains, beta, below = Chains(potential, points, draws), 0.0, sigma
    while True:
        chains.move_to(sigma, beta)
        settled = chains.burn(settings.burn, settings.rank)
        goal = next((wanted for wanted in sigmas if wanted > sigma), None)
        above, beta_above = _next_rung(chains, settled, threshold, goal, settings.stride) if goal else (sigma, beta)
        yield _sample(chains, below, above, settings.keep * (settings.finish if sigma in sigmas else 1))
        if goal is None:
            return
        below, sigma, beta = sigma, above, beta_above


def _sample(chains: Chains, below: float, above: float, keep: int) -> _Rung:
    """The draws of one rung that count."""
    accepted, here, under, over = [], [], [], []
    for _ in range(keep):
        accepted.append(chains.trajectory())
        here.append(chains.losses.numpy())
        under.append(chains.values(below))
        over.append(chains.values(above))
    return _Rung(
        chains.sigma, chains.beta, np.stack(here), np.stack(under), np.stack(over), float(np.mean(accepted))
    )  # fmt: skip


def _next_rung(
    chains: Chains, settled: list[Tensor], threshold: float, goal: float, stride: float
) -> tuple[float, float]:
    """The next (σ′, β′): the longest step towards `goal` whose weights exp(−β′L′ + βL) spread by at most `stride`.

    β′ brings the reweighted mean of L′ nearer to the threshold, or is 0 where the mean stays below it.
    """
    points = torch.cat(settled[:: max(1, len(settled) * len(chains.points) // PLAN_POINTS)])
    now = np.asarray(chains.potential.values(chains.sigma * points))
    # The planning draws' own noise would send β up and down if each rung took the whole way to the threshold.
    aim = threshold if chains.beta == 0 else threshold + (1 - CORRECTION) * (float(now.mean()) - threshold)
    old = chains.beta * now
    step = LONGEST_STEP
    while True:
        sigma = min(goal, chains.sigma * float(np.exp(step)))
        losses = np.asarray(chains.potential.values(sigma * points))
        beta = _tempered(losses, old, aim)
        spread = float(np.std(beta * losses - old))
        if spread <= stride or step < SHORTEST_STEP:
            return sigma, beta
        step = min(step, float(np.log(sigma / chains.sigma))) * min(0.8, max(0.4, stride / spread))


def _tempered(losses: Floats, old: Floats, threshold: float) -> float:
    """The β at which draws weighted with exp(−β·losses + old) have the threshold as their mean loss; 0 if none is > 0."""

    def excess(beta: float) -> float:
        weights = np.exp(-beta * (losses - losses.min()) + old - old.max())
        return float(weights @ losses / weights.sum()) - threshold

    if excess(0.0) <= 0:
        return 0.0
    high = 1 / threshold
    while excess(high) > 0 and high < LARGEST_BETA / threshold:
        high *= 2
    return float(brentq(excess, 0.0, high)) if excess(high) < 0 else high


def _profile(
    rungs: list[_Rung], threshold: float, settings: TetheredSettings, counter: CountingPotential
) -> TetheredVolume:
    """All rungs' estimates from the pooled draws, from those of each replica alone, and from either half of the run."""
    groups = np.arange(settings.replicas * settings.chains).reshape(settings.replicas, settings.chains)
    whole = _estimates(rungs, threshold)
    replicas = np.stack([_estimates([rung.of(own) for rung in rungs], threshold).log_gamma for own in groups], axis=1)
    early, late = (_estimates([rung.half(which) for rung in rungs], threshold).log_gamma for which in (0, 1))
    spread, drift = np.array([replica_error(row) for row in replicas]), late - early
    return TetheredVolume(
        sigmas=np.array([rung.sigma for rung in rungs]),
        betas=np.array([rung.beta for rung in rungs]),
        log_gamma=whole.log_gamma,
        log_gamma_se=spread,
        log_gamma_within_se=whole.error,
        drift=drift,
        replica_log_gamma=replicas,
        mean_loss=np.array([rung.here.mean() for rung in rungs]),
        acceptance=np.array([rung.acceptance for rung in rungs]),
        status=tuple(
            chain_status(thin=thin, spread=s, within=w, drift=d)
            for thin, s, w, d in zip(whole.thin, spread, whole.error, drift, strict=True)
        ),
        n_values=counter.n_values,
        n_gradients=counter.n_gradients,
    )


class _Estimates(NamedTuple):
    """ln γ, its error from within the rungs, and whether few draws carry it, each (rungs,)."""

    log_gamma: Floats
    error: Floats
    thin: NDArray[np.bool_]


def _estimates(rungs: list[_Rung], threshold: float) -> _Estimates:
    """On every rung ln γ = ln Z + βτ + ln E[1{L ≤ τ} exp(−β(τ − L))]."""
    pairs = list(pairwise(rungs))
    steps = join_ladder(
        [after.beta * rung.above - rung.beta * rung.here for rung, after in pairs],
        [after.beta * after.here - rung.beta * after.below for rung, after in pairs],
    )
    log_gamma, error, thin = [], [], []
    for i, rung in enumerate(rungs):
        weights = np.exp(np.minimum(0.0, rung.beta * (rung.here - threshold))) * (rung.here <= threshold)
        inside, influence = log_mean_weight(weights)
        log_gamma.append(steps.log_z[i] + rung.beta * threshold + inside)
        error.append(steps.error(i, influence))
        effective = weights.sum() ** 2 / max(float((weights**2).sum()), 1e-300)
        thin.append(bool(steps.overlap[i] < THIN or effective < ENOUGH_INSIDE))
    return _Estimates(np.array(log_gamma), np.array(error), np.array(thin))
