"""Basins of known volume, as tiny models that can be measured like any network.

Except for the linear model, the parameters of the model are a point u in n dimensions with the minimum at 0, and the loss
is a function of u. Exact volumes are ln V − ln V_ball(n) = ln E[rⁿ] in nats, as everywhere in the package. The sizes are
chosen so that rays cross the threshold near c = 0.15, as in trained networks.
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

# Coefficient c at which rays cross the threshold; the radius is about c·√n.
CROSSING = 0.15


@dataclass(frozen=True)
class Body:
    """A model at a minimum whose basin has a known volume.

    Attributes:
        name: Name with the number of dimensions.
        n_params: Number n of parameters.
        model: The model at its minimum.
        loss_fn: Loss function.
        data: Inputs and targets.
        threshold: Loss at the boundary of the basin.
        log_volume: Exact ln E[rⁿ] in filter-normalised coordinates, in nats.
        log_gamma: Exact ln γ_σ in nats as a function of σ, or None if it is unknown.
        curvatures: Curvatures of the loss along the coordinates (n,), for ellipsoids with these axes, else None.
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
    """A model that returns its n parameters, initially 0, for every input.

    Args:
        n_params: n.
    """

    def __init__(self, n_params: int) -> None:
        super().__init__()
        self.u = nn.Parameter(torch.zeros(n_params))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the parameters as outputs (N, n) for inputs (N, …)."""
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
    """Create the body {u : height(u) ≤ threshold}, where `height` maps points (N, n) to (N,)."""
    data = (torch.zeros(1, 1), torch.zeros(1))
    return Body(name, n, Position(n), lambda u, _: height(u), data, threshold, log_volume, log_gamma, curvatures)


def ball(n: int) -> Body:
    """Return the ball |u|² ≤ R² with ln E[rⁿ] = n·ln R and γ_σ = P(n/2, R²/2σ²).

    Args:
        n: Number of dimensions.

    Example:
        >>> from minima_volume import measure_volume
        >>> body = ball(20)
        >>> found = measure_volume(
        ...     body.model, body.loss_fn, body.data, threshold=body.threshold, n_directions=5, progress=False
        ... )
        >>> abs(found.log_volume - body.log_volume) < 0.01
        True
    """
    radius = CROSSING * np.sqrt(n)
    return _body(
        f"ball, n = {n:,}", n, lambda u: u.square().sum(dim=1), float(radius**2), float(n * np.log(radius)),
        lambda sigma: float(log_inside(np.log([radius]), n, sigma)[0]), np.full(n, 2.0),
    )  # fmt: skip


def ellipsoid(n: int, spread: float) -> Body:
    """Return the ellipsoid ½ Σ h u² ≤ τ with ln E[rⁿ] = (n/2)·ln 2τ − ½ Σ ln h.

    Args:
        n: Number of dimensions.
        spread: Standard deviation of ln h, which are normal quantiles.

    Example:
        With equal curvatures it is the ball:

        >>> bool(abs(ellipsoid(100, 0.0).log_volume - ball(100).log_volume) < 1e-9)
        True
    """
    h = np.exp(spread * ndtri((np.arange(n) + 0.5) / n))
    tau, axes = float(0.5 * CROSSING**2 * n * h.mean()), torch.from_numpy(h)
    return _body(
        f"ellipsoid, sd ln h = {spread:g}, n = {n:,}", n, lambda u: 0.5 * (u.square() * axes.to(u)).sum(dim=1), tau,
        float(0.5 * n * np.log(2 * tau) - 0.5 * np.log(h).sum()), lambda sigma: Ellipsoid(h).log_mass(sigma, tau), h,
    )  # fmt: skip


def cube(n: int) -> Body:
    """Return the cube max |u| ≤ s with ln E[rⁿ] = n·ln 2s − ln V_ball and γ_σ = erf(s/σ√2)ⁿ.

    Args:
        n: Number of dimensions.
    """
    side = float(CROSSING * np.sqrt(2 * np.log(n + 1)))
    return _body(
        f"cube, n = {n:,}", n, lambda u: u.abs().amax(dim=1).square(), side**2,
        float(n * np.log(2 * side) - log_ball_volume(n)), lambda sigma: float(n * np.log(erf(side / (sigma * np.sqrt(2))))),
    )  # fmt: skip


def cross_polytope(n: int) -> Body:
    """Return the cross-polytope Σ |u| ≤ s with ln E[rⁿ] = n·ln 2s − ln n! − ln V_ball.

    Args:
        n: Number of dimensions.
    """
    reach = float(CROSSING * n * np.sqrt(2 / np.pi))
    return _body(
        f"cross-polytope, n = {n:,}", n, lambda u: u.abs().sum(dim=1).square(), reach**2,
        float(n * np.log(2 * reach) - gammaln(n + 1) - log_ball_volume(n)),
    )  # fmt: skip


def two_wells(n: int, ratio: float = 9.0) -> Body:
    """Return a body with long arms: two Gaussian wells around one minimum, each wide where the other is narrow.

    With x the first and y the second half of the coordinates, L = −ln ½(e^(−A) + e^(−B)), where A = (|x|² + q|y|²)/2w² and
    B is the same with x and y exchanged. The radius depends only on t = |x|²/|u|², which has the distribution Beta(n/4, n/4)
    over directions. So the volume and γ_σ are integrals over t.

    Args:
        n: Number of dimensions, even.
        ratio: q > 1, the ratio of the curvatures of each well.

    Raises:
        ValueError: n is odd.
    """
    if n % 2:
        raise ValueError(f"Expected an even number of dimensions, got {n}: add or remove one.")
    half = n // 2
    width, tau = float(CROSSING * np.sqrt(1 + ratio)), 0.25 * n
    # Equal steps in the logit of t resolve both ends.
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
    """Return ln r in units of the width in a direction with |x|² = share·r²."""
    a, b = (0.5 * (part + ratio * (1 - part)) for part in (share, 1 - share))

    def excess(log_r: float) -> float:
        square = np.exp(2 * log_r)
        return float(np.log(2) - np.logaddexp(-a * square, -b * square) - tau)

    # min(A, B) ≤ L ≤ min(A, B) + ln 2.
    low, high = (0.5 * np.log(height / min(a, b)) for height in (max(tau - np.log(2), 1e-3 * tau), tau))
    return float(brentq(excess, low - 1e-9, high + 1e-9, xtol=1e-14))


def linear_model(n: int, n_samples: int = 400, seed: int = 0) -> Body:
    """Return a linear model at its least-squares solution w: an ellipsoid with curvature 2|w|²XᵀX/N.

    The basin {L ≤ τ} has ln E[rⁿ] = (n/2)·ln(τ − L₀) − ½ ln det(|w|²XᵀX/N) in filter-normalised coordinates, with L₀ the
    loss at the minimum.

    Args:
        n: Number of inputs and parameters.
        n_samples: Number N of samples, more than n.
        seed: Seed of the data.

    Raises:
        ValueError: There are not more samples than parameters.
    """
    if n_samples <= n:
        raise ValueError(f"Expected more than {n} samples, got {n_samples}: raise n_samples.")
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
    rise = float(0.5 * CROSSING**2 * n * h.mean())
    return Body(
        f"linear model, n = {n:,}", n, nn.Sequential(layer), nn.MSELoss(), (inputs, targets), residual + rise,
        float(0.5 * n * np.log(2 * rise) - 0.5 * np.log(h).sum()), lambda sigma: Ellipsoid(h).log_mass(sigma, rise),
    )  # fmt: skip
