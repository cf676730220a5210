"""Losses at the nodes of a line or a plane: what every result of this wing holds."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # results are read and drawn without torch
    from minima_volume.landscapes.batch_norm import BatchNorm
    from minima_volume.networks.losses import Metric

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class NodeLosses:
    """Losses at nodes, whose axes are (nodes,) along a line and (ny, nx) on a plane.

    Attributes:
        mean_loss: Mean loss over the first samples, (sizes, *nodes).
        error_rate: Share of wrong predictions, (sizes, *nodes); NaN without classes.
        loss_se: Standard error of the mean loss over all samples, (*nodes,), if they are a sample of more.
        sizes: Numbers of samples, ascending.
        metric: What the loss is: "loss", "accuracy" or "kl".
        batch_norm: "frozen" or "recalibrate".
        dtype: Precision of the forward pass.
        rounding: Largest relative difference of float32 losses from float64 on a few points and samples.
        notes: Sentences that a reader of the numbers must know.
    """

    mean_loss: Floats
    error_rate: Floats
    loss_se: Floats
    sizes: tuple[int, ...]
    metric: "Metric"
    batch_norm: "BatchNorm"
    dtype: str
    rounding: float
    notes: tuple[str, ...]

    @property
    def loss(self) -> Floats:
        """Mean loss over all samples, (*nodes,)."""
        return self.mean_loss[-1]

    @property
    def accuracy(self) -> Floats:
        """Share of right predictions over all samples, (*nodes,)."""
        return 1 - self.error_rate[-1]
