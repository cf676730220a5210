"""Basins whose volume is known, as tiny models that go through the same public functions as any network.

Except for the linear model, the model *is* a point u in n dimensions, at rest at 0, and the loss says how far out it is.
Exact volumes are natural logarithms without the ball's constant, ln V − ln V_ball(n) = ln E[rⁿ], as everywhere. Sizes are
chosen such that rays leave near c = 0.15, where those of trained networks do.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import betaln, erf, gammaln, ndtri
from torch import Tensor, nn

from minima_volume.estimators.gaussian import log_inside
from minima_volume.estimators.radial import Floats, log_ball_volume, log_mean_exp
from minima_volume.networks.adapters import LossFunction
from minima_volume.networks.directions import generator
from minima_volume.testing.ellipsoid import Ellipsoid

# A radius of SIZE·√n is a coefficient of about SIZE.
SIZE = 0.15


@dataclass(frozen=True)
class Body:
    """A model at rest with a basin of known volume.

    `log_volume`: exact ln E[rⁿ] in filter units. `log_gamma`: exact ln γ_σ as a function of σ, where there is a closed form
    or a one-dimensional integral. `curvatures` (n,): of the loss along the axes, for bodies that are ellipsoids along them.
    """

    name: str
    n_params: int
    model: nn.Module
    loss_fn: LossFunction
    data: tuple[Tensor, Tensor]
    threshold: float
    log_volume: float
    log_gamma: Callable[[float], float] | None = None
    curvatures: Floats | None = None


class Position(nn.Module):
    """A model that returns its n parameters, all zero, once per input."""

    def __init__(self, n_params: int) -> None:
        super().__init__()
        self.u = nn.Parameter(torch.zeros(n_params))

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (N, n), whatever the inputs (N, 1)."""
        return self.u.expand(len(inputs), -1)


def _body(
    name: str,
    n: int,
    height: Callable[[Tensor], Tensor],
    threshold: float,
    log_volume: float,
    log_gamma: Callable[[float], float] | None = None,
    curvatures: Floats | None = None,
) -> Body:
    """A body {u : height(u) ≤ threshold}; `height` maps points (N, n) to (N,)."""
    data = (torch.zeros(1, 1), torch.zeros(1))
    return Body(name, n, Position(n), lambda u, _: height(u), data, threshold, log_volume, log_gamma, curvatures)


def ball(n: int) -> Body:
    """|u|² ≤ R²: n·ln R, and γ_σ = P(n/2, R²/2σ²)."""
    radius = SIZE * np.sqrt(n)
    return _body(
        f"ball, n = {n:,}", n, lambda u: u.square().sum(dim=1), float(radius**2), float(n * np.log(radius)),
        lambda sigma: float(log_inside(np.log([radius]), n, sigma)[0]), np.full(n, 2.0),
    )  # fmt: skip


def ellipsoid(n: int, spread: float) -> Body:
    """½ Σ h u² ≤ τ with ln h at the normal quantiles times `spread`: (n/2)·ln 2τ − ½ Σ ln h."""
    h = np.exp(spread * ndtri((np.arange(n) + 0.5) / n))
    tau, axes = float(0.5 * SIZE**2 * n * h.mean()), torch.from_numpy(h)
    return _body(
        f"ellipsoid, sd ln h = {spread:g}, n = {n:,}", n, lambda u: 0.5 * (u.square() * axes.to(u)).sum(dim=1), tau,
        float(0.5 * n * np.log(2 * tau) - 0.5 * np.log(h).sum()), lambda sigma: Ellipsoid(h).log_mass(sigma, tau), h,
    )  # fmt: skip


def cube(n: int) -> Body:
    """max |u| ≤ s: n·ln 2s − ln V_ball, and γ_σ = erf(s/σ√2)ⁿ."""
    side = float(SIZE * np.sqrt(2 * np.log(n + 1)))
    return _body(
        f"cube, n = {n:,}", n, lambda u: u.abs().amax(dim=1).square(), side**2,
        float(n * np.log(2 * side) - log_ball_volume(n)), lambda sigma: float(n * np.log(erf(side / (sigma * np.sqrt(2))))),
    )  # fmt: skip


def cross_polytope(n: int) -> Body:
    """Σ |u| ≤ s: n·ln 2s − ln n! − ln V_ball."""
    reach = float(SIZE * n * np.sqrt(2 / np.pi))
    return _body(
        f"cross-polytope, n = {n:,}", n, lambda u: u.abs().sum(dim=1).square(), reach**2,
        float(n * np.log(2 * reach) - gammaln(n + 1) - log_ball_volume(n)),
    )  # fmt: skip


