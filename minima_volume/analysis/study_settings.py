"""The settings of a study as its run.json has them, and what its levels are called in pictures."""

from dataclasses import dataclass
from typing import Any

SHOWN = {
    "extra": "training samples", "batch_size": "batch size", "epochs": "training epochs",
    "batch_size_equal_steps": "batch size, equal steps", "model_seed": "seed of the initial weights",
}  # fmt: skip
SHORT = {
    "extra": "training\nsamples", "batch_size": "batch\nsize", "epochs": "epochs\ntrained",
    "batch_size_equal_steps": "batch\nsize", "model_seed": "seed",
}  # fmt: skip
KINDS = {
    "poison": "mislabelled training samples added",
    "noise": "noise samples added",
    "duplicates": "training samples, duplicates included",
    "imbalanced_base": "training samples (those added balanced)",
    "imbalanced_extra": "training samples (those added mostly class 0)",
}
# Interventions whose levels are shown as numbers of added samples: the others are training samples like the base.
SPOILT = {"poison": "wrong\nlabels", "noise": "noise\nadded"}


@dataclass(frozen=True)
class StudySettings:
    """The settings of run.json that figures need. Fields are those of `Study`."""

    title: str
    data: str
    model: str
    intervention: str
    base: int
    levels: list[int]
    level_means: str
    landscapes: str
    n_directions: int
    model_seed: int
    data_seed: int
    thresholds: list[float]
    normalise: bool
    recipe: dict[str, Any]

    @property
    def level_axis(self) -> str:
        """Return the axis label of the study's levels."""
        return KINDS.get(self.intervention, SHOWN[self.level_means])

    @property
    def short_axis(self) -> str:
        """Return the same label in two short lines, for a legend."""
        return SPOILT.get(self.intervention, SHORT[self.level_means])

    @property
    def counts_training_samples(self) -> bool:
        """Return whether levels are shown as the number of all training samples."""
        return self.varies_data and self.intervention not in SPOILT

    def shown(self, level: int) -> int:
        """Return the number that stands for a level on axes and in legends."""
        return self.base + level if self.counts_training_samples else level

    @property
    def varies_data(self) -> bool:
        """Return whether levels count training samples rather than epochs or the batch size."""
        return self.level_means == "extra"
