"""Volumes of one minimum in one landscape from the crossings along its rays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minima_volume.estimators.published import grid_log_volume
from minima_volume.estimators.radial import Floats, bootstrap_error, log_mean_power, typical_log_volume


@dataclass(frozen=True)
class Volume:
    """Log-volumes in nats without the ball's constant, with standard errors; NaN where there is none.

    `status`: "ok"; "unconverged" if the minimum itself is above the threshold; "censored" if some rays never cross up to
    c = 1, which then count with their radius at c = 1, so that the volume is that of the basin inside the cap.
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
    """ln r = ln(c·‖g‖) of every ray; censored rays (NaN) at the cap c = 1."""
    return np.log(np.where(np.isnan(coefficients), 1.0, coefficients)) + np.log(norms)


def estimate_volume(
    coefficients: Floats,
    norms: Floats,
    n_params: int,
    *,
    recrossed: NDArray[np.bool_],
    grid_directions: int | None = None,
) -> Volume:
    """All estimators of one minimum × landscape × threshold from the crossing coefficient of each direction.

    `coefficients` (N,): first crossings, 0 for a minimum above the threshold, NaN for a ray that never crosses.
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
