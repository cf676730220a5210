"""The Gaussian local volume ln γ_σ by a second road: a fitted Gaussian cut at the basin's wall, relaxed to the bare tether.

With u = σz and q(z) = ½ zᵀDz, D the fitted curvature, the ladder is p_λ ∝ N(z; 0, I) exp(−λq) 1{L(σz) ≤ τ}. At λ = 1 it is
a Gaussian of precision I + D, cut at the wall, whose mass inside is counted with independent draws; at λ = 0 its mass is

    ln γ_σ = −½ ln det(I + D) + ln P_{λ=1}(inside) + Σ ln(Z_next/Z).

Neighbours are joined by Bennett's ratio on q alone. Draws come from elliptical slice sampling (Murray, Adams & MacKay
2010), which asks for no gradient and no step size: with the gold standard it shares the loss and the ladder's statistics
and no draw. It too counts all of {L ≤ τ} that its chains reach, not the star-shaped part alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from minima_volume.errors import NumericsError
from minima_volume.estimators.radial import Floats
from minima_volume.networks.directions import generator
from minima_volume.sampling.bennett import Ladder, chain_status, join_ladder, replica_error
from minima_volume.sampling.mass import MassMatrix
from minima_volume.sampling.potential import CountingPotential, Potential, check_inside

THIN = 0.05  # overlap, or share of the Gaussian inside, below which an estimate rests on a few draws
SMALLEST_ANGLE = 1e-7
SMALLEST_BETA, LARGEST_BETA = 1e-3, 1e7  # in units of 1/τ


class CurvedPotential(Potential, Protocol):
    """A potential that can say how it curves, for the fit."""

    def mean_curvature(self, points: Tensor, *, rank: int, draws: torch.Generator) -> MassMatrix:
        """I + (an estimate of the mean of ∇²L over points (k, n)), positive, of at most `rank` axes where it is dense."""


@dataclass(frozen=True)
class EllipticalSettings:
    """How the Gaussian is fitted and how long the ladder is sampled; `replicas` share the Gaussian and nothing else."""

    replicas: int = 8
    chains: int = 8  # of each replica
    trials: int = 256  # of each replica: independent draws that count the Gaussian's mass inside
    burn: int = 20  # slice moves of every chain on a new rung before any counts
    keep: int = 60  # slice moves of every chain that count
    stride: float = 0.7  # standard deviation, in nats, of the weights between neighbouring rungs
    rank: int = 100  # curvature directions of the Gaussian
    fits: int = 4  # rounds of fitting


@dataclass(frozen=True)
class EllipticalVolume:
    """ln γ at each σ (sigmas,), in nats.

    `log_gamma_se` is the spread of the replicas; `log_gamma_within_se` comes from autocorrelations inside the rungs;
    `drift` is the estimate from the later half of every rung's draws less that from the earlier. `log_gaussian` is the
    fitted Gaussian's share −½ ln det + ln P(inside), `inside` that probability, `angle` a slice move's mean angle in
    radians. `status` (sigmas,): "ok" or the doubt, as `bridges.verdict` names it.
    """

    sigmas: Floats
    log_gamma: Floats
    log_gamma_se: Floats
    log_gamma_within_se: Floats
    drift: Floats
    replica_log_gamma: Floats
    log_gaussian: Floats
    inside: Floats
    angle: Floats
    n_rungs: tuple[int, ...]
    status: tuple[str, ...]
    n_values: int

    def error(self) -> Floats:
        """The larger of the two standard errors (sigmas,)."""
        return np.fmax(self.log_gamma_se, self.log_gamma_within_se)


def elliptical_slice_path(
    potential: CurvedPotential,
    threshold: float,
    sigmas: Sequence[float],
    *,
    seed: int,
    settings: EllipticalSettings | None = None,
) -> EllipticalVolume:
    """ln γ_σ at every σ of `sigmas`, each from its own Gaussian; the same seed gives the same numbers.

    Raises NumericsError if the minimum itself lies above the threshold, or too little of a fitted Gaussian below it.
    """
    settings = settings or EllipticalSettings()
    check_inside(potential, threshold)
    basins = [_Basin(potential, threshold, sigma, generator("annealed", seed, i)) for i, sigma in enumerate(sigmas)]
    parts = [_measured(basin, settings) for basin in basins]
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


def _measured(basin: "_Basin", settings: EllipticalSettings) -> EllipticalVolume:
    """ln γ at one σ from all draws, from those of each replica alone, and from either half of the run."""
    basin.fit(settings)
    points, inside = basin.cut(settings)
    rungs = _relaxed(basin, points, settings)
    groups = np.arange(len(points)).reshape(settings.replicas, settings.chains)
    middle = settings.keep // 2
    whole = _joined(rungs)
    halves = (slice(None, middle), slice(middle, None))
    early, late = (float(_joined([r._replace(q=r.q[half]) for r in rungs]).log_z[-1]) for half in halves)
    each = [_joined([rung._replace(q=rung.q[:, own]) for rung in rungs]).log_z[-1] for own in groups]
    share, log_det = float(inside.mean()), float(basin.gaussian.strengths.double().log1p().sum())
    replicas = np.array(each) + np.log(inside) - log_det / 2
    counted = (1 - share) / (share * settings.replicas * settings.trials)
    spread, within = replica_error(replicas), math.sqrt(whole.error(-1) ** 2 + counted)
    log_gaussian = math.log(share) - log_det / 2
    doubt = chain_status(
        thin=min(float(whole.overlap[-1]), share) < THIN, spread=spread, within=within, drift=late - early
    )
    return EllipticalVolume(
        sigmas=np.array([basin.sigma]),
        log_gamma=np.array([log_gaussian + whole.log_z[-1]]),
        log_gamma_se=np.array([spread]),
        log_gamma_within_se=np.array([within]),
        drift=np.array([late - early]),
        replica_log_gamma=replicas[None],
        log_gaussian=np.array([log_gaussian]),
        inside=np.array([share]),
        angle=np.array([np.mean([rung.angle for rung in rungs])]),
        n_rungs=(len(rungs),),
        status=(doubt,),
        n_values=basin.counter.n_values,
    )


def _joined(rungs: list[_Rung]) -> Ladder:
    """The ladder of rungs from λ = 1 to λ = 0, whose energies differ by steps of λ times q."""
    steps = np.diff([rung.weight for rung in rungs])
    return join_ladder(
        [step * rung.q for step, rung in zip(steps, rungs[:-1], strict=True)],
        [step * rung.q for step, rung in zip(steps, rungs[1:], strict=True)],
    )


def _relaxed(basin: "_Basin", points: Tensor, settings: EllipticalSettings) -> list[_Rung]:
    """Draws of rung after rung from λ = 1 to λ = 0, each step as long as the spread of q allows."""
    weight, rungs = 1.0, []
    while True:
        rows, angles = [], []
        for i in range(settings.burn + settings.keep):
            # Ellipses through the whole Gaussian cross stiff directions, those through the rung's own its tails.
            points, angle = basin.slice_move(points, weight, pull=1.0 if i % 2 else weight)
            rows.append(basin.q(points))
            angles.append(angle)
        rungs.append(_Rung(weight, np.stack(rows[settings.burn :]), float(np.mean(angles))))
        if weight == 0:
            return rungs
        # What is left is shared evenly among the steps it needs, so that no tiny one remains.
        n_steps = max(1, math.ceil(weight * float(rungs[-1].q.std()) / settings.stride))
        weight = weight * (1 - 1 / n_steps) if n_steps > 1 else 0.0


class _Basin:
    """The set {L(σz) ≤ τ}, the Gaussian of precision I + D fitted to it, and slice moves inside."""

    def __init__(self, potential: CurvedPotential, threshold: float, sigma: float, draws: torch.Generator) -> None:
        self.potential, self.counter = potential, CountingPotential(potential)
        self.threshold, self.sigma, self.draws = threshold, sigma, draws
        self.gaussian = MassMatrix(torch.zeros(potential.n_params))

    def heights(self, points: Tensor) -> Tensor:
        """L(σz) (k,) at z (k, n)."""
        return self.counter.values(self.sigma * points)

    def q(self, points: Tensor) -> Floats:
        """½ zᵀDz (k,) at z (k, n), float64."""
        full = self.gaussian.power(points, 0.5).double().square().sum(dim=1)
        return np.asarray(0.5 * (full - points.double().square().sum(dim=1)))

    def fit(self, settings: EllipticalSettings) -> None:
        """D = βσ²C with C the mean curvature over the Gaussian's own draws, and β such that half of them lie inside."""
        noise = self._noise(settings.trials // 4)
        points = noise
        while self.heights(points).median() > self.threshold:
            points = points / 1.5  # the first curvature is taken where a round Gaussian is half inside
        for _ in range(settings.fits):
            curvature = self.potential.mean_curvature(self.sigma * points, rank=settings.rank, draws=self.draws)
            self._tighten(curvature, noise)
            points = self.gaussian.power(noise, -0.5)

    def _tighten(self, curvature: MassMatrix, noise: Tensor) -> None:
        """Halve the interval of ln β until half of the draws just lie inside."""
        low, high = math.log(SMALLEST_BETA / self.threshold), math.log(LARGEST_BETA / self.threshold)
        for _ in range(14):
            middle = (low + high) / 2
            self.gaussian = curvature.scaled(math.exp(middle) * self.sigma**2)
            inside = float(self.heights(self.gaussian.power(noise, -0.5)).median()) <= self.threshold
            low, high = (low, middle) if inside else (middle, high)
        self.gaussian = curvature.scaled(math.exp(high) * self.sigma**2)

    def cut(self, settings: EllipticalSettings) -> tuple[Tensor, Floats]:
        """Starting points inside (all chains, n), and the share of each replica's draws that lie inside (replicas,)."""
        tried = self.gaussian.power(self._noise(settings.replicas * settings.trials), -0.5)
        inside = (self.heights(tried) <= self.threshold).view(settings.replicas, settings.trials)
        if int(inside.sum(dim=1).min()) < settings.chains:
            raise NumericsError(
                f"Expected {settings.chains} of {settings.trials} draws of the fitted Gaussian inside the basin, got "
                f"{int(inside.sum(dim=1).min())}: raise `trials` or `rank`, or lower the sigma {self.sigma:.3g}."
            )
        groups = zip(tried.view(settings.replicas, settings.trials, -1), inside, strict=True)
        points = torch.cat([own[within][: settings.chains] for own, within in groups])
        return points, inside.double().mean(dim=1).numpy()

    def slice_move(self, points: Tensor, weight: float, *, pull: float) -> tuple[Tensor, float]:
        """One elliptical slice move of every chain for exp(−weight·q) inside the wall, and the mean |angle|.

        Ellipses go through draws of N(0, (I + pull·D)⁻¹); the rest of the density, exp((pull − weight)·q), is sliced. The
        bracket of angles shrinks towards 0, where the point itself lies, until a point is inside the slice.
        """
        through = self.gaussian.scaled(pull).power(self._noise(len(points)), -0.5)
        tilt = pull - weight
        floor = torch.as_tensor(tilt * self.q(points)) + self._uniform(len(points)).log()
        angles = 2 * math.pi * self._uniform(len(points))
        low, high = angles - 2 * math.pi, angles.clone()
        result, rest = points.clone(), torch.arange(len(points))
        while len(rest):
            turn = angles[rest, None].to(points.dtype)
            tried = points[rest] * turn.cos() + through[rest] * turn.sin()
            fits = torch.as_tensor(tilt * self.q(tried)) >= floor[rest]
            fits[fits.clone()] = self.heights(tried[fits]) <= self.threshold
            result[rest[fits]] = tried[fits]
            # This near its own position a point stays: sums over batches of another size may round it outside.
            rest = rest[~fits & (high - low > SMALLEST_ANGLE)[rest]]
            below = angles[rest] < 0
            low[rest[below]], high[rest[~below]] = angles[rest[below]], angles[rest[~below]]
            angles[rest] = low[rest] + self._uniform(len(rest)) * (high[rest] - low[rest])
        return result, float(angles.abs().mean())

    def _uniform(self, count: int) -> Tensor:
        return torch.rand(count, generator=self.draws, dtype=torch.float64)

    def _noise(self, count: int) -> Tensor:
        return torch.randn(count, self.potential.n_params, generator=self.draws)
