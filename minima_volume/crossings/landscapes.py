"""The landscapes that the crossings of one minimum climb: scanned up to a pilot, carried from one to the next above it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from minima_volume.crossings.newton import Floats
from minima_volume.crossings.scan import Target

# Sharp float32 heights leave about n·ROUNDING/√samples nats of error in n·ln r. Landscapes where that is more than
# TOLERATED, and which have fewer than MANY samples, are finished in float64 as a whole; `hardest` mends the others.
ROUNDING, TOLERATED, MANY = 2e-6, 0.005, 1024
# Fewer samples than this average nothing away, and cost nothing in float64.
FEW = 50
# Fewer samples than this vouch for nothing; SHARE of the largest landscape serves where none of the others is smaller.
FEWEST, SHARE = 512, 1 / 8


@dataclass(frozen=True)
class Ladder:
    """A minimum's targets, followed by the pilots they are carried from; the scan solves all sizes up to `pilot`."""

    targets: Sequence[Target]
    n_wanted: int
    pilot: int
    small: float  # landscapes with fewer samples than this are finished in float64

    @classmethod
    def of(cls, targets: Sequence[Target], n_params: int, *, sharp: bool) -> "Ladder":
        """The pilot is the smallest landscape that may vouch; there is none where float64 finishes everything anyway."""
        small = float(np.clip((n_params * ROUNDING / TOLERATED) ** 2, FEW, MANY)) if sharp else float("inf")
        losses = sorted({target.size for target in targets if target.metric == "loss"})
        largest = max(target.size for target in targets)
        fitting = [size for size in [*losses, int(SHARE * largest)] if FEWEST <= size <= largest / 3]
        if not sharp or not fitting:
            return cls(targets, len(targets), largest, small)
        stepped = [target.size for target in targets if target.metric == "accuracy"]
        pilot = max([min(fitting), *stepped])
        above = {t.threshold for t in targets if t.metric == "loss" and t.size > pilot}
        present = {t.threshold for t in targets if t.metric == "loss" and t.size == pilot}
        pilots = [Target(pilot, threshold) for threshold in sorted(above - present)]
        return cls([*targets, *pilots], len(targets), pilot, small)

    @cached_property
    def thresholds(self) -> Floats:
        """Threshold of every target."""
        return np.array([target.threshold for target in self.targets])

    @cached_property
    def scanned(self) -> NDArray[np.int64]:
        """Columns that the scan solves."""
        return np.flatnonzero([target.size <= self.pilot for target in self.targets])

    def in_double(self) -> NDArray[np.bool_]:
        """Which wanted targets float64 has to finish."""
        wanted = self.targets[: self.n_wanted]
        return np.array([t.metric == "loss" and t.size < self.small for t in wanted])

    def columns(self, size: int) -> list[int]:
        """The losses averaged over one landscape, by rising threshold."""
        found = [j for j, t in enumerate(self.targets) if t.metric == "loss" and t.size == size]
        return sorted(found, key=lambda j: self.targets[j].threshold)

    def sizes(self) -> list[int]:
        """Landscapes that are carried to or polished in float32, ascending."""
        losses = {target.size for target in self.targets if target.metric == "loss"}
        return sorted(size for size in losses if size > self.pilot or size >= self.small)

    def start(self, column: int, *, pilot: bool = False) -> int:
        """The same threshold in the next smaller landscape from the pilot's on, or in the pilot's."""
        own = self.targets[column]
        fitting = [
            j for j, t in enumerate(self.targets)
            if t.metric == "loss" and t.threshold == own.threshold and self.pilot <= t.size < own.size
        ]  # fmt: skip
        return (min if pilot else max)(fitting, key=lambda j: self.targets[j].size)
