"""The Gaussian local volume ln γ_σ = ln P(L(u) ≤ τ), u ~ N(0, σ²I), by tethered Hamiltonian Monte Carlo.

With u = σz, rung j of a ladder is the density ∝ exp(−β_j L(σ_j z)) under z ~ N(0, I): a tether of strength k = 1/σ²
(Frenkel & Ladd 1984), relative to the volume of the tether alone. The first rung has β = 0 and ln Z = 0 exactly. Each
following rung has a larger σ and a β that keeps ⟨L⟩ near τ. Neighbouring rungs are joined by Bennett's acceptance ratio.
On every rung, exactly for any β,

    γ_σ = Z · E[1{L ≤ τ} exp(βL)].

So one run gives the whole profile of γ over σ. It counts every point of {L ≤ τ} that the chains reach, including points
beyond a hill along the ray. Rays count only the star-shaped part, so their estimate can be lower for that reason. A
separate basin that no chain reaches is missing from both the estimate and its errors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from minima_volume.estimators.radial import Floats
from minima_volume.networks.directions import generator
from minima_volume.sampling.bennett import MIN_OVERLAP, chain_status, join_ladder, log_mean_weight, replica_error
from minima_volume.sampling.hmc import Chains
from minima_volume.sampling.local_volume import LocalVolume
from minima_volume.sampling.next_rung import next_rung
from minima_volume.sampling.potential import CountingPotential, Potential, check_inside

Integers = NDArray[np.int64]
FIRST_RUNG_RATIO = 1.3  # between the widths σ that are tried for the first rung
MIN_EFFECTIVE_DRAWS = 30  # inside the basin on a rung, for its own γ
LOWEST_ACCEPTANCE = 0.05  # of a burn-in, below which the ladder ends


@dataclass(frozen=True)
class TetheredSettings:
    """How long and how finely the ladder is sampled.

    Attributes:
        replicas: Number of independent groups of chains. They share only the ladder.
        chains: Number of chains of each replica.
        burn: Trajectories of every chain on a new rung that are discarded.
        keep: Trajectories of every chain on a rung that are used.
        finish: Factor on `keep` for rungs at requested widths, whose γ depends on the few draws close to the threshold.
        stride: Standard deviation, in nats, of the log weights between neighbouring rungs.
        rank: Number of leading curvature directions in the mass matrix; None for a mass per coordinate.
    """

    replicas: int = 8
    chains: int = 4
    burn: int = 30
    keep: int = 60
    finish: int = 4
    stride: float = 1.0
    rank: int | None = None


@dataclass(frozen=True, kw_only=True)
class TetheredVolume(LocalVolume):
    """The Gaussian local volume at the widths of all rungs, with diagnostics of the ladder.

    Attributes:
        betas: Inverse temperature β of each rung (sigmas,).
        mean_loss: Mean of L over the draws of each rung (sigmas,).
        acceptance: Mean acceptance probability of the trajectories of each rung (sigmas,).
        n_gradients: Number of points at which L and ∇L were evaluated.
    """

    betas: Floats
    mean_loss: Floats
    acceptance: Floats
    n_gradients: int


class _Rung(NamedTuple):
    """Losses (keep, chains) at the draws z of a rung, for the σ of this rung (`here`), the previous and the next one."""

    sigma: float
    beta: float
    here: Floats
    below: Floats
    above: Floats
    acceptance: float

    def of_chains(self, chains: Integers) -> "_Rung":
        """Return the draws of some chains."""
        return self._replace(here=self.here[:, chains], below=self.below[:, chains], above=self.above[:, chains])

    def half(self, which: int) -> "_Rung":
        """Return the earlier (0) or later (1) half of the draws."""
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
    """Estimate the Gaussian local volume ln γ_σ by tethered Hamiltonian Monte Carlo.

    Args:
        potential: Loss surface L over n coordinates, for example a `NetworkPotential`.
        threshold: τ, the loss below which a point belongs to the basin.
        sigmas: Widths σ > 0 in filter norms.
        seed: Seed of all random numbers. The same seed gives the same result.
        settings: Length and resolution of the ladder.

    Returns:
        ln γ at every width of `sigmas` and at the rungs in between, in ascending order. If hardly any trajectory of a
        burn-in is accepted, the ladder ends there, and ln γ at larger widths is NaN with the status "stuck".

    Raises:
        NumericsError: The loss at the minimum is not below the threshold.

    Example:
        An ellipsoid with three axes, whose Gaussian mass is known:

        >>> import numpy as np
        >>> from minima_volume.testing.ellipsoid import Ellipsoid
        >>> ellipsoid = Ellipsoid(np.array([1.0, 10.0, 100.0]))
        >>> settings = TetheredSettings(replicas=4, chains=8, burn=8, keep=10)
        >>> volume = tethered_hmc(ellipsoid, 0.1, [0.3], seed=0, settings=settings)
        >>> i = volume.at(0.3)
        >>> volume.status[i]
        'ok'
        >>> bool(abs(volume.log_gamma[i] - ellipsoid.log_mass(0.3, 0.1)) < 3 * volume.error()[i] < 0.5)
        True
    """
    settings = settings or TetheredSettings()
    check_inside(potential, threshold)
    counter = CountingPotential(potential)
    rungs = list(_sample_ladder(counter, threshold, sorted(set(sigmas)), seed, settings))
    return _tethered_volume(rungs, threshold, sigmas, settings, counter)


def _sample_ladder(
    potential: CountingPotential, threshold: float, sigmas: list[float], seed: int, settings: TetheredSettings
) -> Iterator[_Rung]:
    """Sample rung after rung up to the largest σ; the draws of the burn-in determine the next rung."""
    draws = generator("gold", seed)
    points = torch.randn(settings.replicas * settings.chains, potential.n_params, generator=draws)
    sigma = sigmas[0] / FIRST_RUNG_RATIO
    while potential.values(sigma * points).mean() > threshold:
        sigma /= FIRST_RUNG_RATIO
    chains, beta, below = Chains(potential, points, draws), 0.0, sigma
    while True:
        chains.move_to(sigma, beta)
        settled = chains.burn(settings.burn, settings.rank)
        if chains.burn_acceptance < LOWEST_ACCEPTANCE:
            return
        goal = next((wanted for wanted in sigmas if wanted > sigma), None)
        above, beta_above = next_rung(chains, settled, threshold, goal, settings.stride) if goal else (sigma, beta)
        yield _sample_rung(chains, below, above, settings.keep * (settings.finish if sigma in sigmas else 1))
        if goal is None:
            return
        below, sigma, beta = sigma, above, beta_above


def _sample_rung(chains: Chains, sigma_below: float, sigma_above: float, keep: int) -> _Rung:
    """Return `keep` draws of every chain on its current rung."""
    acceptance, here, below, above = [], [], [], []
    for _ in range(keep):
        acceptance.append(chains.trajectory())
        here.append(chains.losses.numpy())
        below.append(chains.values(sigma_below))
        above.append(chains.values(sigma_above))
    return _Rung(
        chains.sigma, chains.beta, np.stack(here), np.stack(below), np.stack(above), float(np.mean(acceptance))
    )


def _tethered_volume(
    rungs: list[_Rung],
    threshold: float,
    sigmas: Sequence[float],
    settings: TetheredSettings,
    counter: CountingPotential,
) -> TetheredVolume:
    """Estimate ln γ on all rungs from all draws, from each replica alone, and from each half of the draws."""
    groups = np.arange(settings.replicas * settings.chains).reshape(settings.replicas, settings.chains)
    pooled = _estimate(rungs, threshold)
    replicas = np.stack(
        [_estimate([rung.of_chains(own) for rung in rungs], threshold).log_gamma for own in groups], axis=1
    )
    early, late = (_estimate([rung.half(which) for rung in rungs], threshold).log_gamma for which in (0, 1))
    spread, drift = np.array([replica_error(row) for row in replicas]), late - early
    status = [
        chain_status(thin=thin, spread=s, within=w, drift=d)
        for thin, s, w, d in zip(pooled.thin, spread, pooled.error, drift, strict=True)
    ]
    missed = sorted({sigma for sigma in sigmas if all(rung.sigma != sigma for rung in rungs)})

    def filled(values: Sequence[float] | Floats) -> Floats:
        """Append NaN, along the first axis, for the widths that were not reached."""
        known = np.asarray(values, dtype=np.float64).reshape(len(rungs), *np.shape(values)[1:])
        return np.concatenate([known, np.full((len(missed), *known.shape[1:]), np.nan)])

    return TetheredVolume(
        sigmas=np.array([*(rung.sigma for rung in rungs), *missed]),
        betas=filled([rung.beta for rung in rungs]),
        log_gamma=filled(pooled.log_gamma),
        log_gamma_se=filled(spread),
        log_gamma_within_se=filled(pooled.error),
        drift=filled(drift),
        replica_log_gamma=filled(replicas),
        mean_loss=filled([rung.here.mean() for rung in rungs]),
        acceptance=filled([rung.acceptance for rung in rungs]),
        status=(*status, *("stuck" for _ in missed)),
        n_values=counter.n_values,
        n_gradients=counter.n_gradients,
    )


class _Estimates(NamedTuple):
    """ln γ, its standard error within the chains, and whether too few draws determine it, each (rungs,)."""

    log_gamma: Floats
    error: Floats
    thin: NDArray[np.bool_]


def _estimate(rungs: list[_Rung], threshold: float) -> _Estimates:
    """Return ln γ = ln Z + βτ + ln E[1{L ≤ τ} exp(−β(τ − L))] on every rung."""
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
        thin.append(bool(steps.overlap[i] < MIN_OVERLAP or effective < MIN_EFFECTIVE_DRAWS))
    return _Estimates(np.array(log_gamma), np.array(error), np.array(thin))
