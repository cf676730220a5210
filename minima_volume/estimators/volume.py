"""All volume estimates of one minimum in one landscape from the crossings along its rays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minima_volume.estimators.diagnostics import Verdict
from minima_volume.estimators.published import grid_log_volume
from minima_volume.estimators.radial import TAIL, Floats, bootstrap_error, log_mean_power, typical_log_volume


@dataclass(frozen=True)
class Volume:
    """Log-volumes of one minimum in nats, without the ball's constant; NaN where there is none.

    Attributes:
        status: "ok" if every ray crosses the threshold; "censored" if some rays reach the cap c = 1 first, so that the
            volume is that of the basin inside the cap; "unconverged" if the minimum itself is above the threshold.
        n_directions: Number of rays.
        n_crossed: Number of rays that cross the threshold.
        n_recrossed: Number of rays that are seen below the threshold again further out.
        log_volume: ln E[rⁿ].
        log_volume_se: Bootstrap standard error of `log_volume`.
        typical_log_volume: n·E[ln r].
        typical_log_volume_se: Standard error of `typical_log_volume`.
        log_volume_grid: The published estimate on its grid of coefficients.
        grid_directions: Number of directions, counted from the first, that `log_volume_grid` uses.
    """

    status: str
    n_directions: int
    n_crossed: int
    n_recrossed: int
    log_volume: float
    log_volume_se: float
    typical_log_volume: float
    typical_log_volume_se: float
    log_volume_grid: float
    grid_directions: int


def log_radii(coefficients: Floats, norms: Floats) -> Floats:
    """Return ln r = ln(c·‖g‖) of every ray.

    Args:
        coefficients: First crossings c, (directions,). Censored rays (NaN) count with the cap c = 1.
        norms: Norms ‖g‖ of the directions, (directions,).

    Returns:
        Natural logarithms of the radii, (directions,).
    """
    return np.log(np.where(np.isnan(coefficients), 1.0, coefficients)) + np.log(norms)


def volume_error(volume: Volume, verdict: Verdict, log_radii: Floats, n_params: int) -> float:
    """Return the standard error of ln E[rⁿ] that goes with its verdict, in nats.

    A converged volume has the larger of the bootstrap's and that of the bulk, whose coverage the verdict is tuned for. For
    any other the spread over resamples with a fitted tail counts too.

    Args:
        volume: The estimates.
        verdict: Their verdict.
        log_radii: Natural logarithms of the radii, (directions,).
        n_params: The dimension n.
    """
    error = np.fmax(volume.log_volume_se, verdict.bulk_error)
    if verdict.word != "converged":
        error = np.fmax(error, bootstrap_error(log_radii, n_params, tail=TAIL))
    return float(error)


def estimate_volume(
    coefficients: Floats,
    norms: Floats,
    n_params: int,
    *,
    recrossed: NDArray[np.bool_],
    grid_directions: int | None = None,
) -> Volume:
    """Estimate the volume of one minimum in one landscape at one threshold, by all estimators.

    Args:
        coefficients: First crossings c, (directions,): 0 everywhere for a minimum above the threshold, NaN for a ray
            that never crosses.
        norms: Norms ‖g‖ of the directions, (directions,).
        n_params: The dimension n.
        recrossed: Whether a ray is seen below the threshold again further out, (directions,).
        grid_directions: Number of directions that the published estimator uses, by default all.

    Returns:
        The estimates with their standard errors.

    Example:
        Two of three rays cross the threshold at a radius of 0.5. The third reaches the cap at a radius of 1.

        >>> import numpy as np
        >>> crossings = np.array([0.25, 0.5, np.nan])
        >>> volume = estimate_volume(crossings, np.array([2.0, 1.0, 1.0]), 2, recrossed=np.zeros(3, dtype=bool))
        >>> volume.status, volume.n_crossed
        ('censored', 2)
        >>> print(f"{np.exp(volume.log_volume):.3f}")  # (1/4 + 1/4 + 1) / 3
        0.500
    """
    n = len(coefficients)
    grid = min(n, grid_directions or n)
    crossed = int(np.count_nonzero(coefficients > 0))
    if n and (coefficients == 0).all():
        nothing = float("nan")
        return Volume("unconverged", n, 0, 0, nothing, nothing, nothing, nothing, nothing, grid)
    logs = log_radii(coefficients, norms)
    typical, typical_se = typical_log_volume(logs, n_params)
    return Volume(
        status="ok" if crossed == n else "censored",
        n_directions=n,
        n_crossed=crossed,
        n_recrossed=int(recrossed.sum()),
        log_volume=log_mean_power(logs, n_params),
        log_volume_se=bootstrap_error(logs, n_params),
        typical_log_volume=typical,
        typical_log_volume_se=typical_se,
        log_volume_grid=grid_log_volume(coefficients[:grid], norms[:grid], n_params),
        grid_directions=grid,
    )
