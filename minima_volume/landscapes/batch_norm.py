"""Statistics of normalisation layers: frozen, or computed anew at a point."""

from typing import Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from minima_volume.networks.objective import Objective
from minima_volume.networks.private_copy import PrivateCopy

BatchNorm = Literal["frozen", "recalibrate"]


def normalisations(module: nn.Module) -> list[_BatchNorm]:
    """Return the layers of a module that keep running statistics."""
    return [part for part in module.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]


@torch.no_grad()
def recalibrate(copy: PrivateCopy, objective: Objective) -> bool:
    """Replace running statistics by plain averages over the batches of the data at the present point of a copy.

    That is what `torch.optim.swa_utils.update_bn` computes.

    Args:
        copy: The copy that is evaluated.
        objective: Its data.

    Returns:
        Whether the model has such layers.
    """
    layers = normalisations(copy.module)
    if not layers:
        return False
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain average, as torch documents
        layer.train()
    try:
        for _ in objective.losses(copy, [objective.n_samples], "loss"):
            pass
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
            layer.eval()
    return True
