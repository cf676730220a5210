"""Data sets whose first L samples are the landscape of size L, minima in filter-normalised coordinates, and their rays.

Data sets are nested: one pass over the largest gives the mean loss of every smaller one. Sums run in float64 and are
divided once.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from minima_volume.directions import generator
from minima_volume.losses import Criterion, Metric, misclassified, total
from minima_volume.parameters import Layout, Parameters, filter_scales
from minima_volume.precision import doubled

# Activations of one tile stay in a core's cache on a CPU; a GPU wants enough work per launch instead.
TILE_ELEMENTS = {"cpu": 2**18, "cuda": 2**26, "mps": 2**24}


def channels_last(images: Tensor) -> Tensor:
    """Images (…, channels, rows, columns) in the order of memory that convolutions on a CPU are fastest with.

    `contiguous(memory_format=…)` leaves images of one channel as they are, which convolutions take for channels first.
    """
    if images.device.type != "cpu":
        return images
    last = torch.empty_like(images.movedim(-3, -1), memory_format=torch.contiguous_format).movedim(-1, -3)
    return last.copy_(images)


@dataclass(frozen=True)
class Samples:
    """A data set and the loss that its landscapes average."""

    inputs: Tensor
    targets: Tensor
    criterion: Criterion

    def __len__(self) -> int:
        return len(self.inputs)

    def part(self, start: int, stop: int) -> "Samples":
        """The samples start:stop as views."""
        return replace(self, inputs=self.inputs[start:stop], targets=self.targets[start:stop])

    def shuffled(self) -> "Samples":
        """The same samples in an order that is always the same."""
        order = torch.randperm(len(self), generator=generator("samples", 0)).to(self.inputs.device)
        return replace(self, inputs=self.inputs[order], targets=self.targets[order])

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> "Samples":
        """The same samples on a device, floating-point inputs in another precision if one is given."""
        inputs = self.inputs.to(device, dtype if self.inputs.is_floating_point() else None)
        return replace(self, inputs=inputs, targets=self.targets.to(device))


@dataclass(frozen=True)
class Minimum:
    """Trained parameters, and the scale of every perturbed coordinate."""

    parameters: Parameters
    layout: Layout
    scales: Tensor

    @classmethod
    def of(cls, parameters: Parameters, layout: Layout, *, normalise: bool = True) -> "Minimum":
        """A minimum in filter-normalised coordinates, or in raw ones if not `normalise`."""
        return cls(parameters, layout, filter_scales(parameters, layout, normalise=normalise))

    def moved(self, step: Tensor) -> Parameters:
        """All parameters at θ* + s∘step, differentiable in `step` (n,)."""
        steps = self.layout.split(self.scales * step)
        return {name: value + steps[name] if name in steps else value for name, value in self.parameters.items()}

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Minimum":
        """Copy on another device or in another precision."""
        parameters = {
            name: tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)
            for name, tensor in self.parameters.items()
        }
        return Minimum(parameters, self.layout, self.scales.to(device, dtype))


class Rays(ABC):
    """The rays of one minimum along a block of directions, over one data set.

    `sharp`: float32 rays whose logits and criterion are computed in float64, so that mean losses over many samples need a
    second look in float64 at few of them. `shared`: what a minimum's rays compute that no direction changes, if anything.
    """

    sharp = False
    shared: Tensor | None = None

    def __init__(self, samples: Samples, n_rays: int) -> None:
        self.samples, self.n_rays = samples, n_rays

    @abstractmethod
    def width(self) -> int:
        """Numbers held per sample and ray while a tile is evaluated."""

    @abstractmethod
    def at(self, rays: Tensor, coefficients: Tensor) -> Callable[[int, int], Tensor]:
        """The networks at the k points (rays[i], coefficients[i]): samples start, stop -> outputs (k, stop − start, C)."""

    @torch.no_grad()
    def sums(self, rays: Tensor, coefficients: Tensor, sizes: Sequence[int], metric: Metric = "loss") -> Tensor:
        """Summed losses (k, len(sizes)) over the first `size` samples, float64 on the CPU; sizes ascend.

        The metric "accuracy" sums misclassified samples instead, so that inside still means below a threshold.
        """
        result = torch.zeros(len(rays), len(sizes), dtype=torch.float64)
        for rows, edges, tiles in self._tiles(rays, coefficients, sizes, metric):
            parts = torch.stack([total(values) for values in tiles]).cpu()
            cumulative = dict(zip(edges[1:], parts.cumsum(0), strict=True))
            result[rows] = torch.stack([cumulative[size] for size in sizes], dim=1)
        return result

    @torch.no_grad()
    def losses(self, rays: Tensor, coefficients: Tensor, size: int, start: int = 0) -> Tensor:
        """Losses (k, size − start) of the samples from `start` on, float64 on the rays' device if it has that."""
        tiled = self._tiles(rays, coefficients, [size], "loss", start)
        found = [torch.cat(list(tiles), dim=-1) for _, _, tiles in tiled]
        return doubled(torch.cat(found))

    def _tiles(
        self, rays: Tensor, coefficients: Tensor, sizes: Sequence[int], metric: Metric, start: int = 0
    ) -> Iterator[tuple[Tensor, list[int], Iterator[Tensor]]]:
        """Points that are evaluated together, the edges of their tiles of samples, and the tiles' values (points, span)."""
        criterion = self.samples.criterion if metric == "loss" else misclassified
        targets, device = self.samples.targets, self.samples.inputs.device
        budget = TILE_ELEMENTS[device.type] // self.width()
        span = max(1, min(sizes[-1] - start, budget))
        edges = sorted({*range(start, sizes[-1], span), *sizes})
        for rows in torch.arange(len(rays)).split(max(1, budget // span)):
            outputs = self.at(rays[rows].to(device), coefficients[rows])
            yield rows, edges, (criterion(outputs(a, b), targets[a:b]) for a, b in pairwise(edges))

    def means(self, rays: Tensor, coefficients: Tensor, sizes: Sequence[int], metric: Metric = "loss") -> Tensor:
        """Mean losses (k, len(sizes)) over the first `size` samples, float64 on the CPU."""
        return self.sums(rays, coefficients, sizes, metric) / torch.tensor(sizes, dtype=torch.float64)
