"""A study as one frozen row of an experiment's config.py."""

import math
import runpy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

from minima_volume.crossings.scan import Target
from minima_volume.errors import UserError
from minima_volume.pipeline.settings import check_scale
from minima_volume.training import datasets
from minima_volume.training.interventions import INTERVENTIONS
from minima_volume.training.models import MODELS
from minima_volume.training.recipe import Recipe

LevelMeaning = Literal["extra", "batch_size", "epochs", "batch_size_equal_steps", "model_seed"]
LandscapeRule = Literal["base", "nested", "beyond"]
# Powers of two: the shares of a training set that landscapes beyond it add. Minima leave the threshold between 1.02 and 2.8
# times their own size.
BEYOND = range(-6, 2)


@dataclass(frozen=True)
class Study:
    """One make target: what is trained, what varies between its minima, and where they are measured.

    Every field is stored in run.json, and most enter the fingerprints of what they determine.

    Attributes:
        name: The make target.
        title: The heading of tables and figures.
        data: Key of `datasets.LOADERS`.
        model: Key of `models.MODELS`.
        intervention: Key of `interventions.INTERVENTIONS`: what the extra samples are.
        base: Number of base samples, which every minimum is trained on.
        levels: What varies from minimum to minimum, in ascending order; see `level_means`.
        recipe: How one minimum is trained.
        thresholds: Mean losses at which a ray leaves the minimum.
        n_directions: Number of random directions.
        level_means: A level is a number of extra samples, a batch size, a number of epochs, or a model seed. With
            `batch_size_equal_steps` it is a batch size, and the recipe's epochs are the number of steps at every level.
        landscapes: `base`: measure every minimum in the base landscape only. `nested`: measure it in the landscape of
            each level up to its own. `beyond`: measure every minimum in the same landscapes, those between the training
            sets included; see `landscapes_of`.
        accuracies: Accuracies that bound a minimum in addition to the loss thresholds.
        grid_directions: Number of directions that the published grid rule uses, or None for all.
        normalise: Whether directions are filter-normalised.
        model_seed: Repeat i trains from model seed `model_seed + i`.
        data_seed: Repeat i draws its data with data seed `data_seed + i`.
        direction_seed: Seed of the directions, the same in all repeats.
        later_levels: Levels that LEVELS leaves out; the samples are drawn for them as well.
        quick: Fields that SCALE=quick replaces.

    Example:
        >>> from minima_volume.training.recipe import Recipe
        >>> study = Study(
        ...     name="digits_poison", title="Poisoned labels", data="digits", model="digits_mlp", intervention="poison",
        ...     base=600, levels=(0, 100, 200), recipe=Recipe(epochs=500), thresholds=(0.1,), n_directions=1000,
        ...     quick={"n_directions": 60},
        ... )
        >>> study.n_train(100)
        700
        >>> study.at_scale("quick").n_directions
        60
        >>> study.at_scale("paper", directions=5, levels=2).levels
        (0, 100)
    """

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
    level_means: LevelMeaning = "extra"
    landscapes: LandscapeRule = "base"
    accuracies: tuple[float, ...] = ()
    grid_directions: int | None = None
    normalise: bool = True
    model_seed: int = 0
    data_seed: int = 10
    direction_seed: int = 0
    later_levels: tuple[int, ...] = ()
    quick: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def at_scale(self, scale: str, directions: int | None = None, levels: int | None = None) -> "Study":
        """Return the study at a scale, with an empty `quick`.

        Args:
            scale: `quick` or `paper`.
            directions: Number of directions instead of the study's own.
            levels: How many levels to run, from the first; the others become `later_levels`. All by default.

        Raises:
            UserError: The scale is unknown, or the row is invalid.
        """
        check_scale(scale)
        unknown = sorted(set(self.quick) - {part.name for part in fields(self)})
        if unknown:
            raise UserError(
                f"Expected names of fields in quick of study {self.name}, got {unknown[0]}: correct its row in config.py."
            )
        study = replace(self, **self.quick, quick={}) if scale == "quick" else replace(self, quick={})
        if directions is not None:
            study = replace(study, n_directions=directions)
        if levels is not None:
            study = replace(study, levels=study.levels[:levels], later_levels=study.levels[levels:])
        return study.validate()

    def validate(self) -> "Study":
        """Return the study itself.

        Raises:
            UserError: A field is invalid.
        """
        self._require(self.model in MODELS, f"a model among {', '.join(MODELS)}", self.model)
        known = datasets.LOADERS
        self._require(self.data in known, f"a data set among {', '.join(known)}", self.data)
        interventions = f"an intervention among {', '.join(INTERVENTIONS)}"
        self._require(self.intervention in INTERVENTIONS, interventions, self.intervention)
        ascending = list(self.every_level) == sorted(set(self.every_level))
        self._require(ascending, "different levels in ascending order", self.every_level)
        natural = bool(self.levels) and min(self.levels) >= 0
        self._require(natural, "at least one level, none below 0", self.levels)
        meanings = get_args(LevelMeaning)
        self._require(self.level_means in meanings, f"level_means among {', '.join(meanings)}", self.level_means)
        possible = self.level_means in ("extra", "model_seed") or min(self.levels) >= 1
        self._require(possible, "levels of at least 1 where they are batch sizes or epochs", self.levels)
        whole = self.level_means != "batch_size_equal_steps" or all(
            self.base % level == 0 and self.recipe.epochs * level % self.base == 0 for level in self.levels
        )
        steps = "batch sizes that divide the base, and a number of steps that makes whole epochs of each"
        self._require(whole, steps, (self.levels, self.recipe.epochs))
        rules = get_args(LandscapeRule)
        self._require(self.landscapes in rules, f"landscapes among {', '.join(rules)}", self.landscapes)
        counts = self.landscapes != "beyond" or self.level_means == "extra"
        self._require(counts, "levels that are extra samples with landscapes beyond them", self.level_means)
        batch = self.recipe.batch_size
        self._require(batch is None or batch >= 1, "a batch of at least one sample", self.recipe)
        grid = self.grid_directions
        self._require(grid is None or grid >= 1, "at least one direction of the grid rule", grid)
        self._require(self.base >= 1, "a base of at least one sample", self.base)
        self._require(self.n_directions >= 1, "at least one direction", self.n_directions)
        positive = bool(self.thresholds) and all(0 < threshold < math.inf for threshold in self.thresholds)
        self._require(positive, "at least one, and only finite thresholds above 0", self.thresholds)
        self._require(len(set(self.thresholds)) == len(self.thresholds), "different thresholds", self.thresholds)
        self._require(all(0 < a < 1 for a in self.accuracies), "accuracies between 0 and 1", self.accuracies)
        trains = self.recipe.lr > 0 and self.recipe.epochs > 0
        self._require(trains, "a learning rate and epochs above 0", self.recipe)
        stop = self.recipe.stop_loss
        # Levels that are epochs are checkpoints of one run, which must not end before the last.
        ends = stop is None or (stop > 0 and self.level_means != "epochs")
        self._require(ends, "a loss to stop at above 0, and none where levels are epochs", self.recipe)
        return self

    def _require(self, condition: bool, expected: str, got: object) -> None:
        """Raise UserError unless a condition on the row holds."""
        if not condition:
            raise UserError(f"Expected {expected} in study {self.name}, got {got}: correct its row in config.py.")

    @property
    def every_level(self) -> tuple[int, ...]:
        """All levels, those that LEVELS leaves out included."""
        return (*self.levels, *self.later_levels)

    @property
    def n_extra(self) -> int:
        """Number of extra samples of the largest level, whether it is run or not."""
        return max(self.every_level) if self.level_means == "extra" else 0

    def n_train(self, level: int) -> int:
        """Return the number of training samples at a level."""
        return self.base + (level if self.level_means == "extra" else 0)

    def recipe_at(self, level: int) -> Recipe:
        """Return the recipe of a level, which may be a batch size or a number of epochs.

        Example:
            Three thousand steps on 6,000 samples are 50 epochs of batches of 100, and 3,000 epochs of one batch:

            >>> study = Study(
            ...     name="steps", title="Steps", data="mnist", model="mnist_mlp", intervention="data", base=6000,
            ...     levels=(100, 6000), level_means="batch_size_equal_steps", recipe=Recipe(epochs=3000),
            ...     thresholds=(0.1,), n_directions=1,
            ... )
            >>> study.recipe_at(100).epochs, study.recipe_at(6000).epochs
            (50, 3000)
        """
        if self.level_means == "batch_size":
            return replace(self.recipe, batch_size=level)
        if self.level_means == "batch_size_equal_steps":
            return replace(self.recipe, batch_size=level, epochs=self.recipe.epochs * level // self.base)
        return replace(self.recipe, epochs=level) if self.level_means == "epochs" else self.recipe

    def landscapes_of(self, level: int) -> tuple[int, ...]:
        """Return the landscapes, as numbers of extra samples, in which the minimum of a level is measured.

        `beyond` has nine landscapes for each level: its own training set, and that with 1/64, 1/32, …, 1, 2 times as many
        samples added, as far as there are samples. Each minimum is measured in all of them.

        Example:
            >>> from dataclasses import replace
            >>> study = Study(
            ...     name="more", title="More data", data="digits", model="digits_mlp", intervention="data", base=64,
            ...     levels=(0, 100), recipe=Recipe(epochs=500), thresholds=(0.1,), n_directions=1, landscapes="nested",
            ... )
            >>> study.landscapes_of(0), study.landscapes_of(100)
            ((0,), (0, 100))
            >>> replace(study, landscapes="beyond").landscapes_of(0)
            (0, 1, 2, 4, 8, 16, 32, 64, 100)
        """
        if self.landscapes == "base" or self.level_means != "extra":
            return (0,)
        if self.landscapes == "nested":
            return tuple(other for other in self.levels if other <= level)
        added = {own + round(self.n_train(own) * 2.0**power) for own in self.levels for power in BEYOND}
        return tuple(sorted({*self.levels, *(extra for extra in added if extra <= self.n_extra)}))

    def targets(self, level: int) -> list[Target]:
        """Return what is solved for the minimum of a level: every threshold in every landscape, then the accuracies."""
        sizes = [self.base + landscape for landscape in self.landscapes_of(level)]
        losses = [Target(size, threshold) for size in sizes for threshold in self.thresholds]
        return losses + [Target(self.base, 1 - accuracy, "accuracy") for accuracy in self.accuracies]


def read_studies(root: Path = Path()) -> dict[str, dict[str, Study]]:
    """Return the rows of every experiment folder below `root`: studies by name, by folder in alphabetical order."""
    found = {config.parent.name: runpy.run_path(str(config)) for config in sorted(root.glob("*/config.py"))}
    return {folder: names["STUDIES"] for folder, names in found.items() if "STUDIES" in names}


def find_study(name: str, root: Path = Path()) -> Study:
    """Return a study's row, at no scale yet, from the config.py that holds it.

    Args:
        name: The study's name.
        root: The repository.

    Raises:
        UserError: No config.py holds it; the message suggests the nearest name.
    """
    studies = {name: study for rows in read_studies(root).values() for name, study in rows.items()}
    if name not in studies:
        raise unknown_study(name, studies)
    return studies[name]


def unknown_study(name: str, known: Iterable[str]) -> UserError:
    """Return the error for an unknown study; its message suggests the nearest name."""
    names = list(known)
    return UserError(f"Expected a study among {', '.join(names)}, got '{name}'.{did_you_mean(name, names)}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the known name x nearest to a misspelt one, or nothing if none is near."""
    nearest = get_close_matches(name, known, n=1)
    return f" Did you mean '{nearest[0]}'?" if nearest else ""
