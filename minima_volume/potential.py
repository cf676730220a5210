"""Heights of a loss surface above many points at once, in filter-normalised coordinates u around a minimum at u = 0."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, vmap

from minima_volume.errors import NumericsError
from minima_volume.geometry import Floats
from minima_volume.losses import total
from minima_volume.points import Minimum, Samples
from minima_volume.precision import copied

MOST_FREQUENCIES = 2**22  # of the exact mass's Fourier sum; few axes decay slowly
CURVATURE_PAIRS = 1024  # pairs of a point and a sample behind a mean curvature
TILE_ELEMENTS = 2**20  # samples × points × widest layer of one tile: activations that stay in a core's cache


class Potential(Protocol):
    """A loss surface L(u) over n coordinates."""

    @property
    def n_params(self) -> int:
        """Number of coordinates n."""

    def values(self, points: Tensor) -> Tensor:
        """L at points (k, n) -> (k,), float64."""

    def values_and_gradients(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """L (k,) in float64 and ∇L (k, n) in the precision of the points."""


@dataclass(frozen=True)
class Metric:
    """A symmetric positive matrix I + V diag(d) Vᵀ; without a basis V (n, r) its axes are the coordinates."""

    strengths: Tensor
    basis: Tensor | None = None

    def power(self, vectors: Tensor, exponent: float) -> Tensor:
        """The matrix to a power, applied to rows (k, n)."""
        factors = (1 + self.strengths) ** exponent
        if self.basis is None:
            return vectors * factors
        return vectors + ((vectors @ self.basis) * (factors - 1)) @ self.basis.T

    def scaled(self, factor: float) -> "Metric":
        """I + factor · V diag(d) Vᵀ."""
        return Metric(factor * self.strengths, self.basis)

    @classmethod
    def of_gradients(cls, gradients: Tensor, rank: int | None) -> "Metric":
        """The mean precision of a density under a standard Gaussian from draws g (m, n) of the remaining gradient.

        For a Gaussian of precision 1 + d along an axis, E[g²] = d²/(1 + d); solved for d along the coordinates, or along
        the `rank` leading principal axes of the draws less the mean of what the axes left out hold of each draw.
        """
        if rank is None:
            return cls(_strength(gradients.square().mean(dim=0)))
        values, basis, rest = _leading(gradients, rank)
        noise = rest.mean() if len(rest) else 0.0
        squares = ((values - noise) / len(gradients)).clamp_min(0)
        return cls(_strength(squares).to(gradients.dtype), basis)


def _leading(rows: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `rank` largest eigenvalues of rowsᵀrows, their vectors (n, r), and the other eigenvalues that are not 0."""
    wide = len(rows) < rows.shape[1]
    values, vectors = torch.linalg.eigh((rows @ rows.T if wide else rows.T @ rows).double())
    values = values.clamp_min(1e-300)
    top = vectors[:, -rank:]
    basis = (rows.T.double() @ top) / values[-rank:].sqrt() if wide else top
    return values[-rank:], basis.to(rows.dtype), values[:-rank]


def _strength(squares: Tensor) -> Tensor:
    return (squares + (squares.square() + 4 * squares).sqrt()) / 2


def check_inside(potential: Potential, threshold: float) -> None:
    """Raise NumericsError if the minimum, u = 0, does not lie below the threshold."""
    height = float(potential.values(torch.zeros(1, potential.n_params))[0])
    if not height < threshold:
        raise NumericsError(
            f"Expected a minimum below the threshold {threshold}, got the loss {height:.4g}: train it longer or raise "
            "the threshold."
        )


