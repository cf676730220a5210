"""The interface of rays: losses at many points (ray, coefficient) of one minimum over nested data sets."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from minima_volume.networks.losses import Kind, sum_float64, zero_one_loss
from minima_volume.networks.minimum import Samples
from minima_volume.networks.precision import to_float64
from minima_volume.networks.sequential import TILE_ELEMENTS


class Rays(ABC):
    """The rays of one minimum along a block of directions, over one data set.

    Attributes:
        n_rays: Number of directions in the block.
        float64_logits: Whether float32 rays compute logits and criterion in float64. A mean loss over many samples then
            needs a float64 correction on few of them only.
        shared: What no direction changes and another block can use again, or None.
        sample_evaluations: How many losses or errors were evaluated so far, samples times points.
    """

    float64_logits = False
    shared: Tensor | None = None

    def __init__(self, n_rays: int) -> None:
        self.n_rays = n_rays
        self.sample_evaluations = 0

    @abstractmethod
    def sums(self, rays: Tensor, coefficients: Tensor, sizes: Sequence[int], kind: Kind = "loss") -> Tensor:
        """Sum losses or errors over nested data sets at many points.

        Args:
            rays: Ray number of each point, (k,).
            coefficients: Coefficient of each point, (k,).
            sizes: Sizes of the data sets, ascending; each holds the first `size` samples.
            kind: What is summed.

        Returns:
            Sums (k, len(sizes)), float64 on the CPU.
        """

    @abstractmethod
    def losses(self, rays: Tensor, coefficients: Tensor, size: int, start: int = 0) -> Tensor:
        """Losses (k, size − start) of the samples start…size−1 at k points, in float64 where the device has it."""

    def means(self, rays: Tensor, coefficients: Tensor, sizes: Sequence[int], kind: Kind = "loss") -> Tensor:
        """`sums` divided by the sizes: mean losses or error rates (k, len(sizes)), float64 on the CPU."""
        return self.sums(rays, coefficients, sizes, kind) / torch.tensor(sizes, dtype=torch.float64)


class TiledRays(Rays):
    """Rays that evaluate many points together on tiles of the samples.

    Attributes:
        samples: The data set.
    """

    def __init__(self, samples: Samples, n_rays: int) -> None:
        super().__init__(n_rays)
        self.samples = samples

    @abstractmethod
    def width(self) -> int:
        """Numbers kept per sample and ray while a tile is evaluated."""

    @abstractmethod
    def at(self, rays: Tensor, coefficients: Tensor) -> Callable[[int, int], Tensor]:
        """The networks at k points as a function of samples.

        Args:
            rays: Ray number of each point, (k,), on the samples' device.
            coefficients: Coefficient of each point, (k,), float64 on the CPU.

        Returns:
            A function of the first and last sample (start, stop) that returns outputs (k, stop − start, C).
        """

    @torch.no_grad()
    def sums(self, rays: Tensor, coefficients: Tensor, sizes: Sequence[int], kind: Kind = "loss") -> Tensor:
        """Sum losses or errors over nested data sets at many points; see `Rays.sums`."""
        result = torch.zeros(len(rays), len(sizes), dtype=torch.float64)
        for rows, edges, tiles in self._tiles(rays, coefficients, sizes, kind):
            parts = torch.stack([sum_float64(values) for values in tiles]).cpu()
            cumulative = dict(zip(edges[1:], parts.cumsum(0), strict=True))
            result[rows] = torch.stack([cumulative[size] for size in sizes], dim=1)
        return result

    @torch.no_grad()
    def losses(self, rays: Tensor, coefficients: Tensor, size: int, start: int = 0) -> Tensor:
        """Losses (k, size − start) of the samples start…size−1 at k points; see `Rays.losses`."""
        tiled = self._tiles(rays, coefficients, [size], "loss", start)
        found = [torch.cat(list(tiles), dim=-1) for _, _, tiles in tiled]
        return to_float64(torch.cat(found))

    def _tiles(
        self, rays: Tensor, coefficients: Tensor, sizes: Sequence[int], kind: Kind, start: int = 0
    ) -> Iterator[tuple[Tensor, list[int], Iterator[Tensor]]]:
        """Points that are evaluated together, the edges of their tiles of samples, and the tiles' values (points, span)."""
        self.sample_evaluations += len(rays) * (sizes[-1] - start)
        criterion = self.samples.criterion if kind == "loss" else zero_one_loss
        targets, device = self.samples.targets, self.samples.inputs.device
        budget = TILE_ELEMENTS[device.type] // self.width()
        span = max(1, min(sizes[-1] - start, budget))
        edges = sorted({*range(start, sizes[-1], span), *sizes})
        for rows in torch.arange(len(rays)).split(max(1, budget // span)):
            outputs = self.at(rays[rows].to(device), coefficients[rows])
            yield rows, edges, (criterion(outputs(a, b), targets[a:b]) for a, b in pairwise(edges))
