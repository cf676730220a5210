"""Somebody's model with its loss and data, checked as `measure_volume` does it, ready to be evaluated at many points."""

import math
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import nn

from minima_volume.crossings.sweep import MEMORY
from minima_volume.errors import UserError
from minima_volume.landscapes.batch_norm import BatchNorm, normalisations
from minima_volume.landscapes.convolutions import arrange
from minima_volume.landscapes.subspace import Subspace
from minima_volume.networks import adapters, arguments
from minima_volume.networks import model_checks as checks
from minima_volume.networks.adapters import Data, LossFunction
from minima_volume.networks.losses import Metric
from minima_volume.networks.minimum import Minimum
from minima_volume.networks.objective import SampleObjective
from minima_volume.networks.parameters import Parameters
from minima_volume.networks.private_copy import PrivateCopy
from minima_volume.networks.probes import data_hash, probe
from minima_volume.networks.user_model import UserModel, check_user_model
from minima_volume.rays.path import fastest_path
from minima_volume.storage.archives import fingerprint


class Landscape:
    """A model with its loss and data.

    Args:
        model: Trained network in evaluation mode.
        loss: Loss function, loss module or closure; see `measure_volume`.
        data: The data, in the order of nested sizes.
        metric: "loss", "accuracy" (then the loss is the error rate) or "kl".
        only: Which parameters move.
        batch_norm: Whether statistics of normalisation layers stay those of the model or are computed anew at each point.
        memory: Bytes that activations, first-layer products and the data of a loader may each take.

    Attributes:
        minimum: The model's parameters, with filter norms.
        user: The checked model.
        copy: The private copy that is moved.
        path: The fastest evaluation that agrees with the model.
        tile: Samples that a model with convolutions evaluates together; None for others.
        classes: Whether outputs are scores of classes, so that there is an error rate.
        recalibrates: Whether statistics are computed anew at each point.
        failures: Errors that the model raises at points, by their class, with the number of points.

    Raises:
        UserError: A model or a loss that cannot be evaluated, as in `measure_volume`.
    """

    def __init__(
        self, model: nn.Module, loss: LossFunction | None, data: Data, *, metric: Metric = "loss",
        only: arguments.Names = None, batch_norm: BatchNorm = "frozen", memory: int = MEMORY,
    ) -> None:  # fmt: skip
        arguments.check_metric(metric, loss)
        memory = arguments.as_count(memory, "memory", 1)
        if batch_norm not in ("frozen", "recalibrate"):
            raise UserError(f"Expected batch_norm 'frozen' or 'recalibrate', got {batch_norm!r}: pass one of them.")
        parameters = arguments.widen_half_precision({name: p.detach() for name, p in model.named_parameters()})
        self.minimum = Minimum.of(parameters, arguments.moving_layout(model, parameters, only))
        self.user: UserModel = check_user_model(
            model, loss, data, self.minimum, metric=metric, threshold=math.inf, memory=memory, shuffle=False
        )
        self.metric, self.batch_norm, self.memory, self._loss = metric, batch_norm, memory, loss
        self.copy = PrivateCopy(model, self.user.device, torch.float64)
        self.recalibrates = batch_norm == "recalibrate" and bool(normalisations(self.copy.module))
        self.path = "module" if self.recalibrates else fastest_path(self.user, self.minimum, self.copy)
        self.copy.convert(self.user.final_dtype)
        # Back from the points at which paths were compared.
        self.copy.move(self.minimum, torch.zeros_like(self.minimum.scales), 0.0)
        self.tile = arrange(self.copy, self.user.objective) if self.path == "module" else None
        self.classes = self._has_classes()
        self.failures: dict[str, int] = {}

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self.user.objective.n_samples

    def _has_classes(self) -> bool:
        """Return whether outputs are scores of classes."""
        objective = self.user.objective
        plain = isinstance(objective, SampleObjective) and not objective.samples.targets.is_floating_point()
        if self.metric != "loss" or not plain or not isinstance(objective, SampleObjective):
            return self.metric == "accuracy"
        part = objective.samples.part(0, checks.CHECK_BATCH)
        try:
            checks.check_classes(objective.outputs(self.copy, part.inputs), part.targets)
        except UserError:
            return False
        return True

    def as_sizes(self, sizes: Sequence[int] | None) -> tuple[int, ...]:
        """Return numbers of samples in ascending order, the last one that of all samples.

        Raises:
            UserError: A size is below 1 or above the number of samples, or the losses have weights.
        """
        asked = np.atleast_1d([] if sizes is None else sizes).tolist()
        found = sorted({*(arguments.as_count(size, "sizes", 1) for size in asked), self.n_samples})
        if found[-1] > self.n_samples:
            raise UserError(f"Expected sizes up to {self.n_samples} samples, got {found[-1]}: leave it out.")
        if len(found) > 1 and self._weighted():
            raise UserError("Expected losses without weights for nested sizes, got weights: leave out sizes.")
        return tuple(found)

    def _weighted(self) -> bool:
        """Return whether samples count by weights, whose sum belongs to one number of samples."""
        objective = self.user.objective
        if isinstance(objective, SampleObjective):
            return self.metric == "loss" and adapters.has_weights(self._loss, objective.samples.targets)
        ragged = objective.errors is not None and isinstance(self._loss, adapters.WEIGHING)
        return objective.scale != 1.0 or (self.metric == "loss" and ragged)

    def fingerprint(self, subspace: Subspace, *settings: object) -> str:
        """Return a hash of what losses on a subspace depend on."""
        total = sha256()
        for _, tensor in sorted(subspace.parameters.items()):
            total.update(tensor.cpu().numpy().tobytes())
        total.update(subspace.axes.cpu().numpy().tobytes())
        about = subspace.layout.shapes, data_hash(self.user, self.metric), self.metric, self.batch_norm
        known = str(probe(self.user, self.minimum, self.metric))
        return fingerprint(total.hexdigest(), known, *about, *settings)

    def notes(self) -> tuple[str, ...]:
        """Return what a reader of the results has to know."""
        notes = list(self.user.notes)
        if self.failures:
            what = ", ".join(f"{name} at {count:,}" for name, count in sorted(self.failures.items()))
            notes.append(f"The model raised {what} points, whose losses are NaN.")
        if normalisations(self.copy.module):
            how = "computed anew at each point" if self.recalibrates else "those of the first model at every point"
            notes.append(f"Running statistics of normalisation layers are {how}.")
        return tuple(notes)


def parameters_of_model(value: Any, name: str, like: Parameters) -> Parameters:
    """Return the parameters of another model by name, as float64 would read them.

    Args:
        value: A module, or a mapping of tensors such as a state dict.
        name: How messages call it.
        like: The first model's parameters.

    Raises:
        UserError: A parameter is missing, has another shape, or is not finite.
    """
    found = dict(value.named_parameters()) if isinstance(value, nn.Module) else value
    if not hasattr(found, "keys"):
        raise UserError(f"Expected {name} as a module or a state dict, got {type(value).__name__}: pass one of them.")
    wrong = [key for key, tensor in like.items() if key not in found or found[key].shape != tensor.shape]
    if wrong:
        raise UserError(
            f"Expected {name} with the parameters of the first model, got none or another shape for '{wrong[0]}': pass "
            "models of one architecture."
        )
    parameters = {key: found[key].detach().to(tensor.device, tensor.dtype) for key, tensor in like.items()}
    broken = [key for key, tensor in parameters.items() if not np.isfinite(float(tensor.sum()))]
    if broken:
        raise UserError(f"Expected finite parameters in {name}, got others in '{broken[0]}': train it again.")
    return parameters
