"""Crossings inside brackets, solved by Chandrupatla's method on ln(L/τ) = 0 in x = ln c.

Inverse quadratic interpolation where it is safe, bisection elsewhere, so that any function is solved in a bounded number
of steps. Source: Chandrupatla, Advances in Engineering Software 28 (1997) 145.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minima_volume.crossings.newton import STEEPEST, Heights, Roots
from minima_volume.crossings.scan import SCAN_NODES, Counts, Floats
from minima_volume.errors import NumericsError

# A mean of losses of at least 0 may be rounded below 0 by this part of the threshold.
NEGATIVE_ROUNDING = 1e-6
# Half widths in ln c of the brackets that are tried around a known point.
HALF_WIDTHS = (2e-3, 2e-2, 0.2, 1.0)


@dataclass(frozen=True)
class Brackets:
    """Open problems (k,) in x = ln c and f = ln(L/τ): f(a) ≤ 0 < f(b), and a third point for interpolation."""

    a: Floats
    b: Floats
    third: Floats
    fa: Floats
    fb: Floats
    fthird: Floats

    def select(self, rows: NDArray[np.bool_]) -> "Brackets":
        """The problems where `rows` is true."""
        return Brackets(*(values[rows] for values in vars(self).values()))

    def narrow(self, x: Floats, f: Floats) -> "Brackets":
        """The brackets after a new point x with value f; the end that it replaces becomes the third point."""
        inside = f <= 0
        return Brackets(
            a=np.where(inside, x, self.a),
            b=np.where(inside, self.b, x),
            third=np.where(inside, self.a, self.b),
            fa=np.where(inside, f, self.fa),
            fb=np.where(inside, self.fb, f),
            fthird=np.where(inside, self.fa, self.fb),
        )


def log_heights(heights: Floats) -> Floats:
    """ln(L/τ), finite even where L/τ is 0, infinite or NaN (which lies outside), so that brackets hold ordered numbers.

    Raises:
        NumericsError: A mean loss is negative by more than rounding.
    """
    if (heights < -NEGATIVE_ROUNDING).any():
        raise NumericsError(
            f"Expected a mean loss of at least 0 everywhere along a ray, got {np.nanmin(heights):.4g} times the "
            "threshold: add a constant to the loss and to the threshold."
        )
    with np.errstate(divide="ignore"):
        known = np.nan_to_num(np.maximum(heights, 0.0), nan=np.inf, posinf=np.inf)
        return np.clip(np.log(known), -700.0, 700.0)


def first_brackets(table: Floats, thresholds: Floats) -> tuple[Counts, Counts, Brackets, NDArray[np.bool_]]:
    """The first bracket of every ray and target that a scan crossed.

    Args:
        table: Means (rays, 1 + nodes, targets) from `scan`.
        thresholds: Thresholds of the targets, (targets,).

    Returns:
        Ray and target of each bracket (k,), the brackets (k,), and which rays were seen below each target again beyond
        their first crossing (rays, targets).
    """
    outside = table > thresholds  # False where NaN: not evaluated
    first = outside.argmax(axis=1)
    ray, target = np.nonzero(outside.any(axis=1) & (first > 0))
    j = first[ray, target]
    with np.errstate(divide="ignore"):
        x = np.log(np.concatenate([[0.0], SCAN_NODES]))
    f = log_heights(table / thresholds)
    before = np.maximum(j - 2, 0)
    brackets = Brackets(
        x[j - 1], x[j], x[before], f[ray, j - 1, target], f[ray, j, target], f[ray, before, target]
    )  # fmt: skip
    behind = np.arange(table.shape[1])[None, :, None] > first[:, None, :]
    recrossed = (behind & (table <= thresholds)).any(axis=1) & (first > 0)
    return ray, target, brackets, recrossed


def solve_brackets(heights: Heights, brackets: Brackets, tolerance: float, *, bisect: bool = False) -> Roots:
    """Solve the crossing in every bracket.

    A problem ends when its next point lies within `tolerance` of the last one near the threshold, or when its bracket is
    that narrow. Every fourth step is a bisection, which bounds the number of steps for any function.

    Args:
        heights: Function of k rows and their x = ln c that returns L/τ.
        brackets: The problems, (n,).
        tolerance: In x, so relative in c.
        bisect: Take every step by bisection, for functions that move in steps.

    Returns:
        Roots (n,).

    Raises:
        NumericsError: A mean loss along a ray is negative.
    """
    n = len(brackets.a)
    roots, slopes, steps = np.empty(n), np.empty(n), np.zeros(n, dtype=np.int64)
    rows = np.arange(n)
    previous, last_f = np.full(n, np.inf), np.full(n, np.inf)
    for step in range(400):
        with np.errstate(all="ignore"):
            x, middle = _proposal(brackets), 0.5 * (brackets.a + brackets.b)
            if bisect:
                x = np.where(np.isinf(brackets.a), x, middle)
            # Two points that lie close count only if the height is small too: at a jump, interpolation creeps towards
            # one end. Below e⁻⁸⁰ the minimum lies on the threshold to every digit of its loss.
            near = (np.abs(x - previous) < tolerance) & (np.abs(last_f) < STEEPEST * tolerance)
            finished = near | (brackets.b - brackets.a < tolerance) | (x < -80)
            roots[rows], slopes[rows] = x, _slope(brackets, x)
        rows, brackets, x, middle = rows[~finished], brackets.select(~finished), x[~finished], middle[~finished]
        if not rows.size:
            break
        if step % 4 == 3:
            x = np.where(np.isinf(brackets.a), x, middle)
        f = log_heights(heights(rows, x))
        brackets, previous, last_f = brackets.narrow(x, f), x, f
        steps[rows] += 1
    return Roots(roots, slopes, steps)


def enclose(heights: Heights, x: Floats, slope: Floats, tolerance: float) -> Roots:
    """Solve crossings near known points: the first of the HALF_WIDTHS around a point that shows a bracket is solved.

    Where none shows one, the point and its slope stay. Where the crossing lies beyond c = 1, the point stays with the
    slope found there.
    """
    x, slope, left = np.array(x), np.array(slope), np.arange(len(x))
    steps = np.zeros(len(x), dtype=np.int64)
    for width in HALF_WIDTHS:
        a, b = x[left] - width, x[left] + width
        fa, fb = log_heights(heights(left, a)), log_heights(heights(left, b))
        steps[left] += 2
        shown = (fa <= 0) & (fb > 0)
        place, left = left[shown], left[~shown]

        def of_these(rows: Counts, at: Floats, place: Counts = place) -> Floats:
            return heights(place[rows], at)

        found = solve_brackets(of_these, Brackets(a, b, a, fa, fb, fa).select(shown), tolerance)
        steps[place] += found.steps
        x[place], slope[place] = np.where(found.x <= 0, found.x, x[place]), found.slope
        if not left.size:
            break
    return Roots(x, slope, steps)


def _slope(p: Brackets, x: Floats) -> Floats:
    """Slope df/dx at x of the parabola through both ends of the bracket and the third point."""
    ends = (p.fb - p.fa) / (p.b - p.a)
    beyond = (p.fthird - p.fb) / (p.third - p.b)
    curvature = (beyond - ends) / (p.third - p.a)
    return ends + np.nan_to_num(curvature) * (2 * x - p.a - p.b)


def _proposal(p: Brackets) -> Floats:
    """Inverse quadratic interpolation where the three points are monotone, else the secant of the bracket."""
    secant = -p.fa / (p.fb - p.fa)
    inner = p.fa / (p.fb - p.fa) * p.fthird / (p.fb - p.fthird)
    outer = (p.third - p.a) / (p.b - p.a) * p.fa / (p.fthird - p.fa) * p.fb / (p.fthird - p.fb)
    monotone = np.where(p.third < p.a, p.fthird < p.fa, (p.third > p.b) & (p.fthird > p.fb))
    quadratic = inner + outer
    t = np.where(monotone & (quadratic > 0) & (quadratic < 1), quadratic, secant)
    point = p.a + np.clip(t, 1e-12, 1 - 1e-12) * (p.b - p.a)
    # A bracket that starts at c = 0 has no logarithm: walk inwards until a point lies below the threshold.
    return np.where(np.isinf(p.a), p.b - np.log(16.0), point)
