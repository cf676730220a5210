"""Fingerprints of minima, and reading stored minima."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from minima_volume.errors import NumericsError
from minima_volume.networks.minimum import Minimum
from minima_volume.networks.parameters import layout_of
from minima_volume.pipeline.repeat import Repeat
from minima_volume.storage import archives, layout
from minima_volume.training.interventions import DEPENDS_ON_LARGEST_LEVEL

Minima = dict[int, tuple[dict[str, Any], Minimum]]  # header and minimum by level


def training_fingerprint(repeat: Repeat, level: int) -> str:
    """Return a hash of everything that the minimum of a level depends on.

    Args:
        repeat: The repeat of a study.
        level: One of the study's levels.
    """
    study = repeat.study
    return archives.fingerprint(
        study.data, repeat.dataset.checksums, study.model, study.intervention, study.base, study.n_train(level),
        study.recipe_at(level).record(), repeat.model_seed_at(level), repeat.data_seed,
        *([study.n_extra] if study.intervention in DEPENDS_ON_LARGEST_LEVEL else []),
    )  # fmt: skip


def folder_of(repeat: Repeat, scale: str) -> Path:
    """Return the results folder of a repeat."""
    return layout.repeat_folder(scale, repeat.study.name, repeat.number)


def load_minimum(repeat: Repeat, scale: str, level: int) -> tuple[dict[str, Any], dict[str, torch.Tensor]] | None:
    """Read the stored minimum of a level.

    Returns:
        Header and tensors, or None if the file is missing or was written with other settings.
    """
    path = layout.minimum_path(folder_of(repeat, scale), level)
    reader = partial(archives.read_tensors, most=largest_minimum(repeat, level))
    found: tuple[dict[str, Any], dict[str, torch.Tensor]] | None = archives.read_if_current(
        reader, path, training_fingerprint(repeat, level)
    )
    return found


def largest_minimum(repeat: Repeat, level: int) -> int:
    """Return how many bytes the file of a minimum may have: parameters, numbers and labels of samples, and a header."""
    n_params = sum(parameter.numel() for parameter in repeat.model.parameters())
    return 8 * (n_params + 2 * repeat.study.n_train(level)) + 2**20


def current_minima(repeat: Repeat, scale: str, levels: Sequence[int]) -> Minima:
    """Read those minima of the given levels that exist and have the study's present settings.

    Returns:
        Header and minimum by level, on the repeat's device.
    """
    found = {}
    for level in levels:
        content = load_minimum(repeat, scale, level)
        if content is not None:
            info, tensors = content
            parameters = {name: tensor.to(repeat.device) for name, tensor in layout.network_in(tensors).items()}
            found[level] = info, Minimum.of(parameters, layout_of(parameters), normalise=repeat.study.normalise)
    return found


def load_minima(repeat: Repeat, scale: str) -> Minima:
    """Read the minima of all levels except those whose training diverged.

    Returns:
        Header and minimum by level, on the repeat's device.

    Raises:
        NumericsError: A minimum is missing, or none is left.
    """
    levels = repeat.study.levels
    found = current_minima(repeat, scale, levels)
    missing = [str(lev) for lev in levels if lev not in found and load_failure(repeat, scale, lev) is None]
    if missing or not found:
        raise NumericsError(
            f"Expected trained minima of study {repeat.study.name}, repeat {repeat.number}, levels "
            f"{', '.join(missing or map(str, levels))}, got none: run train_models.py first, or the same make target again."
        )
    return found


def load_failure(repeat: Repeat, scale: str, level: int) -> dict[str, Any] | None:
    """Read why a level has no minimum.

    Returns:
        A record with the reason in `failed`, or None if the training did not diverge or had other settings.
    """
    path = layout.failure_path(folder_of(repeat, scale), level)
    found: dict[str, Any] | None = archives.read_if_current(
        archives.read_json, path, training_fingerprint(repeat, level)
    )
    return found
