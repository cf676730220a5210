"""The last digits of crossings: Newton and secant steps on ln(L/τ) in x = ln c, for whichever heights are exact enough.

Close to its crossing a ray's curve is almost straight, so the slope of the bracket makes a Newton step, and from the
second height on the secant takes over. The same steps carry a crossing from a small landscape to a larger one, where
the curve has hardly moved.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minima_volume.estimators.published import PAPER_GRID

Floats = NDArray[np.float64]
# One step never goes further than this in ln c, whatever its slope says.
LONGEST = 0.1
# A carried slope is good to a few percent, so its step leaves up to a twentieth of its length as error. A secant is wrong
# by half the curvature times its length, where trained networks bend by f''/2f' of 0.1 to 0.6 in ln c, and by what
# float32 adds to both its ends, about SHORTEST.
SLOPE_ERROR, BEND = 0.05, 2.0
# Of two heights closer than this the difference is mostly rounding, and their secant with it.
TOO_CLOSE = 1e-5
# Coefficients are float32 numbers, so a shorter step than this leads back to the same point.
SHORTEST = 1.2e-7
# Trained networks leave their basins with slopes d ln L/d ln c of 2 to 15; what is steeper than this is a jump, and where
# it is flatter, at thresholds just above the minimum, float32 does not know the slope.
STEEPEST, FLATTEST = 100.0, 0.5
# Newton and secant steps at least square the error; a dozen is far more than any ray has needed.
ROUNDS = 12


@dataclass(frozen=True)
class Open:
    """Crossings not yet final: x = ln c, the slope d ln L/d ln c, the last point (x, ln L/τ) and its secant's length."""

    ray: NDArray[np.int64]
    target: NDArray[np.int64]
    x: Floats
    slope: Floats
    last_x: Floats
    last_f: Floats
    length: Floats

    @classmethod
    def at(cls, ray: NDArray[np.int64], target: NDArray[np.int64], x: Floats, slope: Floats) -> "Open":
        """Crossings to start from, at coefficients that float32 holds exactly."""
        nothing = np.full(len(ray), np.nan)
        return cls(ray, target, representable(x), slope, nothing, nothing, nothing)

    def select(self, rows: NDArray[np.bool_]) -> "Open":
        """The crossings where `rows` is true."""
        return Open(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def representable(x: Floats) -> Floats:
    """The ln c nearest to x whose c is a float32, so that no precision evaluates another point than the one meant."""
    with np.errstate(divide="ignore"):
        return np.log(np.exp(x).astype(np.float32).astype(np.float64))


@dataclass(frozen=True)
class Stepped:
    """What one height per open crossing taught: the best x now, which need another, and which no step improves."""

    open: Open
    x: Floats
    unfinished: NDArray[np.bool_]
    lost: NDArray[np.bool_]


def step(open_: Open, means: Floats, thresholds: Floats, tolerance: float, *, trust: float) -> Stepped:
    """One Newton or secant step of every crossing; `thresholds` per crossing.

    A height further than `trust` from its threshold in |ln(L/τ)| is lost: that is a jump, and no step improves it.
    """
    with np.errstate(all="ignore"):
        f = np.log(means / thresholds)
        secant = (f - open_.last_f) / (open_.x - open_.last_x)
        apart = np.abs(open_.x - open_.last_x) > TOO_CLOSE
        good = apart & np.isfinite(secant) & (secant > 0)
        slope = np.where(good, secant, open_.slope)
        length = np.where(good, np.abs(open_.x - open_.last_x), open_.length)
        # Rays rise where they leave a basin; a slope that says otherwise is noise, and 1 is a careful step.
        slope = np.where(np.isfinite(slope) & (slope > 0), slope, 1.0)
        lost = ~(np.abs(f) < trust)
        moved = np.where(lost, 0.0, np.clip(-f / slope, -LONGEST, LONGEST))
    x = open_.x + moved
    doubt = BEND * (length + np.abs(moved)) + SHORTEST / length
    error = np.abs(moved) * np.fmin(SLOPE_ERROR, doubt)
    following = Open(open_.ray, open_.target, representable(x), slope, open_.x, f, length)
    return Stepped(following, x, (error > tolerance) & (np.abs(moved) > SHORTEST), lost)


def shortest(tolerance: float) -> float:
    """The step after which a crossing is known to the tolerance."""
    return max(tolerance / SLOPE_ERROR, SHORTEST)


# (open crossings) -> mean loss of each
Heights = Callable[[Open], Floats]


def polish(
    heights: Heights, open_: Open, thresholds: Floats, tolerance: float, *, trust: float
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """x and slope of every crossing (in the order given) and the heights it took; x is NaN where it did not settle.

    A crossing has settled where both its last step and its last height are small: at a jump only the step is.
    """
    x, slope = np.full(len(open_.ray), np.nan), np.array(open_.slope)
    steps, place = np.zeros(len(open_.ray), dtype=np.int64), np.arange(len(open_.ray))
    for _ in range(ROUNDS):
        if not place.size:
            break
        stepped = step(open_, heights(open_), thresholds[place], tolerance, trust=trust)
        steps[place] += 1
        slope[place], settled = stepped.open.slope, ~stepped.unfinished
        flat = np.abs(stepped.open.last_f) < STEEPEST * np.fmax(
            shortest(tolerance), np.abs(stepped.x - stepped.open.last_x)
        )
        x[place[settled]] = np.where(flat, stepped.x, np.nan)[settled]
        place, open_ = place[stepped.unfinished], stepped.open.select(stepped.unfinished)
    # No ray is followed beyond the cap.
    x[x > np.log(PAPER_GRID[-1])] = np.nan
    return x, slope, steps
