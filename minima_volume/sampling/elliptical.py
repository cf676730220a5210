"""The Gaussian local volume ln γ_σ = ln P(L(u) ≤ τ), u ~ N(0, σ²I), by elliptical slice sampling along a path.

With u = σz, q(z) = ½ zᵀDz and a fitted curvature D, the path is p_λ ∝ N(z; 0, I) exp(−λq) 1{L(σz) ≤ τ}. At λ = 1 it is a
Gaussian with precision I + D, truncated at the boundary of the basin. The share of it inside is estimated from independent
draws. From there λ falls to 0, and

    ln γ_σ = −½ ln det(I + D) + ln P_{λ=1}(inside) + Σ ln(Z_next/Z).

Neighbouring rungs are joined by Bennett's acceptance ratio, whose energy differences only involve q. Draws come from
elliptical slice sampling (Murray, Adams & MacKay 2010), which needs no gradients and no step size. With tethered HMC it
shares the loss and the statistics of the ladder but no draws, so the two check each other. It also counts every point of
{L ≤ τ} that its chains reach, not only the star-shaped part.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from torch import Tensor

from minima_volume.estimators.radial import Floats
from minima_volume.networks.directions import generator
from minima_volume.sampling.bennett import MIN_OVERLAP, Ladder, chain_status, join_ladder, replica_error
from minima_volume.sampling.local_volume import LocalVolume
from minima_volume.sampling.potential import check_inside
from minima_volume.sampling.truncated import CurvedPotential, TruncatedGaussian


@dataclass(frozen=True)
class EllipticalSettings:
    """How the Gaussian is fitted and how long the path is sampled.

    Attributes:
        replicas: Number of independent groups of chains. They share only the Gaussian and the rungs.
        chains: Number of chains of each replica.
        trials: Independent draws of each replica that estimate the Gaussian's mass inside the basin.
        burn: Slice moves of every chain on a new rung that are discarded.
        keep: Slice moves of every chain on a rung that are used.
        stride: Standard deviation, in nats, of the log weights between neighbouring rungs.
        rank: Number of curvature directions of the Gaussian.
        fits: Number of rounds of fitting.
    """

    replicas: int = 8
    chains: int = 8
    trials: int = 256
    burn: int = 20
    keep: int = 60
    stride: float = 0.7
    rank: int = 100
    fits: int = 4


@dataclass(frozen=True, kw_only=True)
class EllipticalVolume(LocalVolume):
    """The Gaussian local volume at the requested widths, with diagnostics of the fit and the path.

    Attributes:
        log_gaussian: The first two terms of ln γ, −½ ln det(I + D) + ln P(inside) (sigmas,), in nats.
        inside: Share of the fitted Gaussian inside the basin (sigmas,).
        angle: Mean angle of a slice move in radians (sigmas,).
        n_rungs: Number of rungs (sigmas,).
    """

    log_gaussian: Floats
    inside: Floats
    angle: Floats
    n_rungs: tuple[int, ...]


def elliptical_slice_path(
    potential: CurvedPotential,
    threshold: float,
    sigmas: Sequence[float],
    *,
    seed: int,
    settings: EllipticalSettings | None = None,
) -> EllipticalVolume:
    """Estimate the Gaussian local volume ln γ_σ by elliptical slice sampling, with one Gaussian fit and path per width.

    Args:
        potential: Loss surface L over n coordinates with its curvature, for example a `NetworkPotential`.
        threshold: τ, the loss below which a point belongs to the basin.
        sigmas: Widths σ > 0 in filter norms.
        seed: Seed of all random numbers. The same seed gives the same result.
        settings: Fit of the Gaussian and length of the path.

    Returns:
        ln γ at every width, in the order of `sigmas`.

    Raises:
        NumericsError: The loss at the minimum is not below the threshold, or too few draws of a fitted Gaussian are
            inside the basin to start the chains.

    Example:
        An ellipsoid with three axes, whose Gaussian mass is known:

        >>> import numpy as np
        >>> from minima_volume.testing.ellipsoid import Ellipsoid
        >>> ellipsoid = Ellipsoid(np.array([1.0, 10.0, 100.0]))
        >>> settings = EllipticalSettings(replicas=4, chains=8, trials=128, burn=5, keep=10)
        >>> volume = elliptical_slice_path(ellipsoid, 0.1, [0.3], seed=0, settings=settings)
        >>> volume.status
        ('ok',)
        >>> bool(abs(volume.log_gamma[0] - ellipsoid.log_mass(0.3, 0.1)) < 3 * volume.error()[0] < 0.5)
        True
    """
    settings = settings or EllipticalSettings()
    check_inside(potential, threshold)
    basins = [
        TruncatedGaussian(potential, threshold, sigma, generator("annealed", seed, i)) for i, sigma in enumerate(sigmas)
    ]
    parts = [_measure_width(basin, settings) for basin in basins]
    names = [field.name for field in fields(EllipticalVolume) if field.type == Floats]
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return EllipticalVolume(
        **columns,
        n_rungs=tuple(part.n_rungs[0] for part in parts),
        status=tuple(part.status[0] for part in parts),
        n_values=sum(part.n_values for part in parts),
    )


class _Rung(NamedTuple):
    """q (keep, chains) of a rung's draws at λ = `weight`, and the mean angle of its moves."""

    weight: float
    q: Floats
    angle: float


