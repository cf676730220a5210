"""Stored minima of a study: their fingerprints, and finding them again."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from minima_volume.errors import NumericsError
from minima_volume.networks.minimum import Minimum
from minima_volume.networks.parameters import layout_of
from minima_volume.pipeline.settings import device
from minima_volume.pipeline.study import Repeat
from minima_volume.storage import archives, layout
from minima_volume.training.interventions import DEPENDS_ON_LARGEST_LEVEL


def training_fingerprint(repeat: Repeat, level: int) -> str:
    """Everything that the minimum of a level depends on."""
    study = repeat.study
    return archives.fingerprint(
        study.data, repeat.dataset.checksums, study.model, study.intervention, study.base, study.n_train(level),
        asdict(study.recipe_at(level)), repeat.model_seed, repeat.data_seed,
        *([study.n_extra] if study.intervention in DEPENDS_ON_LARGEST_LEVEL else []),
    )  # fmt: skip


def folder_of(repeat: Repeat, scale: str) -> Path:
    """The results folder of one repeat."""
    return layout.repeat_folder(scale, repeat.study.name, repeat.number)


def load_minimum(repeat: Repeat, scale: str, level: int) -> tuple[dict[str, Any], dict[str, torch.Tensor]] | None:
    """Header and tensors of a level if they are there and were trained as the study now says."""
    path = layout.minimum_path(folder_of(repeat, scale), level)
    found: tuple[dict[str, Any], dict[str, torch.Tensor]] | None = archives.read_if_current(
        archives.read_tensors, path, training_fingerprint(repeat, level)
    )
    return found


def load_minima(repeat: Repeat, scale: str) -> dict[int, tuple[dict[str, Any], Minimum]]:
    """Header and minimum of every level but those whose training failed; raises NumericsError where one is not there."""
    found, missing = {}, []
    for level in repeat.study.levels:
        content = load_minimum(repeat, scale, level)
        if content is None and load_failure(repeat, scale, level) is None:
            missing.append(str(level))
        if content is not None:
            info, tensors = content
            prefix = "parameters."
            parameters = {
                name.removeprefix(prefix): t.to(device()) for name, t in tensors.items() if name.startswith(prefix)
            }
            found[level] = info, Minimum.of(parameters, layout_of(parameters), normalise=repeat.study.normalise)
    if missing or not found:
        raise NumericsError(
            f"Expected trained minima of study {repeat.study.name}, repeat {repeat.number}, levels "
            f"{', '.join(missing or map(str, repeat.study.levels))}, got none: run train_models.py first."
        )
    return found


def load_failure(repeat: Repeat, scale: str, level: int) -> dict[str, Any] | None:
    """Why a level has no minimum, in `failed`, if it was trained as the study now says and diverged."""
    path = layout.failure_path(folder_of(repeat, scale), level)
    found: dict[str, Any] | None = archives.read_if_current(
        archives.read_json, path, training_fingerprint(repeat, level)
    )
    return found
