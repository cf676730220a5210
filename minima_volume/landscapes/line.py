"""The loss along the straight line between two models (Goodfellow et al. 2015)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from minima_volume.crossings.sweep import MEMORY
from minima_volume.errors import UserError
from minima_volume.landscapes import basis, exports, figure
from minima_volume.landscapes.alignment import align_parameters
from minima_volume.landscapes.batch_norm import BatchNorm
from minima_volume.landscapes.landscape import Landscape, parameters_of_model
from minima_volume.landscapes.profile import LossProfile
from minima_volume.landscapes.subspace import Subspace
from minima_volume.landscapes.survey import losses_of, survey
from minima_volume.networks.adapters import Data, LossFunction
from minima_volume.networks.arguments import Names, as_count
from minima_volume.networks.losses import Metric
from minima_volume.networks.surroundings import plain_surroundings
from minima_volume.networks.user_model import plain_module

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, kw_only=True)
class Line(LossProfile):
    """Losses along θ(t) = A + t·(B − A); the attributes are those of `LossProfile`."""

    def plot(self) -> "Figure":
        """Plot losses and accuracies along the line.

        Returns:
            A figure with one panel, or two if there are accuracies.

        Raises:
            UserError: If matplotlib is not installed.
        """
        return figure.plot_line(self)

    def save(self, path: str | Path) -> None:
        """Write the line as .npz or .csv, by the ending of the path; see `minima_volume.landscapes.exports`.

        Args:
            path: The file to write.

        Raises:
            ResultsError: The path ends in something else, or cannot be written.
        """
        exports.save_line(Path(path), self)


def loss_line(
    a: nn.Module,
    b: Any,
    loss: LossFunction | None,
    data: Data,
    *,
    test: Data | None = None,
    nodes: int = 51,
    start: float = 0.0,
    stop: float = 1.0,
    sizes: Sequence[int] | None = None,
    metric: Metric = "loss",
    only: Names = None,
    batch_norm: BatchNorm = "frozen",
    align: bool = False,
    keep: str | Path | None = None,
    progress: bool | None = None,
    memory: int = MEMORY,
) -> Line:
    """Evaluate the loss along the line θ(t) = A + t·(B − A) between two models.

    The models stay as they are, as in `measure_volume`.

    Args:
        a: A trained model in evaluation mode.
        b: Another model of the same architecture, or its state dict.
        loss: Loss function, loss module or closure; see `measure_volume`.
        data: (inputs, targets) tensors, a data set, a loader, or any batches for a closure.
        test: Other data that are evaluated along the same line.
        nodes: Number of points with equal steps. The models themselves are added if they are none of them.
        start: First t.
        stop: Last t.
        sizes: Numbers of samples whose mean losses are read off in the same pass, of the first samples each.
        metric: "loss"; "accuracy" for the error rate alone; or "kl" for the divergence from the first model.
        only: Which parameters move; see `measure_volume`. The others are those of `a`.
        batch_norm: "frozen" keeps the running statistics of `a` everywhere; "recalibrate" computes them anew at every point,
            as averages over the batches of `data` (of `test` for test losses).
        align: Whether units of `b` are first permuted to match those of `a`; see `minima_volume.landscapes.alignment`.
        keep: An .npz file in which finished points are kept, and from which the same call goes on.
        progress: Whether to show a bar on stderr; by default if that is a terminal.
        memory: Bytes that activations and the data of a loader may each take; 384 MiB by default.

    Returns:
        Losses, error rates and barrier.

    Raises:
        UserError: Models, a loss or arguments that cannot be evaluated.
        DataError: Data that are empty or do not fit the loss.

    Example:
        The loss (w − 1)² of one weight between w = 0 and w = 2 is highest at its ends:

        >>> import torch
        >>> from minima_volume import loss_line
        >>> a, b = (torch.nn.Linear(1, 1, bias=False) for _ in range(2))
        >>> _ = torch.nn.init.zeros_(a.weight), torch.nn.init.constant_(b.weight, 2.0)
        >>> line = loss_line(a, b, torch.nn.MSELoss(), (torch.ones(4, 1), torch.ones(4, 1)), nodes=5)
        >>> line.loss
        array([1.  , 0.25, 0.  , 0.25, 1.  ])
        >>> line.barrier
        0.0
    """
    nodes, model = as_count(nodes, "nodes", 2), plain_module(a)
    if not -math.inf < start < stop < math.inf:
        raise UserError(f"Expected finite start < stop, got {start} and {stop}: 0 is the first model, 1 the second.")
    t = np.unique(np.concatenate([np.linspace(start, stop, nodes), [0.0, 1.0]]))
    with plain_surroundings(model):
        landscape = Landscape(model, loss, data, metric=metric, only=only, batch_norm=batch_norm, memory=memory)
        start_at, layout = landscape.minimum.parameters, landscape.minimum.layout
        end_at = parameters_of_model(b, "the second model", start_at)
        if align:
            end_at = align_parameters(model, start_at, end_at)
        ones = torch.ones(layout.n_params, dtype=torch.float64, device=landscape.minimum.scales.device)
        way = basis.displacement(start_at, end_at, layout, ones)
        subspace = Subspace(start_at, layout, way[None])
        sizes = landscape.as_sizes(sizes)
        found = survey(landscape, subspace, t[:, None], sizes, keep=keep, progress=progress)
        tested = None
        if test is not None:
            other = Landscape(model, loss, test, metric=metric, only=only, batch_norm=batch_norm, memory=memory)
            tested = survey(other, subspace, t[:, None], (other.n_samples,), progress=progress).means
        related = basis.relation(start_at, end_at, layout, "the two models")
    return Line(
        t=t, length=float(way.norm()), test_loss=None if tested is None else tested.loss[:, -1],
        test_error_rate=None if tested is None else tested.error_rate[:, -1],
        **losses_of(landscape, found, sizes, (len(t),), [related] if related else []),
    )  # fmt: skip
