"""A sweep over the landscape of somebody's model: all of its samples, finished in float64."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from minima_volume.crossings.landscapes import LandscapeSchedule
from minima_volume.crossings.problem import MinimumState, StudyProblem, SweepProblem, T
from minima_volume.crossings.rounding import Correction
from minima_volume.crossings.scan import Target, Targets
from minima_volume.networks.minimum import Minimum
from minima_volume.networks.private_copy import PrivateCopy
from minima_volume.networks.user_model import UserModel
from minima_volume.rays.base import Rays
from minima_volume.rays.bundle import Bundle
from minima_volume.rays.module import ModuleRays
from minima_volume.rays.path import fastest_path, functional_rays

# Numbers in the directions in flight: modules are evaluated point by point, so more rays at a time gain nothing.
DIRECTION_NUMBERS = 2**22
# A bar gets twenty ticks, and a cluster as many tasks, but batches hold this many rays, or this many numbers: below that a
# call costs more than its arithmetic.
TICKS, FEWEST_RAYS, FEWEST_NUMBERS = 20, 25, 2**20
# A mean loss in float64 is good to this part of itself.
FLOAT64_ROUNDING = 1e-12
# And resolves slopes d ln L/d ln c down to this.
FLOAT64_FLATTEST = 0.01
# The promise for n·ln r, in nats. Losses that scatter by more are reported.
ROUNDING_NATS = 0.01


class ModelProblem(SweepProblem):
    """A sweep over the landscape of a user's model.

    Unlike a study, which continues crossings from small landscapes to large ones and trusts float32 where it was compared
    with float64, this scans the whole landscape and finishes every crossing in float64.

    Args:
        user: The model with its loss and data.
        minimum: Where the rays start, and what moves.
        targets: Boundaries, all on the whole landscape.
        memory: Bytes that the rays in flight may keep.

    Attributes:
        failures: Errors that the model raised at points outside, by their class, with the number of points.
        states: What earlier blocks of directions have shown.
    """

    def __init__(self, user: UserModel, minimum: Minimum, targets: Sequence[Target], memory: int) -> None:
        super().__init__([minimum], [Targets.of(targets)], memory)
        self._targets = targets
        self.user, self.dtype = user, user.dtype
        if user.final_dtype == torch.float64:
            self.rounding, self.flattest = FLOAT64_ROUNDING, FLOAT64_FLATTEST
        self.copy = PrivateCopy(user.model, user.device, torch.float64)
        self.path = fastest_path(user, minimum, self.copy)
        self.failures: dict[str, int] = {}
        # The same sweep with the sizes of a study, for stacks.
        self._stack: StudyProblem | None = None
        if self.path == "stack" and user.samples is not None:
            self._stack = StudyProblem(user.model, self.minima, self.targets, user.samples, memory)
        self.states = self.initial_states

    @property
    def arguments(self) -> tuple[UserModel, Minimum, Sequence[Target], int]:
        """What the same problem is made of in another process."""
        return self.user, self.minima[0], self._targets, self.memory

    @property
    def initial_states(self) -> list[MinimumState]:
        """The state before the first block: the mean at the minimum is known, and float64 finishes everything."""
        targets = self.targets[0]
        schedule = LandscapeSchedule.of(targets, self.layout.n_params, float32_resolves=False)
        at_zero = np.full(len(targets), self.user.loss)
        return [MinimumState(schedule, at_zero, checked=True)]

    @property
    def batch_size(self) -> int:
        """Directions in flight: their numbers fit the memory."""
        if self._stack is not None:
            return self._stack.batch_size
        return max(1, min(self.memory // 4, DIRECTION_NUMBERS) // self.layout.n_params)

    def batch_for(self, n_directions: int) -> int:
        """Directions in a batch of that many in all."""
        return min(self.batch_size, max(FEWEST_RAYS, n_directions // TICKS, FEWEST_NUMBERS // self.layout.n_params))

    def bundle(self, block: Tensor, dtype: torch.dtype, start: int = 0, stop: int | None = None) -> Bundle:
        """The rays of a block of directions; see `SweepProblem.bundle`."""
        dtype = self.user.final_dtype if dtype == torch.float64 else dtype
        if self._stack is not None:
            return self._stack.bundle(block, dtype, start, stop)
        self.copy.convert(dtype)
        return _ModuleBundle(self, block)

    def prepare(self, value: T) -> T:
        """Directions and minima stay as they are, because modules take float32 numbers into float64 copies."""
        return value if self._stack is None else self._stack.prepare(value)

    def chunks(self, n_rays: int, n_samples: int) -> Iterable[tuple[int, int]]:
        """Sample ranges that float64 evaluates together; modules see all samples at each point."""
        return [(0, n_samples)] if self._stack is None else self._stack.chunks(n_rays, n_samples)

    def notes(self, rounding: float) -> list[str]:
        """What a reader of the radii has to know.

        Args:
            rounding: What rounding does to n·ln r, in nats.
        """
        notes = []
        if self.failures:
            what = ", ".join(f"{name} at {count:,}" for name, count in sorted(self.failures.items()))
            notes.append(f"The model raised {what} points along the rays, which count as outside.")
        if rounding > ROUNDING_NATS:
            notes.append(
                f"Losses scatter by rounding, which moves n ln r by about {rounding:.2g} nats: part of the model computes "
                "in less than float64."
            )
        return notes

    def correction(self, minimum: Minimum, block: Tensor) -> Correction:
        """Nothing is corrected: float64 finishes every crossing."""
        return lambda *_: 0.0


class _ModuleBundle:
    """A block of directions in the precision of the private copy."""

    def __init__(self, problem: ModelProblem, block: Tensor) -> None:
        self.problem, self.block = problem, block

    def rays(self, minimum: Minimum, n_samples: int | None = None, shared: Tensor | None = None) -> Rays:
        """Return the rays that start at a minimum."""
        copy, user, batched = self.problem.copy, self.problem.user, None
        if self.problem.path == "batch" and user.samples is not None:
            batched = functional_rays(user.model, user.samples, self.block, minimum, copy)
        return ModuleRays(copy, user.objective, self.block, minimum, batched, self.problem.failures)
