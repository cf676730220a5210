"""One repeat of a study with its data, model and seeds."""

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import nn

from minima_volume.errors import DataError
from minima_volume.networks.losses import CRITERIA, Criterion
from minima_volume.networks.minimum import Samples
from minima_volume.pipeline.settings import Settings
from minima_volume.pipeline.study import Study
from minima_volume.training import datasets
from minima_volume.training.interventions import INTERVENTIONS, Pool
from minima_volume.training.models import build_model


@dataclass(frozen=True)
class Repeat:
    """One repeat of a study. Data and model are loaded when they are first used.

    Attributes:
        study: The study at a scale.
        number: The repeat's number, counted from 0; the seeds follow from it.
        settings: Device and data folder; the defaults if left out.
        checksums: Those that the data set must have, by file name; any if left out.
    """

    study: Study
    number: int
    settings: Settings = field(default_factory=lambda: Settings.from_environment({}))
    checksums: tuple[tuple[str, str], ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel by names, without data: another process loads its own, which must be the same."""
        checksums = tuple(sorted(self.dataset.checksums.items()))
        return _recall, (self.study, self.number, self.settings.on_worker(), checksums)

    @property
    def model_seed(self) -> int:
        """Seed of the initial weights and of the batch order."""
        return self.study.model_seed + self.number

    def model_seed_at(self, level: int) -> int:
        """Seed of the initial weights and of the batch order at a level, which may be added to the seed."""
        return self.model_seed + (level if self.study.level_means == "model_seed" else 0)

    @property
    def data_seed(self) -> int:
        """Seed of the choice of samples and of the intervention."""
        return self.study.data_seed + self.number

    @property
    def device(self) -> torch.device:
        """Where the networks of this repeat are trained and measured."""
        return self.settings.device

    @cached_property
    def dataset(self) -> datasets.Dataset:
        """The data set that the samples are drawn from."""
        found = datasets.load(self.study.data, self.data_seed, self.settings.data_dir)
        if self.checksums and dict(self.checksums) != found.checksums:
            raise DataError(
                f"Expected in {self.settings.data_dir} the data set {found.name} with the driver's checksums, got another "
                "one: copy the driver's files there."
            )
        return found

    @cached_property
    def pool(self) -> Pool:
        """Base and extra samples of this repeat."""
        return INTERVENTIONS[self.study.intervention](self.dataset, self.study.base, self.study.n_extra, self.data_seed)

    @cached_property
    def model(self) -> nn.Module:
        """The architecture in evaluation mode, on the device; its own weights are never used."""
        return build_model(self.study.model).eval().to(self.device)

    @property
    def criterion(self) -> Criterion:
        """The per-sample loss of the data set."""
        return CRITERIA[self.dataset.loss]

    @cached_property
    def samples(self) -> Samples:
        """All samples of the pool, on the device: the largest landscape."""
        return Samples(self.pool.inputs.to(self.device), self.pool.targets.to(self.device), self.criterion)


# A worker computes tasks of one repeat after those of another, and samples may take hundreds of MiB.
@lru_cache(maxsize=2)
def _recall(study: Study, number: int, settings: Settings, checksums: tuple[tuple[str, str], ...]) -> Repeat:
    """Return this process's repeat of these names, whose data and model are loaded once."""
    return Repeat(study, number, settings, checksums)
