"""Loss barriers between all pairs of several models."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from torch import nn

from minima_volume.errors import UserError
from minima_volume.landscapes.line import loss_line
from minima_volume.landscapes.node_losses import Floats
from minima_volume.networks.adapters import Data, LossFunction


def barrier_matrix(
    models: Sequence[nn.Module], loss: LossFunction | None, data: Data, *, align: bool = False, **settings: Any
) -> Floats:
    """Return the barrier height of `loss_line` between all pairs of models.

    Args:
        models: Two or more trained models of one architecture.
        loss: Loss function, loss module or closure; see `measure_volume`.
        data: The data.
        align: Whether units of the second model of each pair are first permuted to match those of the first.
        settings: Further arguments of `loss_line`.

    Returns:
        Barriers (models, models), symmetric, with zeros on the diagonal.

    Raises:
        UserError: There are fewer than two models, or they cannot be evaluated.

    Example:
        >>> import torch
        >>> models = [torch.nn.Linear(1, 1, bias=False) for _ in range(2)]
        >>> for model, weight in zip(models, (0.0, 2.0)):
        ...     _ = torch.nn.init.constant_(model.weight, weight)
        >>> data = (torch.ones(4, 1), torch.ones(4, 1))
        >>> barrier_matrix(models, torch.nn.MSELoss(), data, nodes=3)  # (w − 1)²
        array([[0., 0.],
               [0., 0.]])
    """
    if len(models) < 2:
        raise UserError(f"Expected at least two models, got {len(models)}: pass more.")
    found = np.zeros((len(models), len(models)))
    for i, j in combinations(range(len(models)), 2):
        found[i, j] = found[j, i] = loss_line(models[i], models[j], loss, data, align=align, **settings).barrier
    return found
