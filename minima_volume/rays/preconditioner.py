"""Rays whose directions follow the shape of the basin, with the determinant that pays for it.

With u = A·z and w uniform on the unit sphere of z, the body's volume is |det A| times that of its image in z, where ρ is
its radius along w:

    volume of {u}  =  |det A| · V_ball · E[ρⁿ],
    γ_σ  =  E[ |det A| · ‖A w‖⁻ⁿ · P(n/2, r²/2σ²) ],   r = ρ·‖A w‖.

The second is the first with the density (2πσ²)^(−n/2) exp(−|u|²/2σ²) integrated along the ray; |det A|·‖A w‖⁻ⁿ has mean 1
and is the density of uniform directions over those of A w. Both hold for every A. With A A ᵀ close to the inverse
curvature the radii ρ become even, which takes the exponential variance out of the mean; a wrong A costs variance, not
bias. Every direction g just becomes A·g, so the engine needs nothing new, and ρ = c·‖g‖.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minima_volume.errors import UserError
from minima_volume.networks.curvature import gauss_newton_rows
from minima_volume.networks.minimum import Minimum, Samples

# In a quadratic basin all rays then cross at c = 1/6, amid the scan's nodes and well below their cap c = 1.
REACH = 6.0


@dataclass(frozen=True)
class Preconditioner:
    """A = diag(a)·(I + Q·diag(t − 1)·Qᵀ): `scales` a (n,) > 0, `basis` Q (n, k) orthonormal, `stretches` t (k,) > 0."""

    scales: Tensor
    basis: Tensor
    stretches: Tensor

    @classmethod
    def diagonal(cls, scales: Tensor) -> "Preconditioner":
        """A = diag(a)."""
        return cls(
            scales.double(), torch.zeros(len(scales), 0, dtype=torch.float64), torch.zeros(0, dtype=torch.float64)
        )

    @property
    def log_determinant(self) -> float:
        """ln|det A| = Σ ln a + Σ ln t."""
        return float(self.scales.log().sum() + self.stretches.log().sum())

    def apply(self, block: Tensor) -> Tensor:
        """A·g of every direction (rays, n), float32 on the CPU; formed in float64."""
        g = block.double()
        if self.basis.shape[1]:
            g = g + (g @ self.basis * (self.stretches - 1)) @ self.basis.T
        return (g * self.scales).float()


def diagonal_preconditioner(curvatures: Tensor, threshold: float, *, sigma: float = float("inf")) -> Preconditioner:
    """A = 6·diag(n·h/2τ + 1/σ²)^(−½) for a basin like ½ Σ h u² ≤ τ: all rays of that ellipsoid are equal for σ = ∞.

    `curvatures` h (n,) ≥ 0 in filter units. 1/σ² keeps flat coordinates within σ filter norms. UserError if one is left
    without bound.
    """
    stiffness = len(curvatures) * curvatures.double() / (2 * threshold) + sigma**-2
    if not (stiffness > 0).all():
        raise UserError(
            "Expected curvatures above 0 or a finite sigma, got a flat coordinate without bound: set sigma=1."
        )
    return Preconditioner.diagonal(REACH * stiffness.rsqrt())


def fit_preconditioner(
    model: nn.Module,
    minimum: Minimum,
    samples: Samples,
    *,
    threshold: float,
    sigma: float = 1.0,
    rank: int = 0,
    n_samples: int = 512,
    draws: int = 4,
    seed: int = 0,
) -> Preconditioner:
    """A from the Gauss–Newton curvature at the minimum: its diagonal, and `rank` leading directions of what that leaves.

    `threshold`: how far the loss may rise above the minimum's. `n_samples`, `draws`: see `curvature_rows`. Half of the
    samples propose, the other half says how far to believe them: logarithms of the diagonal shrink towards their mean by
    their correlation between the halves, and leading directions are stretched by the curvature that the other half finds
    along them. `rank` is at most the number of rows of a half.
    """
    rows = gauss_newton_rows(model, minimum, samples, n_samples=n_samples, draws=draws, seed=seed)
    first, second = rows[::2], rows[1::2] if len(rows) > 1 else rows
    base = diagonal_preconditioner(
        shrink_diagonal(first, second, floor=2 * threshold / (rows.shape[1] * sigma**2)), threshold, sigma=sigma
    )
    return add_leading_directions(base, first, second, threshold, rank, sigma=sigma) if rank else base


def shrink_diagonal(first: Tensor, second: Tensor, *, floor: float = 0.0) -> Tensor:
    """Curvatures h (n,) from two halves of rows, ln(h + floor) drawn towards its mean as far as the halves disagree.

    The factor is the halves' correlation of ln(h + floor), raised to that of their mean, 2c/(1 + c) (Spearman–Brown). A
    log-error ε costs nε²/4 nats of variance, so a flat guess beats a noisy one.
    """
    halves = torch.stack([part.square().mean(dim=0) for part in (first, second)])
    tiny = torch.finfo(torch.float64).tiny
    logs = (halves + max(floor, tiny)).log()
    spread = logs - logs.mean(dim=1, keepdim=True)
    power = spread.square().sum(dim=1).prod().sqrt()
    common = float(((spread[0] * spread[1]).sum() / power).clamp(0, 1)) if power > 0 else 1.0
    joined = (halves.mean(dim=0) + max(floor, tiny)).log()
    mean = joined.mean()
    return ((mean + 2 * common / (1 + common) * (joined - mean)).exp() - floor).clamp(min=0)


def add_leading_directions(
    base: Preconditioner, first: Tensor, second: Tensor, threshold: float, rank: int, *, sigma: float = float("inf")
) -> Preconditioner:
    """A diagonal preconditioner, and the `rank` stiffest directions of the curvature that it leaves, evened out.

    In the coordinates of `base` the stiffness is K = a(n/2τ · C + 1/σ²)a with C the curvature; the directions are the right
    singular vectors of the first half's rows, t = √(κ/(qᵀKq)) with the second half's K, and κ the mean of K on all others.
    """
    n, a = len(base.scales), base.scales
    rank = min(rank, *first.shape)
    basis = torch.linalg.svd(first * a, full_matrices=False).Vh[:rank].T
    trace = n / (2 * threshold) * (second * a).square().mean(dim=0).sum() + (a.square() / sigma**2).sum()
    stiffness = n / (2 * threshold) * (second * a @ basis).square().mean(dim=0)
    stiffness = stiffness + (basis.square() * a[:, None].square()).sum(dim=0) / sigma**2
    rest = (trace - stiffness.sum()) / (n - rank) if rank < n else torch.tensor(REACH**2)
    return Preconditioner(a, basis, (rest.clamp(min=1e-3 * trace / n) / stiffness).sqrt())
