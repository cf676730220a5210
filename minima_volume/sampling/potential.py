"""Heights of a loss surface above many points at once, in filter-normalised coordinates u around a minimum at u = 0."""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, vmap

from minima_volume.errors import NumericsError
from minima_volume.networks.losses import sum_float64
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.precision import copy_model
from minima_volume.sampling.mass import MassMatrix, leading_eigenvectors

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


def check_inside(potential: Potential, threshold: float) -> None:
    """Raise NumericsError if the minimum, u = 0, does not lie below the threshold."""
    height = float(potential.values(torch.zeros(1, potential.n_params))[0])
    if not height < threshold:
        raise NumericsError(
            f"Expected a minimum below the threshold {threshold}, got the loss {height:.4g}: train it longer or raise "
            "the threshold."
        )


class CountingPotential:
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


class NetworkPotential:
    """Mean loss of a network over samples at θ* + s∘u; evaluated in `dtype`, summed over samples in float64.

    Points may lie on any device; what is said of them lies there too.
    """

    def __init__(
        self, model: nn.Module, minimum: Minimum, samples: Samples, *, dtype: torch.dtype = torch.float32
    ) -> None:
        device = samples.inputs.device
        self.model = copy_model(model, device, dtype).eval()
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
        return sum_float64(self.samples.criterion(outputs, self.samples.targets))

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

    def mean_curvature(self, points: Tensor, *, rank: int, draws: torch.Generator) -> MassMatrix:
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
        values, basis, _ = leading_eigenvectors(rows.to(points.device), rank)
        return MassMatrix((values / pairs).to(at.dtype), basis)
