"""The Gaussian local volume ln γ_σ = ln P(L(u) ≤ τ), u ~ N(0, σ²I), by subset simulation.

The basin is the last of a sequence of sets {L ≤ τ₁}, {L ≤ τ₂}, …, {L ≤ τ}, each inside the one before. Each level is a
quantile of the losses of particles that fill the previous set, so about a quarter of them lie in the next one, and

    ln γ_σ = Σ ln P(L ≤ τ_{k+1} | L ≤ τ_k).

A pilot run finds the levels, and independent runs with those levels estimate the shares: chosen by the particles that they
count, levels would bias ln γ by about (1/share − 1)/particles each.

The particles start as independent draws of the Gaussian. Those inside the next set are copied, and all of them are moved by
z' = √(1 − β²)·z + β·ξ, which keeps the Gaussian; a move out of the set is rejected. The cost grows with −ln γ and not with
the number of coordinates, no gradient is needed, and any loss will do: also steps, such as error rates.

Unlike a chain that starts at the minimum, the particles come from outside, so they find every part of {L ≤ τ} that lies
downhill from where most of the Gaussian is. A part behind a hill that is small in the Gaussian's measure is invisible.
Sources: Au & Beck 2001; Cérou, Del Moral, Furon & Guyader 2012.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from torch import Tensor

from minima_volume.estimators.gaussian import UNSEEN
from minima_volume.estimators.radial import Floats
from minima_volume.networks.arguments import as_widths
from minima_volume.networks.directions import generator
from minima_volume.sampling.bennett import replica_error
from minima_volume.sampling.local_volume import LocalVolume
from minima_volume.sampling.potential import CountingPotential, Potential, check_inside

# Rate of acceptance to which steps adapt, and below which a run says so.
WANTED_RATE, LOWEST_RATE = 0.3, 0.05
# Largest error between runs, as a multiple of that within them, that is plausible.
MAX_RATIO = 3.0


@dataclass(frozen=True)
class SubsetSettings:
    """How many particles climb down, and how far they move on each level.

    Attributes:
        runs: Number of independent runs after the pilot run, whose spread gives the error.
        particles: Number of particles of each run.
        share: Share of the particles that a level keeps.
        moves: Moves of every particle on a level.
        floor: ln γ in nats below which a run gives up.
    """

    runs: int = 4
    particles: int = 128
    share: float = 0.25
    moves: int = 12
    floor: float = -200.0


@dataclass(frozen=True, kw_only=True)
class SubsetVolume(LocalVolume):
    """The Gaussian local volume at the requested widths, with the levels that led there.

    Attributes:
        n_levels: Mean number of levels of a run (sigmas,).
        acceptance: Lowest rate of acceptance of a level (sigmas,).
        curves: At each width the levels τ_k and ln γ_σ(τ_k) of every run, one array (2, levels) each.
    """

    n_levels: Floats
    acceptance: Floats
    curves: tuple[tuple[Floats, ...], ...]


def subset_simulation(
    potential: Potential,
    threshold: float,
    sigmas: Sequence[float],
    *,
    seed: int,
    settings: SubsetSettings | None = None,
) -> SubsetVolume:
    """Estimate the Gaussian local volume ln γ_σ by subset simulation.

    Args:
        potential: Loss surface L over n coordinates; its gradients are not used.
        threshold: τ, the loss at or below which a point belongs to the basin.
        sigmas: Widths σ > 0 in filter norms.
        seed: Seed of all random numbers. The same seed gives the same result.
        settings: Number of particles and moves.

    Returns:
        ln γ at every width, in the order of `sigmas`. The status is "ok"; "stuck" if moves are hardly accepted; "disagree"
        if the runs differ by more than their own errors explain; or "below floor" if the pilot run gave up above the
        threshold, whose value is then returned and too high, or if a run found nothing inside.

    Raises:
        NumericsError: The loss at the minimum is not below the threshold.
        UserError: A width is not above 0, or there are none.

    Example:
        An ellipsoid with three axes, whose Gaussian mass is known:

        >>> import numpy as np
        >>> from minima_volume.testing.ellipsoid import Ellipsoid
        >>> ellipsoid = Ellipsoid(np.array([1.0, 10.0, 100.0]))
        >>> volume = subset_simulation(ellipsoid, 0.1, [0.5], seed=0)
        >>> volume.status
        ('ok',)
        >>> bool(abs(volume.log_gamma[0] - ellipsoid.log_mass(0.5, 0.1)) < 3 * volume.error()[0] < 1)
        True
    """
    sigmas = as_widths(sigmas) or ()
    settings = settings or SubsetSettings()
    check_inside(potential, threshold)
    counter = CountingPotential(potential)
    rows = []
    for place, sigma in enumerate(sigmas):
        pilot = _run(counter, threshold, sigma, generator("subset", seed, place, "pilot"), settings)
        if pilot.curve[0, -1] > threshold:  # the runs would give up at the same level
            rows.append([pilot] * settings.runs)
            continue
        own = [generator("subset", seed, place, run) for run in range(settings.runs)]
        rows.append([_run(counter, threshold, sigma, draws, settings, pilot.curve[0]) for draws in own])
    # A run that finds nothing inside ends at ln γ = −∞; differences of two such runs mean nothing.
    values = np.array([[run.log_gamma for run in runs] for runs in rows])
    finite = np.where(np.isfinite(values), values, np.nan)
    within = np.array([math.sqrt(sum(run.variance for run in runs)) / settings.runs for runs in rows])
    spread = np.array([replica_error(own) for own in finite])
    rates = np.array([min(run.acceptance for run in runs) for runs in rows])
    half = settings.runs // 2
    return SubsetVolume(
        sigmas=np.array(sigmas, dtype=np.float64),
        log_gamma=logsumexp(values, axis=1) - math.log(settings.runs),
        log_gamma_se=spread,
        log_gamma_within_se=within,
        drift=finite[:, half:].mean(axis=1) - finite[:, :half].mean(axis=1),
        replica_log_gamma=values,
        status=tuple(
            _status(runs, threshold, float(a), float(b)) for runs, a, b in zip(rows, spread, within, strict=True)
        ),
        n_values=counter.n_values,
        n_levels=np.array([np.mean([run.curve.shape[1] for run in runs]) for runs in rows]),
        acceptance=rates,
        curves=tuple(tuple(run.curve for run in runs) for runs in rows),
    )


def _status(runs: Sequence["_Run"], threshold: float, spread: float, within: float) -> str:
    """Return "ok" or the reason for doubt."""
    # The levels of a pilot run that gave up end above the threshold, so ln γ belongs to a larger set.
    if any(run.curve[0, -1] > threshold or run.log_gamma == -math.inf for run in runs):
        return "below floor"
    if min(run.acceptance for run in runs) < LOWEST_RATE:
        return "stuck"
    return "disagree" if spread > MAX_RATIO * within and spread > 0.1 else "ok"


class _Run(NamedTuple):
    """ln γ of one run, its variance by the correlations within it, the lowest acceptance, and (τ_k, ln γ(τ_k))."""

    log_gamma: float
    variance: float
    acceptance: float
    curve: Floats


def _run(
    potential: Potential,
    threshold: float,
    sigma: float,
    draws: torch.Generator,
    settings: SubsetSettings,
    levels: Floats | None = None,
) -> _Run:
    """Climb down once, from level to level of an earlier run if there is one."""
    count = settings.particles
    points = torch.randn(count, potential.n_params, generator=draws)
    heights = potential.values(sigma * points).numpy()
    families, beta = np.arange(count), 0.5
    log_gamma, variance, lowest = 0.0, 0.0, 1.0
    curve: list[tuple[float, float]] = []
    while True:
        level = max(threshold, _next_level(heights, settings.share)) if levels is None else float(levels[len(curve)])
        inside = heights <= level
        log_gamma += math.log(inside.mean()) if inside.any() else -math.inf
        variance += _variance_of_log_share(inside, families)
        curve.append((level, log_gamma))
        if level <= threshold or log_gamma <= settings.floor or len(curve) == len(() if levels is None else levels):
            return _Run(log_gamma, variance, lowest, np.array(curve).T)
        seeds = np.flatnonzero(inside)
        order = torch.randperm(len(seeds), generator=draws).numpy()
        copies = seeds[order][np.arange(count) % len(seeds)]
        points, heights, families = points[torch.from_numpy(copies)], heights[copies], copies
        rates = []
        for _ in range(settings.moves):
            beta, rate = _move(potential, points, heights, level, sigma, beta, draws)
            rates.append(rate)
        lowest = min(lowest, float(np.mean(rates)))


def _next_level(heights: Floats, share: float) -> float:
    """Return the quantile of the losses; among ties the next lower loss, so that every level shrinks the set."""
    ranked = np.sort(np.nan_to_num(heights, nan=np.inf))
    level = float(ranked[math.ceil(share * len(ranked)) - 1])
    if level < ranked[-1]:
        return level
    lower = ranked[ranked < level]
    return float(lower[-1]) if lower.size else -math.inf


def _move(
    potential: Potential,
    points: Tensor,
    heights: Floats,
    level: float,
    sigma: float,
    beta: float,
    draws: torch.Generator,
) -> tuple[float, float]:
    """Move all particles once, in place; returns the next step β and the rate of acceptance."""
    noise = torch.randn(points.shape, generator=draws)
    tried = noise.mul_(beta).add_(points, alpha=math.sqrt(1 - beta**2))
    found = potential.values(sigma * tried, level).numpy()
    accepted = found <= level
    points[torch.from_numpy(accepted)] = tried[torch.from_numpy(accepted)]
    heights[accepted] = found[accepted]
    rate = float(accepted.mean())
    return min(0.999, beta * math.exp(0.5 * (rate - WANTED_RATE))), rate


def _variance_of_log_share(inside: NDArray[np.bool_], families: NDArray[np.int64]) -> float:
    """Return the variance of the logarithm of a share, if particles of a family are correlated and families are not."""
    share = inside.mean()
    _, family, size = np.unique(families, return_inverse=True, return_counts=True)
    n = len(size)
    if share == 1:
        return float((UNSEEN / n) ** 2)
    if share == 0:
        return math.inf
    excess = np.bincount(family, weights=inside - share)
    return float(np.square(excess).sum() * n / max(1, n - 1) / (share * len(inside)) ** 2)
