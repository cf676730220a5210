"""The interface of rays: losses at many points (ray, coefficient) of one minimum over nested data sets."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from minima_volume.networks.losses import Metric, sum_float64, zero_one_loss
from minima_volume.networks.minimum import Samples
from minima_volume.networks.precision import to_float64
from minima_volume.networks.sequential import TILE_ELEMENTS


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
            parts = torch.stack([sum_float64(values) for values in tiles]).cpu()
            cumulative = dict(zip(edges[1:], parts.cumsum(0), strict=True))
            result[rows] = torch.stack([cumulative[size] for size in sizes], dim=1)
        return result

    @torch.no_grad()
    def losses(self, rays: Tensor, coefficients: Tensor, size: int, start: int = 0) -> Tensor:
        """Losses (k, size − start) of the samples from `start` on, float64 on the rays' device if it has that."""
        tiled = self._tiles(rays, coefficients, [size], "loss", start)
        found = [torch.cat(list(tiles), dim=-1) for _, _, tiles in tiled]
        return to_float64(torch.cat(found))

    def _tiles(
        self, rays: Tensor, coefficients: Tensor, sizes: Sequence[int], metric: Metric, start: int = 0
    ) -> Iterator[tuple[Tensor, list[int], Iterator[Tensor]]]:
        """Points that are evaluated together, the edges of their tiles of samples, and the tiles' values (points, span)."""
        criterion = self.samples.criterion if metric == "loss" else zero_one_loss
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
