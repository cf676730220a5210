"""The preconditioner that a user asks for: the curvature's, one that is given, or none."""

from typing import Literal

from minima_volume.errors import UserError
from minima_volume.networks.losses import Metric
from minima_volume.networks.minimum import Minimum
from minima_volume.networks.user_model import UserModel
from minima_volume.rays.preconditioner import Preconditioner, fit_preconditioner

# Leading directions of the curvature, where the samples have that many.
RANK = 256


def check_preconditioner(preconditioner: object, metric: Metric) -> None:
    """Raise UserError for a preconditioner that is none or does not go with the metric."""
    if preconditioner == "curvature" and metric == "accuracy":
        raise UserError(
            "Expected metric='loss' with preconditioner='curvature', got 'accuracy', whose steps have no "
            "curvature: measure the loss, or leave the preconditioner out."
        )
    if not (preconditioner is None or preconditioner == "curvature" or isinstance(preconditioner, Preconditioner)):
        raise UserError(
            f"Expected preconditioner 'curvature' or a Preconditioner, got {preconditioner!r}: pass one of them."
        )


def choose_preconditioner(
    preconditioner: Preconditioner | Literal["curvature"] | None, user: UserModel, minimum: Minimum, threshold: float
) -> Preconditioner | None:
    """Return a preconditioner for the parameters that move.

    Args:
        preconditioner: What the user asks for.
        user: The model with its loss and data.
        minimum: Where the rays start.
        threshold: The largest threshold.

    Returns:
        None if none is asked for, and for a minimum above the threshold, which has no basin to fit.

    Raises:
        UserError: It belongs to other parameters, or the data do not allow a fit.
    """
    n = minimum.layout.n_params
    if isinstance(preconditioner, Preconditioner) and len(preconditioner.scales) != n:
        raise UserError(
            f"Expected a preconditioner of {n} parameters, got one of {len(preconditioner.scales)}: make it for the "
            "parameters that move."
        )
    if preconditioner != "curvature":
        return preconditioner
    if user.samples is None:
        raise UserError(
            "Expected (inputs, targets) of equal shapes with preconditioner='curvature', got a closure or ragged batches: "
            "leave the preconditioner out."
        )
    rise = threshold - user.loss
    return fit_preconditioner(user.model, minimum, user.samples, threshold=rise, rank=RANK) if rise > 0 else None
