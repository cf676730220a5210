"""Nested landscapes: which of them are scanned, and in which order the others follow.

The landscape of size L is the mean loss over the first L samples. A small landscape is cheap and its curves lie close to
those of a larger one, so crossings are found on a coarse landscape and continued to the larger ones.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minima_volume.crossings.scan import Counts, Targets

# Float32 rays whose logits are float64 leave an error of about n·FLOAT32_ERROR/√samples nats in n·ln r. Landscapes where
# that exceeds TOLERATED, and that have fewer than MANY samples, are finished in float64. Others are corrected on few
# samples.
FLOAT32_ERROR, TOLERATED, MANY = 2e-6, 0.005, 1024
# Fewer samples than this average no rounding away, and cost nothing in float64.
FEW = 50
# A coarse landscape has FEWEST samples or more, and at most a third of the largest landscape's. The smallest such one is
# taken, of those that are asked for and of a SHARE of the largest.
FEWEST, SHARE = 512, 1 / 8


@dataclass(frozen=True)
class LandscapeSchedule:
    """The targets of one minimum, and the order in which they are solved.

    Attributes:
        targets: The `n_wanted` targets that were asked for, then those on the coarse landscape that others start from.
        coarse: Size of the coarse landscape. Targets up to this size are scanned, larger ones continued.
        float64_below: Losses on landscapes smaller than this are finished in float64.
    """

    targets: Targets
    n_wanted: int
    coarse: int
    float64_below: float

    @classmethod
    def of(cls, wanted: Targets, n_params: int, *, float32_resolves: bool) -> "LandscapeSchedule":
        """The schedule of some targets.

        Args:
            wanted: Targets of one minimum.
            n_params: Number of perturbed parameters.
            float32_resolves: Whether float32 heights, corrected on few samples, are exact enough for large landscapes.
                Where they are not, float64 finishes everything and there is no coarse landscape.
        """
        largest = wanted.largest
        below = (
            float(np.clip((n_params * FLOAT32_ERROR / TOLERATED) ** 2, FEW, MANY)) if float32_resolves else float("inf")
        )
        losses = np.unique(wanted.sizes[wanted.is_loss])
        fitting = [int(size) for size in (*losses, int(SHARE * largest)) if FEWEST <= size <= largest / 3]
        if not float32_resolves or not fitting:
            return cls(wanted, len(wanted), largest, below)
        coarse = max([min(fitting), *wanted.sizes[~wanted.is_loss].tolist()])
        above = wanted.thresholds[wanted.is_loss & (wanted.sizes > coarse)]
        present = wanted.thresholds[wanted.is_loss & (wanted.sizes == coarse)]
        thresholds = np.setdiff1d(above, present)
        starts = Targets(
            np.full(len(thresholds), coarse, dtype=np.int64), thresholds, np.full(len(thresholds), "loss", dtype="U10")
        )
        return cls(wanted.extend(starts), len(wanted), coarse, below)

    @property
    def scanned(self) -> Counts:
        """Columns that are scanned."""
        return np.flatnonzero(self.targets.sizes <= self.coarse)

    @property
    def in_float64(self) -> NDArray[np.bool_]:
        """Which of the wanted targets float64 has to finish (n_wanted,)."""
        wanted = slice(self.n_wanted)
        return np.asarray(self.targets.is_loss[wanted] & (self.targets.sizes[wanted] < self.float64_below))

    @property
    def float32_sizes(self) -> list[int]:
        """Landscapes, ascending, whose crossings are continued or polished in float32."""
        sizes = np.unique(self.targets.sizes[self.targets.is_loss])
        return [int(size) for size in sizes if size > self.coarse or size >= self.float64_below]

    def columns(self, size: int) -> Counts:
        """Columns of the losses on one landscape, by rising threshold."""
        found = np.flatnonzero(self.targets.is_loss & (self.targets.sizes == size))
        return found[np.argsort(self.targets.thresholds[found], kind="stable")]

    def starts(self, columns: Counts, *, coarse: bool = False) -> Counts:
        """For each column the one it starts from: the same threshold on the next smaller landscape, or on the coarse one."""
        sizes, thresholds = self.targets.sizes, self.targets.thresholds
        found = []
        for j in columns:
            fits = self.targets.is_loss & (thresholds == thresholds[j]) & (sizes >= self.coarse) & (sizes < sizes[j])
            candidates = np.flatnonzero(fits)
            found.append(candidates[(np.argmin if coarse else np.argmax)(sizes[candidates])])
        return np.array(found, dtype=np.int64)
