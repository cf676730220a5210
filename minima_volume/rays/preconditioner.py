"""Rays whose directions follow the shape of the basin.

Substitute u = A·z. Let w be uniform on the unit sphere of z, and ρ the radius along w of the body's image in z. Then

    volume of {u}  =  |det A| · V_ball · E[ρⁿ],
    γ_σ  =  E[ |det A| · ‖A w‖⁻ⁿ · P(n/2, r²/2σ²) ],   r = ρ·‖A w‖.

The second line integrates the density (2πσ²)^(−n/2) exp(−|u|²/2σ²) along each ray. The weight |det A|·‖A w‖⁻ⁿ has mean 1;
it is the density ratio of uniform directions to those of A w. Both lines hold for every invertible A. If A Aᵀ is close to
the inverse curvature, the radii ρ are nearly equal and the mean has a small variance. A poor A increases the variance but
adds no bias. The engine only sees directions A·g in place of g, and ρ = c·‖g‖.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minima_volume.errors import UserError
from minima_volume.networks.curvature import gauss_newton_rows
from minima_volume.networks.directions import direction_norms, draw_directions
from minima_volume.networks.low_rank import IdentityPlusLowRank
from minima_volume.networks.minimum import Minimum, Samples

# Scale of A. In a quadratic basin every ray then crosses at c = 1/6, inside the scan's range and far below its end c = 1.
INVERSE_CROSSING = 6.0
# Least stiffness of the remaining directions, as a share of the mean over all, that sets the stretch of the leading ones.
MIN_REMAINING_SHARE = 1e-3


@dataclass(frozen=True)
class Preconditioner:
    """The linear map A = diag(a)·(I + Q·diag(t − 1)·Qᵀ) from Gaussian directions g to the directions A·g of rays.

    Attributes:
        scales: a (n,) > 0, float64.
        basis: Q (n, k) with orthonormal columns, float64; k may be 0.
        stretches: t (k,) > 0, float64.

    Example:
        >>> import torch
        >>> basis = torch.tensor([[0.6], [0.8]], dtype=torch.float64)
        >>> a = Preconditioner(torch.ones(2).double(), basis, torch.tensor([3.0]).double())
        >>> a.apply(torch.tensor([[0.6, 0.8], [-0.8, 0.6]]))  # stretched along the basis, unchanged across it
        tensor([[ 1.8000,  2.4000],
                [-0.8000,  0.6000]])
        >>> round(a.log_determinant, 6)  # ln 3
        1.098612
    """

    scales: Tensor
    basis: Tensor
    stretches: Tensor

    @classmethod
    def diagonal(cls, scales: Tensor) -> "Preconditioner":
        """Create A = diag(a) from a (n,)."""
        return cls(
            scales.double(), torch.zeros(len(scales), 0, dtype=torch.float64), torch.zeros(0, dtype=torch.float64)
        )

    @property
    def log_determinant(self) -> float:
        """ln|det A| = Σ ln a + Σ ln t."""
        return float(self.scales.log().sum() + self.stretches.log().sum())

    def probe(self) -> str:
        """Return a few numbers by which A is known again: its determinant, and what it makes of three directions."""
        norms = direction_norms(self.apply(draw_directions(0, range(3), len(self.scales)))).tolist()
        return "; ".join(f"{value:.7g}" for value in (self.log_determinant, *norms))

    def apply(self, block: Tensor) -> Tensor:
        """Return A·g of every direction.

        Args:
            block: Directions g (rays, n) on the CPU.

        Returns:
            Directions (rays, n), float32, computed in float64.
        """
        return (IdentityPlusLowRank(self.stretches, self.basis).apply(block.double()) * self.scales).float()


def diagonal_preconditioner(curvatures: Tensor, threshold: float, *, sigma: float = float("inf")) -> Preconditioner:
    """Return A = 6·diag(n·h/2τ + 1/σ²)^(−½) for a basin close to ½ Σ h u² ≤ τ.

    With σ = ∞ all rays of that ellipsoid have the same coefficient, c = 1/6.

    Args:
        curvatures: h (n,) ≥ 0 in filter-normalised coordinates.
        threshold: τ, how far the loss may rise above the loss at the minimum.
        sigma: Bound on flat coordinates, in filter norms.

    Returns:
        A diagonal preconditioner.

    Raises:
        UserError: A coordinate has no curvature and `sigma` is infinite.
    """
    stiffness = len(curvatures) * curvatures.double() / (2 * threshold) + sigma**-2
    if not (stiffness > 0).all():
        raise UserError(
            "Expected curvatures above 0 or a finite sigma, got a flat coordinate without bound: set sigma=1."
        )
    return Preconditioner.diagonal(INVERSE_CROSSING * stiffness.rsqrt())


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
    """Fit a preconditioner to the Gauss–Newton curvature at a minimum.

    A combines the diagonal of the curvature and, if `rank` > 0, the leading directions of what the diagonal leaves. Two
    halves of the samples guard against noise. The logarithms of the diagonal shrink towards their mean by the correlation
    between the halves. The leading directions come from one half, and their stretches from the curvature that the other
    half finds along them.

    Args:
        model: Network.
        minimum: Trained parameters and their scales.
        samples: Data set and criterion.
        threshold: How far the loss may rise above the loss at the minimum.
        sigma: Bound on flat coordinates, in filter norms.
        rank: Number of leading directions, at most the number of rows of one half.
        n_samples: Largest number of samples; see `gauss_newton_rows`.
        draws: Rows per sample; see `gauss_newton_rows`.
        seed: Seed of the random signs.

    Returns:
        The preconditioner.

    Raises:
        UserError: A sample has more than 256 outputs.

    Example:
        The loss u₁² + ½(u₂/10)² has the curvatures 2 and 0.01, so A stretches the second coordinate √200 ≈ 14 times more:

        >>> import torch
        >>> from minima_volume.networks.minimum import Minimum, Samples
        >>> from minima_volume.networks.parameters import layout_of, parameters_of
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> minimum = Minimum.of(parameters_of(model), layout_of(parameters_of(model)), normalise=False)
        >>> inputs = torch.tensor([[2**0.5, 0.1], [2**0.5, -0.1]])
        >>> samples = Samples(inputs, torch.zeros(2), lambda outputs, _: outputs[..., 0].square() / 2)
        >>> a = fit_preconditioner(model, minimum, samples, threshold=0.1, sigma=1e3)
        >>> round(float(a.scales[1] / a.scales[0]), 3)
        14.142
    """
    rows = gauss_newton_rows(model, minimum, samples, n_samples=n_samples, draws=draws, seed=seed)
    first, second = rows[::2], rows[1::2] if len(rows) > 1 else rows
    base = diagonal_preconditioner(
        shrink_diagonal(first, second, floor=2 * threshold / (rows.shape[1] * sigma**2)), threshold, sigma=sigma
    )
    return add_leading_directions(base, first, second, threshold, rank, sigma=sigma) if rank else base


def shrink_diagonal(first: Tensor, second: Tensor, *, floor: float = 0.0) -> Tensor:
    """Estimate the diagonal of the curvature from two halves of rows, shrunk as far as the halves disagree.

    ln(h + floor) shrinks towards its mean by the factor 2c/(1 + c), with c the correlation of the logarithms between the
    halves (Spearman 1910, Brown 1910). An error ε of the logarithms costs nε²/4 nats of variance, so a constant guess is
    better than a noisy one.

    Args:
        first: Rows (m, n) of one half; see `gauss_newton_rows`.
        second: Rows (m, n) of the other half.
        floor: Curvature below which differences do not matter.

    Returns:
        Curvatures h (n,) ≥ 0.
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
    """Extend a diagonal preconditioner by the stiffest directions of the curvature that it leaves.

    In the coordinates of `base` the stiffness is K = a(n/2τ · C + 1/σ²)a with the curvature C. The directions q are the
    leading right singular vectors of the first half's rows times a. Their stretches are t = √(κ/(qᵀKq)), with K from the
    second half and κ the mean of K over the remaining directions.

    Args:
        base: Diagonal preconditioner a (n,).
        first: Rows (m, n) of one half; see `gauss_newton_rows`.
        second: Rows (m, n) of the other half.
        threshold: τ, how far the loss may rise above the loss at the minimum.
        rank: Number of directions, at most min(m, n).
        sigma: σ, the bound on flat coordinates in filter norms.

    Returns:
        The extended preconditioner.
    """
    n, a = len(base.scales), base.scales
    rank = min(rank, *first.shape)
    basis = torch.linalg.svd(first * a, full_matrices=False).Vh[:rank].T
    trace = n / (2 * threshold) * (second * a).square().mean(dim=0).sum() + (a.square() / sigma**2).sum()
    stiffness = n / (2 * threshold) * (second * a @ basis).square().mean(dim=0)
    stiffness = stiffness + (basis.square() * a[:, None].square()).sum(dim=0) / sigma**2
    rest = (trace - stiffness.sum()) / (n - rank) if rank < n else torch.tensor(INVERSE_CROSSING**2)
    return Preconditioner(a, basis, (rest.clamp(min=MIN_REMAINING_SHARE * trace / n) / stiffness).sqrt())
