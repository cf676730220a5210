"""Newton and secant steps on ln(L/τ) = 0 in x = ln c, from a point close to the crossing.

Close to its crossing a ray's curve is almost straight in these coordinates. The first step uses the slope that is given,
for example that of a bracket. From the second height on, the secant replaces it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minima_volume.crossings.scan import Counts, Floats
from minima_volume.estimators.published import PAPER_GRID

# (rows (k,), x = ln c (k,)) -> heights L/τ (k,). A row is one crossing of the problem that is being solved.
Heights = Callable[[Counts, Floats], Floats]

# No ray is followed beyond the cap c = 1, the end of the paper's grid.
LOG_CAP = float(np.log(PAPER_GRID[-1]))
# Longest step in ln c, whatever the slope says.
LONGEST = 0.1
# A given slope is good to a few percent, so its step leaves up to a twentieth of its length as error. The error of a
# secant is half the curvature times its length (trained networks bend by f''/2f' of 0.1 to 0.6 in ln c), plus what
# float32 adds to both of its ends, about SHORTEST.
SLOPE_ERROR, BEND = 0.05, 2.0  # BEND is more than three times the largest bend that was measured
# Below this distance the difference of two heights is mostly rounding.
TOO_CLOSE = 1e-5
# Coefficients are float32 numbers, so a shorter step returns to the same point.
SHORTEST = 1.2e-7
# Trained networks leave their basins with slopes d ln L/d ln c of 2 to 15. Anything steeper than STEEPEST is a jump. Below
# FLATTEST, at thresholds just above the minimum, float32 does not resolve the slope.
STEEPEST, FLATTEST = 100.0, 0.5
# Secants converge with order 1.6, so few steps are taken; no ray has needed as many as this.
MAX_STEPS = 12


class Roots(NamedTuple):
    """Solutions x = ln c (k,), slopes d ln L/d ln c there, and the number of heights that each one took."""

    x: Floats
    slope: Floats
    steps: Counts


@dataclass(frozen=True)
class NewtonState:
    """Crossings that are not solved yet, (k,) each: where to look next, the slope, and the last point looked at.

    `last_f` is ln(L/τ) at `last_x`, and `length` the length of the last good secant; NaN before the first height.
    """

    x: Floats
    slope: Floats
    last_x: Floats
    last_f: Floats
    length: Floats

    @classmethod
    def start(cls, x: Floats, slope: Floats) -> "NewtonState":
        """Start at coefficients that float32 represents exactly."""
        nothing = np.full(len(x), np.nan)
        return cls(representable(x), slope, nothing, nothing, nothing)

    def select(self, rows: NDArray[np.bool_]) -> "NewtonState":
        """The crossings where `rows` is true."""
        return NewtonState(*(values[rows] for values in vars(self).values()))


class NewtonStep(NamedTuple):
    """The next state, the best x so far, which crossings need another height, and which no step can improve."""

    state: NewtonState
    x: Floats
    unfinished: NDArray[np.bool_]
    lost: NDArray[np.bool_]


def representable(x: Floats) -> Floats:
    """The ln c nearest to x whose c is a float32 number, so that every precision evaluates the same point."""
    with np.errstate(divide="ignore"):
        return np.log(np.exp(x).astype(np.float32).astype(np.float64))


def newton_step(
    state: NewtonState, heights: Floats, tolerance: float, *, max_log_height: float, rounding: float = SHORTEST
) -> NewtonStep:
    """One Newton or secant step of every crossing from the heights L/τ at `state.x`, which are rounded to `rounding`.

    A crossing is lost if |ln(L/τ)| exceeds `max_log_height`: the curve jumps there, and no step improves it.
    """
    with np.errstate(all="ignore"):
        f = np.log(heights)
        secant = (f - state.last_f) / (state.x - state.last_x)
        apart = np.abs(state.x - state.last_x) > TOO_CLOSE
        good = apart & np.isfinite(secant) & (secant > 0)
        slope = np.where(good, secant, state.slope)
        length = np.where(good, np.abs(state.x - state.last_x), state.length)
        # Rays rise where they leave a basin. A slope that is not positive is noise, and 1 gives a careful step.
        slope = np.where(np.isfinite(slope) & (slope > 0), slope, 1.0)
        lost = ~(np.abs(f) < max_log_height)
        moved = np.where(lost, 0.0, np.clip(-f / slope, -LONGEST, LONGEST))
    x = state.x + moved
    doubt = BEND * (length + np.abs(moved)) + rounding / length
    error = np.abs(moved) * np.fmin(SLOPE_ERROR, doubt)
    following = NewtonState(representable(x), slope, state.x, f, length)
    return NewtonStep(following, x, (error > tolerance) & (np.abs(moved) > SHORTEST), lost)


def polish(heights: Heights, start: NewtonState, tolerance: float, *, max_log_height: float) -> Roots:
    """Solve every crossing by Newton and secant steps.

    Args:
        heights: Function of k rows and their x = ln c that returns L/τ.
        start: Where to look first, (n,).
        tolerance: Relative tolerance of c.
        max_log_height: Largest |ln(L/τ)| at a point that counts as close to its crossing.

    Returns:
        Roots (n,); x is NaN where a crossing did not settle. A crossing has settled if both its last step and its last
        height are small: at a jump only the step is.
    """
    state, rows = start, np.arange(len(start.x))
    x, slope = np.full(len(rows), np.nan), np.array(start.slope)
    steps = np.zeros(len(rows), dtype=np.int64)
    shortest = max(tolerance / SLOPE_ERROR, SHORTEST)
    for _ in range(MAX_STEPS):
        if not rows.size:
            break
        step = newton_step(state, heights(rows, state.x), tolerance, max_log_height=max_log_height)
        steps[rows] += 1
        slope[rows], finished = step.state.slope, ~step.unfinished
        height_is_small = np.abs(step.state.last_f) < STEEPEST * np.fmax(shortest, np.abs(step.x - step.state.last_x))
        x[rows[finished]] = np.where(height_is_small, step.x, np.nan)[finished]
        rows, state = rows[step.unfinished], step.state.select(step.unfinished)
    x[x > LOG_CAP] = np.nan
    return Roots(x, slope, steps)
