"""What a sweep works on, and what it knows of each minimum from block to block."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from minima_volume.crossings.landscapes import LandscapeSchedule
from minima_volume.crossings.newton import FLATTEST, SHORTEST
from minima_volume.crossings.rounding import Correction, Float64Losses
from minima_volume.crossings.scan import Floats, Targets
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import Layout
from minima_volume.networks.precision import device_for
from minima_volume.networks.sequential import is_stack
from minima_volume.rays.bundle import Bundle, RayBundle, bytes_per_ray

T = TypeVar("T", Tensor, Minimum)
# Bytes per sample of a float32 crossing that is being polished: its float64 loss, and the tiles and copies behind it.
LOSS_BYTES = 24


def tolerance_for(n_params: int) -> float:
    """Relative tolerance of a coefficient: 0.002 nats of n·ln r, and never coarser than 10⁻⁶."""
    return min(1e-6, 0.002 / n_params)


@dataclass(frozen=True)
class MinimumState:
    """What earlier blocks have shown about one minimum.

    Attributes:
        schedule: Its targets in order of solution; None before the first block.
        at_zero: Means at the minimum, one for each target of the schedule.
        checked: Whether float32 has been compared with float64.
        shared: `Rays.shared`, if it fits the memory.
        float32: Losses evaluated in float32.
        float64: Losses evaluated in float64.
    """

    schedule: LandscapeSchedule | None = None
    at_zero: Floats | None = None
    checked: bool = False
    shared: Tensor | None = None
    float32: int = 0
    float64: int = 0


class SweepProblem(ABC):
    """What a sweep works on, whatever the directions.

    Attributes:
        minima: Where the rays start. All share the directions.
        targets: Boundaries of each minimum.
        memory: Bytes that the rays in flight may keep.
        dtype: Precision in which rays are scanned.
        rounding: Relative rounding of a height that float64 takes its secants from.
        flattest: Least slope d ln L/d ln c that steps in float64 follow; flatter crossings are enclosed.
    """

    dtype = torch.float32
    rounding, flattest = SHORTEST, FLATTEST

    def __init__(self, minima: Sequence[Minimum], targets: Sequence[Targets], memory: int) -> None:
        self.minima, self.targets, self.memory = minima, targets, memory

    @property
    def layout(self) -> Layout:
        """The perturbed parameters, the same for all minima."""
        return self.minima[0].layout

    @property
    def tolerance(self) -> float:
        """Relative tolerance of a coefficient."""
        return tolerance_for(self.layout.n_params)

    @property
    def initial_states(self) -> list[MinimumState]:
        """The state of every minimum before the first block."""
        return [MinimumState() for _ in self.minima]

    @property
    def corrections(self) -> int:
        """How many losses corrections have evaluated in float64."""
        return 0

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """Directions in flight."""

    @abstractmethod
    def bundle(self, block: Tensor, dtype: torch.dtype, start: int = 0, stop: int | None = None) -> Bundle:
        """The rays of a block of directions (rays, n) over the samples start…stop−1; by default over all."""

    @abstractmethod
    def prepare(self, value: T) -> T:
        """Directions or a minimum as a float64 bundle takes them, converted once for all chunks of samples."""

    @abstractmethod
    def chunks(self, n_rays: int, n_samples: int) -> Iterable[tuple[int, int]]:
        """Sample ranges that float64 evaluates together."""

    @abstractmethod
    def correction(self, minimum: Minimum, block: Tensor) -> Correction:
        """What float32 rounds off sums of losses along a block of directions."""


class StudyProblem(SweepProblem):
    """A sweep over the first samples of one data set, shared by all minima of a study.

    Args:
        model: The architecture; its own weights are not used.
        minima: Where the rays start.
        targets: Boundaries of each minimum.
        samples: The data set.
        memory: Bytes that the rays in flight may keep.
    """

    def __init__(
        self, model: nn.Module, minima: Sequence[Minimum], targets: Sequence[Targets], samples: Samples, memory: int
    ) -> None:
        super().__init__(minima, targets, memory)
        self.model, self.samples = model, samples

    @property
    def batch_size(self) -> int:
        """Directions in flight: their rays and the losses at their crossings fit the memory."""
        polished = max(int(own.sizes[own.is_loss].sum()) for own in self.targets)
        losses = LOSS_BYTES * polished if is_stack(self.model, self.samples.inputs.ndim) else 0
        return max(1, self.memory // max(1, bytes_per_ray(self.model, self.layout, self.samples) + losses))

    @cached_property
    def float64_losses(self) -> Float64Losses:
        """Float64 losses of chosen samples, for corrections."""
        return Float64Losses(self.model, self.samples)

    @property
    def corrections(self) -> int:
        """How many losses corrections have evaluated in float64."""
        return self.float64_losses.sample_evaluations

    def bundle(self, block: Tensor, dtype: torch.dtype, start: int = 0, stop: int | None = None) -> Bundle:
        """The rays of a block of directions; see `SweepProblem.bundle`."""
        part = self.samples if stop is None else self.samples.part(start, stop)
        return RayBundle(self.model, self.layout, part, block, dtype)

    def prepare(self, value: T) -> T:
        """Directions or a minimum in float64."""
        return value.to(device_for(torch.float64, self.samples.inputs.device), torch.float64)

    def chunks(self, n_rays: int, n_samples: int) -> Iterable[tuple[int, int]]:
        """Sample ranges whose float64 products of all rays fit a quarter of the memory."""
        kept = bytes_per_ray(self.model, self.layout, self.samples) - 8 * self.layout.n_params
        per_sample = 2 * max(1, kept // len(self.samples)) * n_rays
        length = int(np.clip(self.memory // 4 // per_sample, 256, n_samples))
        return ((start, min(start + length, n_samples)) for start in range(0, n_samples, length))

    def correction(self, minimum: Minimum, block: Tensor) -> Correction:
        """What float32 rounds off sums of losses along a block of directions."""
        return self.float64_losses.along(minimum, block)
