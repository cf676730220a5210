"""Loss surfaces L(u) in filter-normalised coordinates u around a minimum at u = 0, evaluated at many points at once."""

import math
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from minima_volume.errors import NumericsError
from minima_volume.networks.curvature import gauss_newton_row
from minima_volume.networks.losses import sum_float64
from minima_volume.networks.low_rank import leading_eigenvectors
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.private_copy import copy_model
from minima_volume.sampling.mass import MassMatrix

# Least number of pairs of a point and a sample that a mean curvature averages over.
MIN_CURVATURE_PAIRS = 1024
# Samples × points × widest layer that are evaluated together. On a CPU these activations stay in a core's cache.
MAX_TILE_ACTIVATIONS = 2**20
# Shares of the samples after which points above a ceiling are left, and number of samples below which that gains nothing.
# Points are evaluated a few at a time, so that the first part is large enough for a fast product.
LOOKS, FEWEST_SAMPLES, FEW_POINTS = (1 / 8, 1 / 4, 1 / 2), 512, 4


class Potential(Protocol):
    """A loss surface L(u) over n coordinates with its minimum at u = 0."""

    @property
    def n_params(self) -> int:
        """Number n of coordinates."""

    def values(self, points: Tensor, ceiling: float = math.inf) -> Tensor:
        """Return L (k,) at points (k, n), in float64; any larger number than the ceiling where L is above it."""

    def values_and_gradients(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return L (k,) in float64 and ∇L (k, n) in the precision of the points."""


def check_inside(potential: Potential, threshold: float) -> None:
    """Raise NumericsError unless the loss at the minimum, L(0), is below the threshold."""
    height = float(potential.values(torch.zeros(1, potential.n_params))[0])
    if not height < threshold:
        raise NumericsError(
            f"Expected a minimum below the threshold {threshold}, got the loss {height:.4g}: train longer or raise "
            "the threshold."
        )


class CountingPotential:
    """A potential that counts its evaluations.

    Attributes:
        n_values: Number of points at which only L was evaluated.
        n_gradients: Number of points at which L and ∇L were evaluated.
    """

    def __init__(self, potential: Potential) -> None:
        self.potential, self.n_params = potential, potential.n_params
        self.n_values = self.n_gradients = 0

    def values(self, points: Tensor, ceiling: float = math.inf) -> Tensor:
        """Return L (k,) at points (k, n), or a larger number than the ceiling."""
        self.n_values += len(points)
        return self.potential.values(points, ceiling)

    def values_and_gradients(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return L (k,) and ∇L (k, n)."""
        self.n_gradients += len(points)
        return self.potential.values_and_gradients(points)


class NetworkPotential:
    """The mean loss L(u) of a network over samples at θ* + s∘u, with gradients and curvature for samplers.

    Points may be on any device, and results are returned on the same device.

    Args:
        model: Network; it is copied and evaluated in evaluation mode.
        minimum: Origin θ* and scales s of the coordinates.
        samples: Data set and criterion. All evaluations run on its device.
        nonnegative: Whether no sample's loss is ever negative, so that a partial sum above a ceiling decides.
        dtype: Precision of the evaluation. Sums over samples are always float64.

    Example:
        >>> import torch
        >>> from minima_volume.networks.losses import cross_entropy
        >>> from minima_volume.networks.minimum import Minimum, Samples
        >>> from minima_volume.networks.parameters import layout_of, parameters_of
        >>> model = torch.nn.Linear(2, 3)
        >>> minimum = Minimum.of(parameters_of(model), layout_of(parameters_of(model)))
        >>> samples = Samples(torch.eye(2), torch.tensor([0, 1]), cross_entropy)
        >>> potential = NetworkPotential(model, minimum, samples)
        >>> potential.n_params
        9
        >>> losses, gradients = potential.values_and_gradients(torch.zeros(5, 9))
        >>> losses.shape, gradients.shape
        (torch.Size([5]), torch.Size([5, 9]))
        >>> expected = torch.nn.CrossEntropyLoss()(model(samples.inputs), samples.targets)
        >>> torch.allclose(losses, expected.double(), rtol=1e-5)
        True
    """

    def __init__(
        self,
        model: nn.Module,
        minimum: Minimum,
        samples: Samples,
        *,
        nonnegative: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        device = samples.inputs.device
        self.model = copy_model(model, device, dtype).eval()
        self.minimum, self.samples = minimum.to(device, dtype), samples.to(device, dtype)
        widest = max((max(tensor.shape) for tensor in minimum.parameters.values() if tensor.ndim > 1), default=1)
        self.nonnegative = nonnegative
        # Mean loss of each sample at the points that were evaluated last.
        self.hardness = torch.zeros(len(samples), dtype=torch.float64)
        self.per_tile = max(1, MAX_TILE_ACTIVATIONS // (len(samples) * widest))

    @property
    def n_params(self) -> int:
        """Number n of perturbed parameters."""
        return self.minimum.layout.n_params

    def _outputs(self, point: Tensor, inputs: Tensor) -> Tensor:
        """Return the outputs (N, C) of the network at one point u (n,)."""
        result: Tensor = functional_call(self.model, self.minimum.moved(point), (inputs,))
        return result

    def losses(self, points: Tensor, samples: Samples) -> Tensor:
        """Return the losses (k, N) of samples at points (k, n), differentiable in the points."""
        outputs = vmap(self._outputs, in_dims=(0, None))(points, samples.inputs)
        return self.samples.criterion(outputs, samples.targets)

    @torch.no_grad()
    def values(self, points: Tensor, ceiling: float = math.inf) -> Tensor:
        """Return L (k,) at points (k, n), in float64.

        If losses are not negative, a partial sum above the ceiling decides. Such a point gets its partial sum divided by
        the number of samples. The samples that were hardest at earlier points come first.

        Args:
            points: Points (k, n).
            ceiling: A loss above which the value does not matter.
        """
        size = len(self.samples)
        if math.isinf(ceiling) or size < FEWEST_SAMPLES or not self.nonnegative:
            tiles = points.to(self.minimum.scales).split(self.per_tile)
            return torch.cat([sum_float64(self.losses(tile, self.samples)).to(points.device) for tile in tiles]) / size
        device, order = self.samples.inputs.device, self.hardness.argsort(descending=True, stable=True)
        edges = [int(share * size) for share in LOOKS]
        parts = [(rows, self.samples.take(rows.to(device))) for rows in order.tensor_split(edges)]
        found, sums, seen = [], torch.zeros_like(self.hardness), torch.zeros_like(self.hardness)
        for tile in points.to(self.minimum.scales).split(max(FEW_POINTS, self.per_tile)):
            total, inside = torch.zeros(len(tile), dtype=torch.float64), torch.arange(len(tile))
            for rows, part in parts:
                losses = self.losses(tile[inside.to(device)], part)
                sums[rows] += losses.sum(dim=0).cpu()
                seen[rows] += len(inside)
                total[inside] += sum_float64(losses).cpu()
                inside = torch.nonzero(total <= ceiling * size).flatten()
                if not len(inside):
                    break
            found.append(total.to(points.device))
        self.hardness = torch.where(seen > 0, sums / seen, self.hardness)
        return torch.cat(found) / size

    def values_and_gradients(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return L (k,) in float64 and ∇L (k, n) with respect to u, in the precision of the points."""
        values, gradients = [], []
        for tile in points.to(self.minimum.scales).split(self.per_tile):
            at = tile.detach().requires_grad_()
            sums = sum_float64(self.losses(at, self.samples))
            gradients.append(torch.autograd.grad(sums.sum(), at)[0])
            values.append(sums.detach().to(points.device))
        return torch.cat(values) / len(self.samples), torch.cat(gradients).to(points) / len(self.samples)

    def mean_curvature(self, points: Tensor, *, rank: int, draws: torch.Generator) -> MassMatrix:
        """Return I + the leading part of the Gauss–Newton matrix, averaged over the points.

        The matrix is estimated from random pairs of a point and a sample, with one row each; see `gauss_newton_row`.

        Args:
            points: Points (k, n) to average over.
            rank: Number of leading eigenvectors.
            draws: Generator of the pairs and signs.
        """
        pairs = max(4 * rank, MIN_CURVATURE_PAIRS)
        point = torch.randint(len(points), (pairs,), generator=draws)
        sample = torch.randint(len(self.samples), (pairs,), generator=draws)
        n_outputs = self._outputs(points[0].to(self.minimum.scales), self.samples.inputs[:1]).shape[-1]
        signs = 2.0 * torch.randint(2, (pairs, n_outputs), generator=draws) - 1
        row = partial(gauss_newton_row, self.model, self.minimum, self.samples.criterion)
        at = points[point].to(self.minimum.scales)
        rows = vmap(row)(at, self.samples.inputs[sample], self.samples.targets[sample], signs.to(at)).detach()
        values, basis, _ = leading_eigenvectors(rows.to(points.device), rank)
        return MassMatrix((values / pairs).to(at.dtype), basis)
