"""The paper's estimator: radii read off a fixed grid of coefficients."""

import numpy as np

from minima_volume.estimators.radial import Floats, log_mean_power

# The paper's fixed coefficients, c_k = (k/99)² for k = 0…99.
PAPER_GRID: Floats = (np.arange(100) / 99) ** 2


def grid_log_volume(coefficients: Floats, norms: Floats, n_params: int) -> float:
    """The published estimator: radii at the first grid coefficient above the threshold, rays that never cross left out.

    A crossing at c lies outside from the first c_k > c on; where a ray dips below the threshold again before that grid
    point, the published rule would have read a larger radius.
    """
    place = np.searchsorted(PAPER_GRID, coefficients[~np.isnan(coefficients)], side="right")
    kept = place < len(PAPER_GRID)
    if not kept.any():
        return float("nan")
    rounded = PAPER_GRID[place[kept]] * norms[~np.isnan(coefficients)][kept]
    return log_mean_power(np.log(rounded), n_params)
