"""Losses at the nodes of a line or a plane: what every result of this wing holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from minima_volume.landscapes.batch_norm import BatchNorm
from minima_volume.landscapes.landscape import Landscape
from minima_volume.landscapes.survey import Survey
from minima_volume.landscapes.totals import Floats
from minima_volume.networks.losses import Metric


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
    metric: Metric
    batch_norm: BatchNorm
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


def losses_of(
    landscape: Landscape, found: Survey, sizes: tuple[int, ...], nodes: tuple[int, ...], notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the fields of `NodeLosses` by name.

    Args:
        landscape: The model with its loss and data.
        found: Means at points, of which the last ones are the nodes.
        sizes: Numbers of samples, ascending.
        nodes: Numbers of nodes along each axis.
        notes: Sentences in addition to those of the landscape.
    """
    means, last = found.means, slice(-prod(nodes), None)
    return {
        "mean_loss": means.loss[last].T.reshape(len(sizes), *nodes),
        "error_rate": means.error_rate[last].T.reshape(len(sizes), *nodes),
        "loss_se": means.loss_se[last].reshape(nodes),
        "sizes": sizes,
        "metric": landscape.metric,
        "batch_norm": landscape.batch_norm,
        "dtype": found.dtype,
        "rounding": found.rounding,
        "notes": (*landscape.notes(), *notes),
    }
