"""What a sweep works on, and what it knows of each minimum from block to block."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from minima_volume.crossings.landscapes import LandscapeSchedule
from minima_volume.crossings.rounding import Float64Losses
from minima_volume.crossings.scan import Floats, Targets
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import Layout
from minima_volume.networks.sequential import is_stack
from minima_volume.rays.bundle import bytes_per_ray

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


@dataclass(frozen=True)
class SweepProblem:
    """What a sweep works on, whatever the directions."""

    model: nn.Module
    minima: Sequence[Minimum]
    targets: Sequence[Targets]
    samples: Samples
    memory: int

    @property
    def layout(self) -> Layout:
        """The perturbed parameters, the same for all minima."""
        return self.minima[0].layout

    @property
    def tolerance(self) -> float:
        """Relative tolerance of a coefficient."""
        return tolerance_for(self.layout.n_params)

    @property
    def batch_size(self) -> int:
        """Directions in flight: their rays and the losses at their crossings fit the memory."""
        polished = max(int(own.sizes[own.is_loss].sum()) for own in self.targets)
        losses = LOSS_BYTES * polished if is_stack(self.model, self.samples.inputs.ndim) else 0
        return max(1, self.memory // max(1, bytes_per_ray(self.model, self.layout, self.samples) + losses))

    @property
    def initial_states(self) -> list[MinimumState]:
        """The state of every minimum before the first block."""
        return [MinimumState() for _ in self.minima]

    @cached_property
    def float64_losses(self) -> Float64Losses:
        """Float64 losses of chosen samples, for corrections."""
        return Float64Losses(self.model, self.samples)