def two_wells(n: int, ratio: float = 9.0) -> Body:
    """Two Gaussian wells around one minimum, each wide where the other is narrow: a body with four long arms.

    With x the first and y the second half of the coordinates, L = −ln ½(e^(−A) + e^(−B)), A = (|x|² + q|y|²)/2w² and B the
    same with x and y exchanged. The radius depends on t = |x|²/|u|² alone, which is Beta(n/4, n/4) over directions, so that
    volume and γ_σ are integrals over t. Raises ValueError unless n is even.
    """
    if n % 2:
        raise ValueError(f"expected an even number of dimensions, got {n}")
    half, width, tau = n // 2, float(SIZE * np.sqrt(1 + ratio)), 0.25 * n
    # Equal steps in the logit of t, which holds both arms' ends.
    logits = np.linspace(-60, 60, 6001)
    ln_t, ln_rest = -np.log1p(np.exp(-logits)), -np.log1p(np.exp(logits))
    log_weights = 0.5 * half * (ln_t + ln_rest) - betaln(0.5 * half, 0.5 * half) + np.log(logits[1] - logits[0])
    log_r = np.log(width) + np.array([_two_well_radius(share, ratio, tau) for share in np.exp(ln_t)])

    def mean(values: Floats) -> float:
        return log_mean_exp(values + log_weights) + float(np.log(values.size))

    def height(u: Tensor) -> Tensor:
        x, y = (part.square().sum(dim=1) / (2 * width**2) for part in u.split(half, dim=1))
        return np.log(2) - torch.logaddexp(-x - ratio * y, -ratio * x - y)

    return _body(
        f"two wells, n = {n:,}", n, height, tau, mean(n * log_r), lambda sigma: mean(log_inside(log_r, n, sigma))
    )


def _two_well_radius(share: float, ratio: float, tau: float) -> float:
    """ln r in units of the width, where |x|² = share·r²."""
    a, b = (0.5 * (part + ratio * (1 - part)) for part in (share, 1 - share))

    def excess(log_r: float) -> float:
        square = np.exp(2 * log_r)
        return float(np.log(2) - np.logaddexp(-a * square, -b * square) - tau)

    # L lies between min(A, B) and that plus ln 2.
    low, high = (0.5 * np.log(height / min(a, b)) for height in (max(tau - np.log(2), 1e-3 * tau), tau))
    return float(brentq(excess, low - 1e-9, high + 1e-9, xtol=1e-14))


def linear_model(n: int, n_samples: int = 400, seed: int = 0) -> Body:
    """A linear model at its least-squares solution w: an ellipsoid with the curvature 2|w|²XᵀX/N in filter units.

    {L ≤ τ} has (n/2)·ln(τ − L₀) − ½ ln det(|w|²XᵀX/N). Raises ValueError unless there are more samples than parameters.
    """
    if n_samples <= n:
        raise ValueError(f"expected more than {n} samples, got {n_samples}")
    draw = generator("linear model", n, n_samples, seed)
    axes = torch.exp(0.5 * torch.linspace(-1, 1, n, dtype=torch.float64))
    inputs = (torch.randn(n_samples, n, generator=draw, dtype=torch.float64) * axes).float()
    wanted = inputs.double() @ torch.randn(n, 1, generator=draw, dtype=torch.float64)
    targets = (wanted + torch.randn(n_samples, 1, generator=draw, dtype=torch.float64)).float()
    solution = torch.linalg.lstsq(inputs.double(), targets.double()).solution
    layer = nn.Linear(n, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(solution.T)
    residual = float((inputs.double() @ solution - targets.double()).square().mean())
    h = (
        2
        * torch.linalg.eigvalsh(inputs.double().T @ inputs.double()).numpy()
        * float(solution.square().sum())
        / n_samples
    )
    rise = float(0.5 * SIZE**2 * n * h.mean())
    return Body(
        f"linear model, n = {n:,}", n, nn.Sequential(layer), nn.MSELoss(), (inputs, targets), residual + rise,
        float(0.5 * n * np.log(2 * rise) - 0.5 * np.log(h).sum()), lambda sigma: Ellipsoid(h).log_mass(sigma, rise),
    )  # fmt: skip
