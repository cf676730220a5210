"""First crossings that a scan steps over: between two nodes inside, a curve may rise above the threshold and fall again.

A curve whose second derivative is at most K deviates from its chord over an interval of length h by at most K·t(h − t)/2.
So it can exceed the threshold only where chord plus deviation do. K is estimated from the curve itself: the largest
second difference of all points that are known on it, times a factor of safety. Intervals where there is room for a bump
are halved until there is none, or until the budget is spent. Few points show little of K, so wide intervals are halved in
any case: wider than half of the way to the crossing, or than a twelfth once any curve of the block has crossed earlier.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from minima_volume.crossings.bracket import Brackets, log_heights, solve_brackets
from minima_volume.crossings.newton import Heights, Roots
from minima_volume.crossings.scan import SCAN_NODES, Counts, Floats

# The factor of safety. Tuned, with the answers in sight, on rays of trained and untrained multilayer perceptrons, a
# convolutional network, a SIREN and a transformer (tests/measure/test_first_crossings.py).
SAFETY = 3.0
# Widest interval without a look, as a part of the way: for all curves, and where a curve of the block crosses earlier. The
# first was chosen after a ray with two known points had hidden a bump of 43 % of its length.
WIDEST, WIDEST_WARY = 1 / 2, 1 / 12
# Points that one curve may cost, and parts of the coefficient closer than which two points say nothing of a curvature:
# their difference is float32's rounding.
BUDGET, CLOSE = 512, 0.01
# How often a curve is solved again because an earlier crossing was found.
ATTEMPTS = 8
# A bump that exceeds the threshold by less than this part of it moves no radius.
NEGLIGIBLE = 1e-6

# (rows (k,), coefficients (k,)) -> heights L/τ (k,)
HeightsAt = Callable[[Counts, Floats], Floats]


@dataclass
class Curve:
    """Known points of one curve up to its crossing, or up to the cap, in rising order.

    Attributes:
        c: Coefficients (k,), from 0 to the end.
        heights: L/τ there (k,); 1 at a crossing.
        points: Number of points that were added.
    """

    c: Floats
    heights: Floats
    points: int = 0

    @classmethod
    def of(cls, c: Floats, heights: Floats, end: float, end_height: float = 1.0) -> "Curve":
        """Return the curve through known points inside, up to an end; points too close to others are left out."""
        order = np.argsort(c)
        kept_c, kept_h = [0.0], [float(heights[order[0]])]
        for at, height in zip(c[order].tolist(), heights[order].tolist(), strict=True):
            if height <= 1 and at - kept_c[-1] >= CLOSE * end and end - at >= CLOSE * end:
                kept_c.append(at)
                kept_h.append(height)
        return cls(np.array([*kept_c, end]), np.array([*kept_h, end_height]))

    def insert(self, c: Floats, heights: Floats) -> None:
        """Add points inside."""
        order = np.argsort(np.concatenate([self.c, c]), kind="stable")
        self.c = np.concatenate([self.c, c])[order]
        self.heights = np.concatenate([self.heights, heights])[order]


def curvature(c: Floats, heights: Floats) -> float:
    """Return the largest second derivative that three neighbouring points show; infinite for fewer than three points."""
    if len(c) < 3:
        return float("inf")
    slopes = np.diff(heights) / np.diff(c)
    return float(np.abs(2 * np.diff(slopes) / (c[2:] - c[:-2])).max())


def open_intervals(curve: Curve, safety: float, widest: float = WIDEST) -> Floats:
    """Return the middles of the intervals in which there is room for a bump above the threshold.

    Args:
        curve: The known points.
        safety: Factor on the curvature that they show.
        widest: Part of the way above which an interval is always open.

    Returns:
        Coefficients (k,).
    """
    a, h = curve.c[:-1], np.diff(curve.c)
    bound = safety * curvature(curve.c, curve.heights)
    if np.isinf(bound):
        return a + h / 2
    too_wide = h > widest * curve.c[-1]
    if bound == 0:
        return np.asarray((a + h / 2)[too_wide])
    start, rise = curve.heights[:-1], np.diff(curve.heights)
    t = np.clip(h / 2 + rise / h / bound, 0, h)
    highest = start + rise * t / h + bound * t * (h - t) / 2
    wide = h > CLOSE * curve.c[-1] / 4
    return np.asarray((a + h / 2)[((highest > 1 + NEGLIGIBLE) & wide) | too_wide])


@dataclass(frozen=True)
class Look:
    """What looking between known points has found.

    Attributes:
        rows: Curves with an earlier crossing (k,).
        below: Last point below the threshold before it (k,).
        above: First point above it (k,).
        heights_below: L/τ there (k,).
        heights_above: L/τ there (k,).
        uncertain: Curves whose budget was spent while there was room for a bump.
        points: Points that each curve has cost.
    """

    rows: Counts
    below: Floats
    above: Floats
    heights_below: Floats
    heights_above: Floats
    uncertain: Counts
    points: Counts


def look_between(heights: HeightsAt, curves: Sequence[Curve], safety: float = SAFETY, widest: float = WIDEST) -> Look:
    """Look for crossings earlier than the known one, between the known points of every curve.

    Args:
        heights: Evaluates L/τ on curves.
        curves: The curves; points are added to them.
        safety: Factor on the curvature that their points show.
        widest: Part of the way above which an interval is always open.

    Returns:
        The earlier crossings as brackets, the curves that remain uncertain, and the points that each curve has cost.

    Example:
        >>> bump = lambda rows, c: c**2 + np.exp(-(((c - 0.5) / 0.2) ** 2))
        >>> c = np.array([0.0, 0.2, 0.75, 0.9])
        >>> look = look_between(bump, [Curve.of(c, bump(None, c), 1.0)])
        >>> round(float(look.below[0]), 3), round(float(look.above[0]), 3)
        (0.2, 0.475)
    """
    active, found = list(range(len(curves))), {}
    uncertain = []
    while active:
        asked = [(row, open_intervals(curves[row], safety, widest)) for row in active]
        asked = [(row, c) for row, c in asked if len(c)]
        spent = [row for row, c in asked if curves[row].points + len(c) > BUDGET]
        uncertain += spent
        asked = [(row, c) for row, c in asked if row not in spent]
        active = [row for row, _ in asked]
        if not asked:
            break
        values = heights(
            np.concatenate([np.full(len(c), row) for row, c in asked]), np.concatenate([c for _, c in asked])
        )
        values = np.nan_to_num(values, nan=np.inf)
        for (row, c), part in zip(asked, np.split(values, np.cumsum([len(c) for _, c in asked])[:-1]), strict=True):
            curve = curves[row]
            curve.points += len(c)
            outside = part > 1 + NEGLIGIBLE
            if outside.any():
                first = int(np.argmax(outside))
                curve.insert(c[:first], part[:first])
                last = int(np.searchsorted(curve.c, c[first])) - 1
                found[row] = (curve.c[last], c[first], curve.heights[last], part[first])
                active.remove(row)
            else:
                curve.insert(c, part)
    rows = np.array(sorted(found), dtype=np.int64)
    ends = np.array([found[row] for row in rows.tolist()], dtype=np.float64).reshape(-1, 4)
    points = np.array([curve.points for curve in curves], dtype=np.int64)
    below, above, heights_below, heights_above = ends.T
    return Look(rows, below, above, heights_below, heights_above, np.array(uncertain, dtype=np.int64), points)


@dataclass
class FirstCrossings:
    """The first crossings of many curves, refined until there is no room for earlier ones.

    Attributes:
        roots: Crossings x = ln c, slopes and steps of all curves (n,); NaN where there is none up to the cap.
        uncertain: Whether the budget was spent while there was room for an earlier crossing (n,).
        earlier: Whether the scan had stepped over a crossing (n,).
    """

    roots: Roots
    uncertain: NDArray[np.bool_]
    earlier: NDArray[np.bool_]


def _at_coefficients(heights: Heights, rows: Counts, c: Floats) -> Floats:
    """Return L/τ at coefficients c instead of x = ln c."""
    return heights(rows, np.log(c))


def first_crossings(heights: Heights, scanned: Floats, brackets: Brackets, tolerance: float) -> FirstCrossings:
    """Solve the bracket of every curve, and look between all known points for earlier crossings.

    A curve without an earlier crossing gets the root of its bracket, to the last bit: other points only look.

    Args:
        heights: Function of k rows and their x = ln c that returns L/τ.
        scanned: L/τ at 0 and the scan's nodes (n, 1 + nodes); NaN where nothing was evaluated.
        brackets: Of each curve (n,); NaN in all places where the scan saw no crossing.
        tolerance: Relative tolerance of c.

    Returns:
        The first crossings.
    """
    n, nodes = len(scanned), np.concatenate([[0.0], SCAN_NODES])
    known_c = [nodes[np.isfinite(row)] for row in scanned]
    known_h = [row[np.isfinite(row)] for row in scanned]

    def recorded(place: Counts) -> Heights:
        def evaluate(rows: Counts, x: Floats) -> Floats:
            found = heights(place[rows], x)
            for row, at, height in zip(place[rows], np.exp(x), np.nan_to_num(found, nan=np.inf), strict=True):
                known_c[row], known_h[row] = np.append(known_c[row], at), np.append(known_h[row], height)
            return found

        return evaluate

    x, slope = np.full(n, np.nan), np.full(n, np.nan)
    steps, uncertain, earlier = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    again, care = np.flatnonzero(~np.isnan(brackets.b)), (SAFETY, WIDEST)
    pending = brackets.select(~np.isnan(brackets.b))
    for attempt in range(ATTEMPTS):
        solved = solve_brackets(recorded(again), pending, tolerance)
        x[again], slope[again] = solved.x, solved.slope
        steps[again] += solved.steps
        # Where one curve bumps, the others get a closer look too.
        left = np.arange(n) if attempt < 2 else again
        ends = [(np.exp(x[row]), 1.0) if np.isfinite(x[row]) else (nodes[-1], known_h[row][-1]) for row in left]
        curves = [Curve.of(known_c[row], known_h[row], *end) for row, end in zip(left, ends, strict=True)]
        look = look_between(partial(_at_coefficients, recorded(left)), curves, *care)
        steps[left] += look.points
        uncertain[left] = False
        uncertain[left[look.uncertain]] = True
        if not look.rows.size:
            break
        again, care = left[look.rows], (2 * SAFETY, WIDEST_WARY)
        earlier[again], uncertain[again] = True, attempt == ATTEMPTS - 1
        f = log_heights(look.heights_below), log_heights(look.heights_above)
        with np.errstate(divide="ignore"):
            pending = Brackets(np.log(look.below), np.log(look.above), np.log(look.below), *f, f[0])
    return FirstCrossings(Roots(x, slope, steps), uncertain, earlier)
