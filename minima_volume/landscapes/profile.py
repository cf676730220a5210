"""Losses along a line or a path: what pictures and exports know of it."""

from dataclasses import dataclass

import numpy as np

from minima_volume.landscapes.node_losses import Floats, NodeLosses


@dataclass(frozen=True, eq=False, kw_only=True)
class LossProfile(NodeLosses):
    """Losses along θ(t) = A + t·(B − A), or along a path from A to B; see `NodeLosses` for the other attributes.

    Attributes:
        t: Fractions of the way, (nodes,).
        test_loss: Mean loss on the test data, (nodes,), or None.
        test_error_rate: Share of wrong predictions on the test data, (nodes,), or None.
        length: Length of the line in raw parameters.
    """

    t: Floats
    test_loss: Floats | None = None
    test_error_rate: Floats | None = None
    length: float

    @property
    def barrier(self) -> float:
        """Highest loss between the models minus the mean of their losses (Frankle et al. 2020); at least 0."""
        return barrier_height(self.t, self.loss)

    @property
    def test_barrier(self) -> float:
        """The same on the test data; NaN without them."""
        return float("nan") if self.test_loss is None else barrier_height(self.t, self.test_loss)

    def inside(self, threshold: float) -> bool:
        """Return whether the loss stays at or below a threshold at every node between the models."""
        between = (self.t >= 0) & (self.t <= 1)
        return bool((self.loss[between] <= threshold).all())


def barrier_height(t: Floats, loss: Floats) -> float:
    """Return the highest loss at 0 ≤ t ≤ 1 minus the mean of the losses at both ends; at least 0.

    Args:
        t: Fractions of the way (nodes,), with 0 and 1 among them.
        loss: Losses (nodes,); NaN counts as infinite.

    Example:
        >>> import numpy as np
        >>> barrier_height(np.array([0.0, 0.5, 1.0]), np.array([0.0, 1.0, 0.5]))
        0.75
    """
    between = np.where(np.isnan(loss), np.inf, loss)[(t >= 0) & (t <= 1)]
    ends = [float(loss[np.abs(t - end).argmin()]) for end in (0, 1)]
    return max(0.0, float(between.max()) - (ends[0] + ends[1]) / 2)