class Counted:
    """A potential that counts how many points it was asked for."""

    def __init__(self, potential: Potential) -> None:
        self.potential, self.n_params = potential, potential.n_params
        self.n_values = self.n_gradients = 0

    def values(self, points: Tensor) -> Tensor:
        """L at points (k, n) -> (k,)."""
        self.n_values += len(points)
        return self.potential.values(points)

    def values_and_gradients(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """L (k,) and ∇L (k, n)."""
        self.n_gradients += len(points)
        return self.potential.values_and_gradients(points)


class Ellipsoid:
    """L = ½ Σ hᵢ uᵢ² with curvatures h (n,) > 0: the body {L ≤ τ} whose Gaussian mass is known."""

    def __init__(self, curvatures: Floats) -> None:
        self.curvatures = np.asarray(curvatures, dtype=np.float64)
        self._h = torch.as_tensor(self.curvatures, dtype=torch.float32)

    @property
    def n_params(self) -> int:
        """Number of axes."""
        return len(self.curvatures)

    def values(self, points: Tensor) -> Tensor:
        """½ Σ hᵢ uᵢ² at points (k, n) -> (k,), float64."""
        return 0.5 * (points * points * self._h).sum(dim=1, dtype=torch.float64)

    def values_and_gradients(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """L (k,) and h∘u (k, n)."""
        gradients = points * self._h
        return 0.5 * (points * gradients).sum(dim=1, dtype=torch.float64), gradients

    def mean_curvature(self, points: Tensor, *, rank: int, draws: torch.Generator) -> Metric:
        """I + diag(h), everywhere the same."""
        return Metric(self._h)

    def log_mass(self, sigma: float, threshold: float) -> float:
        """ln P(½ Σ hᵢ σ² zᵢ² ≤ τ), z ~ N(0, I), in nats.

        With a = hσ², tilting by exp(−tQ), Q = ½ Σ aᵢ zᵢ², gives axes aᵢ/(1 + t·aᵢ) and, X the tilted Q,

            ln P = −½ Σ ln(1 + t·aᵢ) + ln E[1{X ≤ τ} exp(tX)],

        exact for any t > 0. At the t with E[X] = τ, the last term is ln of (1/2π) ∫ φ(s) exp((t − is)τ)/(t − is) ds with φ
        the characteristic function of X (Fourier inversion), summed by the trapezoid rule: what is left is a smooth
        integral of order 1/sd(X), however far out in the tail τ lies. Source: Imhof 1961 for t = 0; Lugannani & Rice 1980.
        """
        a = self.curvatures * sigma**2
        # The pole at s = −it must stay on one side: above the mean of Q a tilt too small to cancel digits serves.
        least = 1 / max(float(np.sqrt((a**2).sum() / 2)), threshold)

        def excess(tilt: float) -> float:
            return float((a / (1 + tilt * a)).sum() / 2 - threshold)

        t = float(brentq(excess, least, len(a) / threshold)) if excess(least) > 0 else least
        b = a / (1 + t * a)
        # A period much longer than what lies between the tail's decay lengths and the spread leaves no alias, and φ is
        # followed until it has fallen below rounding.
        period = max(40 / t, 40 * float(b.max()), 14 * float(np.sqrt((b**2).sum() / 2)), threshold)
        end = 1 / float(b.max())
        while 0.25 * np.log1p((end * b) ** 2).sum() < 36 and end * period < MOST_FREQUENCIES:
            end *= 1.25
        integral = 0.0
        for s in np.array_split(np.arange(0, end, 2 * np.pi / period), 1 + int(end * period * len(a) / 2**22)):
            phase = -0.5 * np.log1p(-1j * np.outer(s, b)).sum(axis=1) - 1j * s * threshold
            terms = (np.exp(phase) / (t - 1j * s)).real * np.where(s == 0, 1, 2)
            integral += float(terms.sum()) / period
        return min(0.0, float(-0.5 * np.log1p(t * a).sum() + t * threshold + np.log(integral)))


class NetworkPotential:
    """Mean loss of a network over samples at θ* + s∘u; evaluated in `dtype`, summed over samples in float64.

    Points may lie on any device; what is said of them lies there too.
    """

    def __init__(
        self, model: nn.Module, minimum: Minimum, samples: Samples, *, dtype: torch.dtype = torch.float32
    ) -> None:
        device = samples.inputs.device
        self.model = copied(model, device, dtype).eval()
        self.minimum, self.samples = minimum.to(device, dtype), samples.to(device, dtype)
        widest = max((max(tensor.shape) for tensor in minimum.parameters.values() if tensor.ndim > 1), default=1)
        self.per_tile = max(1, TILE_ELEMENTS // (len(samples) * widest))

    @property
    def n_params(self) -> int:
        """Number of perturbed parameters."""
        return self.minimum.layout.n_params

    def _outputs(self, point: Tensor, inputs: Tensor) -> Tensor:
        """Outputs (N, C) of the network at one point u (n,)."""
        result: Tensor = functional_call(self.model, self.minimum.moved(point), (inputs,))
        return result

    def sums(self, points: Tensor) -> Tensor:
        """Summed losses (k,) at points (k, n), differentiable."""
        outputs = vmap(self._outputs, in_dims=(0, None))(points, self.samples.inputs)
        return total(self.samples.criterion(outputs, self.samples.targets))

    @torch.no_grad()
    def values(self, points: Tensor) -> Tensor:
        """L at points (k, n) -> (k,), float64."""
        tiles = points.to(self.minimum.scales).split(self.per_tile)
        return torch.cat([self.sums(tile).to(points.device) for tile in tiles]) / len(self.samples)

    def values_and_gradients(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """L (k,) in float64 and ∇L (k, n) with respect to u."""
        values, gradients = [], []
        for tile in points.to(self.minimum.scales).split(self.per_tile):
            at = tile.detach().requires_grad_()
            sums = self.sums(at)
            gradients.append(torch.autograd.grad(sums.sum(), at)[0])
            values.append(sums.detach().to(points.device))
        return torch.cat(values) / len(self.samples), torch.cat(gradients).to(points) / len(self.samples)

    def mean_curvature(self, points: Tensor, *, rank: int, draws: torch.Generator) -> Metric:
        """I + the leading part of the mean Gauss–Newton matrix E[JᵀHJ] over random pairs of a point and a sample.

        J is the Jacobian of the sample's outputs with respect to u and H ≥ 0 the Hessian of its loss with respect to them;
        each pair gives one row JᵀH^½ξ with random signs ξ, whose square has the pair's matrix as its mean.
        """
        pairs = max(4 * rank, CURVATURE_PAIRS)
        point = torch.randint(len(points), (pairs,), generator=draws)
        sample = torch.randint(len(self.samples), (pairs,), generator=draws)
        n_outputs = self._outputs(points[0].to(self.minimum.scales), self.samples.inputs[:1]).shape[-1]
        signs = 2.0 * torch.randint(2, (pairs, n_outputs), generator=draws) - 1

        def row(at: Tensor, x: Tensor, y: Tensor, sign: Tensor) -> Tensor:
            outputs = self._outputs(at, x[None])[0]
            curvature = jacrev(jacrev(lambda o: self.samples.criterion(o[None, None], y[None])[0, 0]))(outputs)
            values, vectors = torch.linalg.eigh(curvature)
            root = vectors @ (values.clamp_min(0).sqrt() * (vectors.T @ sign))
            result: Tensor = grad(lambda u: self._outputs(u, x[None])[0] @ root)(at)
            return result

        at = points[point].to(self.minimum.scales)
        rows = vmap(row)(at, self.samples.inputs[sample], self.samples.targets[sample], signs.to(at)).detach()
        values, basis, _ = _leading(rows.to(points.device), rank)
        return Metric((values / pairs).to(at.dtype), basis)
