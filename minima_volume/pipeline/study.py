"""A study as one frozen row, and one repeat of it made real: data, pool and model."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal

from torch import nn

from minima_volume.crossings.scan import Target
from minima_volume.errors import UserError
from minima_volume.networks.losses import CRITERIA, Criterion
from minima_volume.networks.minimum import Samples
from minima_volume.pipeline.settings import device, positive
from minima_volume.training import datasets
from minima_volume.training.interventions import INTERVENTIONS, Pool
from minima_volume.training.models import MODELS, build_model
from minima_volume.training.recipe import Recipe

SCALES = ("quick", "paper")


@dataclass(frozen=True)
class Study:
    """One make target: what is trained, how it is varied, and in which landscapes its minima are measured."""

    name: str
    title: str
    data: str
    model: str
    intervention: str
    base: int
    levels: tuple[int, ...]
    recipe: Recipe
    thresholds: tuple[float, ...]
    n_directions: int
    level_means: Literal["extra", "batch_size", "epochs"] = "extra"
    landscapes: Literal["base", "nested"] = "base"  # every minimum in the base landscape only, or in each up to its own
    accuracies: tuple[float, ...] = ()  # accuracy criteria beside the loss thresholds
    grid_directions: int | None = None  # directions of the published grid rule; None takes all
    normalise: bool = True
    model_seed: int = 0  # repeat i trains from model seed model_seed + i on data seed data_seed + i
    data_seed: int = 10
    direction_seed: int = 0
    later_levels: tuple[int, ...] = ()  # those that LEVELS leaves out; the pool is drawn for them, too
    quick: Mapping[str, Any] = field(default_factory=dict)  # what SCALE=quick replaces

    def at_scale(self, scale: str) -> "Study":
        """The study at a scale, with the DIRECTIONS and the LEVELS of the environment."""
        if scale not in SCALES:
            raise UserError(f"Expected SCALE to be one of {', '.join(SCALES)}, got '{scale}'.")
        unknown = sorted(set(self.quick) - {part.name for part in fields(self)})
        if unknown:
            raise UserError(f"Expected names of columns in quick of study {self.name}, got {unknown[0]}: mend its row.")
        study = replace(self, **self.quick, quick={}) if scale == "quick" else replace(self, quick={})
        if os.environ.get("DIRECTIONS"):
            study = replace(study, n_directions=positive("DIRECTIONS", os.environ["DIRECTIONS"]))
        if os.environ.get("LEVELS"):
            first = positive("LEVELS", os.environ["LEVELS"])
            study = replace(study, levels=study.levels[:first], later_levels=study.levels[first:])
        return study.validate()

    def validate(self) -> "Study":
        """The study itself; raises UserError where a row cannot be meant."""
        problems = {
            f"a model among {', '.join(MODELS)}": (self.model in MODELS, self.model),
            f"a data set among {', '.join(datasets.LOADERS)}": (self.data in datasets.LOADERS, self.data),
            f"an intervention among {', '.join(INTERVENTIONS)}": (
                self.intervention in INTERVENTIONS,
                self.intervention,
            ),
            "different levels in ascending order": (
                list(self.every_level) == sorted(set(self.every_level)),
                self.every_level,
            ),
            "at least one level, none below 0": (bool(self.levels) and min(self.levels) >= 0, self.levels),
            "level_means among extra, batch_size, epochs": (
                self.level_means in ("extra", "batch_size", "epochs"),
                self.level_means,
            ),
            "levels of at least 1 where they are batch sizes or epochs": (
                self.level_means == "extra" or min(self.levels, default=1) >= 1,
                self.levels,
            ),
            "landscapes among base, nested": (self.landscapes in ("base", "nested"), self.landscapes),
            "a batch of at least one sample": (
                self.recipe.batch_size is None or self.recipe.batch_size >= 1,
                self.recipe,
            ),
            "at least one direction of the grid rule": (
                self.grid_directions is None or self.grid_directions >= 1,
                self.grid_directions,
            ),
            "a base of at least one sample": (self.base >= 1, self.base),
            "at least one direction": (self.n_directions >= 1, self.n_directions),
            "at least one, and only finite thresholds above 0": (
                bool(self.thresholds) and all(0 < threshold < math.inf for threshold in self.thresholds),
                self.thresholds,
            ),
            "different thresholds": (len(set(self.thresholds)) == len(self.thresholds), self.thresholds),
            "accuracies between 0 and 1": (all(0 < a < 1 for a in self.accuracies), self.accuracies),
            "a learning rate and epochs above 0": (self.recipe.lr > 0 and self.recipe.epochs > 0, self.recipe),
        }
        for expected, (holds, got) in problems.items():
            if not holds:
                raise UserError(f"Expected {expected} in study {self.name}, got {got}: mend its row in config.py.")
        return self

    @property
    def every_level(self) -> tuple[int, ...]:
        """The levels that are run, and those that LEVELS leaves out."""
        return (*self.levels, *self.later_levels)

    @property
    def n_extra(self) -> int:
        """Extra samples that the largest level adds to the base, whether it is run or left out."""
        return max(self.every_level) if self.level_means == "extra" else 0

    def n_train(self, level: int) -> int:
        """Training samples of the minimum at a level."""
        return self.base + (level if self.level_means == "extra" else 0)

    def recipe_at(self, level: int) -> Recipe:
        """The recipe of a level, where the level is a batch size or a number of epochs."""
        if self.level_means == "batch_size":
            return replace(self.recipe, batch_size=level)
        return replace(self.recipe, epochs=level) if self.level_means == "epochs" else self.recipe

    def landscapes_of(self, level: int) -> tuple[int, ...]:
        """Landscapes, as extra samples, in which the minimum of a level is measured."""
        if self.landscapes == "base" or self.level_means != "extra":
            return (0,)
        return tuple(other for other in self.levels if other <= level)

    def targets(self, level: int) -> list[Target]:
        """Every boundary solved for the minimum of a level: each threshold in each landscape, accuracies in the base."""
        sizes = [self.base + landscape for landscape in self.landscapes_of(level)]
        losses = [Target(size, threshold) for size in sizes for threshold in self.thresholds]
        return losses + [Target(self.base, 1 - accuracy, "accuracy") for accuracy in self.accuracies]


@dataclass(frozen=True)
class Repeat:
    """One repeat of a study with its data loaded; everything in it follows from the study and the repeat's number."""

    study: Study
    number: int

    @property
    def model_seed(self) -> int:
        """Seed of the initial weights and of the batch order."""
        return self.study.model_seed + self.number

    @property
    def data_seed(self) -> int:
        """Seed of the choice of samples and of the intervention."""
        return self.study.data_seed + self.number

    @cached_property
    def dataset(self) -> datasets.Dataset:
        """The data set that the pool is drawn from."""
        return datasets.load(self.study.data, self.data_seed)

    @cached_property
    def pool(self) -> Pool:
        """Base and extras of this repeat."""
        return INTERVENTIONS[self.study.intervention](self.dataset, self.study.base, self.study.n_extra, self.data_seed)

    @cached_property
    def model(self) -> nn.Module:
        """The architecture in evaluation mode; its own weights are never used."""
        return build_model(self.study.model).eval().to(device())

    @property
    def criterion(self) -> Criterion:
        """The per-sample loss of the data set."""
        return CRITERIA[self.dataset.loss]

    @cached_property
    def samples(self) -> Samples:
        """The whole pool on the device, as the largest landscape."""
        return Samples(self.pool.inputs.to(device()), self.pool.targets.to(device()), self.criterion)