def _measure_width(basin: TruncatedGaussian, settings: EllipticalSettings) -> EllipticalVolume:
    """Estimate ln γ at one width from all draws, from each replica alone, and from each half of the draws."""
    basin.fit(trials=settings.trials // 4, rank=settings.rank, rounds=settings.fits)
    points, inside = basin.draw_inside(settings.replicas, settings.trials, settings.chains)
    rungs = _sample_path(basin, points, settings)
    groups = np.arange(len(points)).reshape(settings.replicas, settings.chains)
    middle = settings.keep // 2
    pooled = _join(rungs)
    halves = (slice(None, middle), slice(middle, None))
    early, late = (float(_join([r._replace(q=r.q[half]) for r in rungs]).log_z[-1]) for half in halves)
    each = [_join([rung._replace(q=rung.q[:, own]) for rung in rungs]).log_z[-1] for own in groups]
    share = float(inside.mean())
    log_det = float(basin.gaussian.strengths.double().log1p().sum())
    log_gaussian = math.log(share) - log_det / 2
    replicas = np.array(each) + np.log(inside) - log_det / 2
    variance_of_log_share = (1 - share) / (share * settings.replicas * settings.trials)
    spread, within = replica_error(replicas), math.sqrt(pooled.error(-1) ** 2 + variance_of_log_share)
    thin = min(float(pooled.overlap[-1]), share) < MIN_OVERLAP
    return EllipticalVolume(
        sigmas=np.array([basin.sigma]),
        log_gamma=np.array([log_gaussian + pooled.log_z[-1]]),
        log_gamma_se=np.array([spread]),
        log_gamma_within_se=np.array([within]),
        drift=np.array([late - early]),
        replica_log_gamma=replicas[None],
        log_gaussian=np.array([log_gaussian]),
        inside=np.array([share]),
        angle=np.array([np.mean([rung.angle for rung in rungs])]),
        n_rungs=(len(rungs),),
        status=(chain_status(thin=thin, spread=spread, within=within, drift=late - early),),
        n_values=basin.counter.n_values,
    )


def _join(rungs: list[_Rung]) -> Ladder:
    """Join the rungs from λ = 1 to λ = 0, whose energies differ by the step of λ times q."""
    steps = np.diff([rung.weight for rung in rungs])
    return join_ladder(
        [step * rung.q for step, rung in zip(steps, rungs[:-1], strict=True)],
        [step * rung.q for step, rung in zip(steps, rungs[1:], strict=True)],
    )


def _sample_path(basin: TruncatedGaussian, points: Tensor, settings: EllipticalSettings) -> list[_Rung]:
    """Sample rung after rung from λ = 1 to λ = 0, with steps as long as the spread of q allows."""
    weight, rungs = 1.0, []
    while True:
        rows, angles = [], []
        for i in range(settings.burn + settings.keep):
            # Ellipses of the fitted Gaussian mix stiff directions, those of the rung's Gaussian mix its tails.
            points, angle = basin.slice_move(points, weight, pull=1.0 if i % 2 else weight)
            rows.append(basin.q(points))
            angles.append(angle)
        rungs.append(_Rung(weight, np.stack(rows[settings.burn :]), float(np.mean(angles))))
        if weight == 0:
            return rungs
        # Equal steps over the rest of the path avoid a tiny last one.
        n_steps = max(1, math.ceil(weight * float(rungs[-1].q.std()) / settings.stride))
        weight = weight * (1 - 1 / n_steps) if n_steps > 1 else 0.0
