"""The estimator of the published paper, which reads radii from a fixed grid of coefficients."""

import numpy as np

from minima_volume.estimators.radial import Floats, log_mean_power

# The paper's fixed coefficients, c_k = (k/99)² for k = 0…99.
PAPER_GRID: Floats = (np.arange(100) / 99) ** 2


def grid_log_volume(coefficients: Floats, norms: Floats, n_params: int) -> float:
    """Return ln E[rⁿ] with each radius rounded up to the published grid.

    The published code takes the first grid coefficient at which the loss is above the threshold and drops rays that have
    none. A ray that crosses at c is outside from the first c_k > c on. The results differ only for a ray that crosses
    back below the threshold before that grid point, for which the published code reads a larger radius.

    Args:
        coefficients: First crossings c in [0, 1], (directions,); NaN for a ray that never crosses.
        norms: Norms ‖g‖ of the directions, (directions,).
        n_params: The dimension n.

    Returns:
        The log-volume in nats without the ball's constant; NaN if no ray is left.

    Example:
        A ray that crosses at 0.25 gets the next grid coefficient, (50/99)² = 0.2551. The ray without a crossing is
        dropped.

        >>> import numpy as np
        >>> log_volume = grid_log_volume(np.array([0.25, np.nan]), np.array([1.0, 1.0]), n_params=2)
        >>> print(f"{np.exp(log_volume / 2):.4f}")
        0.2551
    """
    crossed = ~np.isnan(coefficients)
    place = np.searchsorted(PAPER_GRID, coefficients[crossed], side="right")
    kept = place < len(PAPER_GRID)
    if not kept.any():
        return float("nan")
    radii = PAPER_GRID[place[kept]] * norms[crossed][kept]
    return log_mean_power(np.log(radii), n_params)
