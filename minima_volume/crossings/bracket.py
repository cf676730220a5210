"""The first coefficient at which the mean loss along a ray crosses a threshold, solved rather than read off a grid.

A coarse scan outwards finds the first node above the threshold and so guards the *first* crossing. Inside that bracket
Chandrupatla's method (Adv. Eng. Software 28, 1997: inverse quadratic interpolation, bisection where that is not safe)
solves ln(L/τ) = 0 in ln c, where rays are almost straight. Two precisions share the work: float32 closes in, float64
takes the last steps, because n·ln r needs ln r to about 10⁻³/n.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minima_volume.crossings.newton import STEEPEST, Open
from minima_volume.crossings.scan import Evaluate, Floats, Target
from minima_volume.errors import NumericsError

# A mean of losses of at least 0 may be rounded below it, by a part of the threshold.
ROUNDED = 1e-6


# How far in ln c from a float32 crossing float64 looks for the two sides of its own.
WIDTHS = (2e-3, 2e-2, 0.2, 1.0)


@dataclass(frozen=True)
class Brackets:
    """Open problems in x = ln c and f = ln(L/τ): f(a) ≤ 0 < f(b), and a third point for interpolation."""

    ray: NDArray[np.int64]
    target: NDArray[np.int64]
    a: Floats
    b: Floats
    third: Floats
    fa: Floats
    fb: Floats
    fthird: Floats

    def select(self, rows: NDArray[np.bool_]) -> "Brackets":
        """The problems where `rows` is true."""
        return Brackets(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def narrowed(self, x: Floats, f: Floats) -> "Brackets":
        """The brackets after a new point x with value f; the end that it replaces becomes the third point."""
        inside = f <= 0
        return Brackets(
            self.ray,
            self.target,
            a=np.where(inside, x, self.a),
            b=np.where(inside, self.b, x),
            third=np.where(inside, self.a, self.b),
            fa=np.where(inside, f, self.fa),
            fb=np.where(inside, self.fb, f),
            fthird=np.where(inside, self.fa, self.fb),
        )


def _log_ratio(values: Floats, thresholds: Floats) -> Floats:
    """ln(L/τ), finite even for L = 0, infinity or NaN (outside) so that brackets stay ordered numbers.

    Raises NumericsError for a mean loss below 0, beyond what rounding leaves of 0.
    """
    if (values < -ROUNDED * thresholds).any():
        raise NumericsError(
            f"Expected a mean loss of at least 0 everywhere along a ray, got {np.nanmin(values):.4g}: add a constant to "
            "the loss and to the threshold."
        )
    with np.errstate(divide="ignore"):
        known = np.nan_to_num(np.maximum(values, 0.0), nan=np.inf, posinf=np.inf)
        return np.clip(np.log(known / thresholds), -700.0, 700.0)


def brackets_of(table: Floats, targets: Sequence[Target], nodes: Floats) -> tuple[Brackets, NDArray[np.bool_]]:
    """The first bracket of every ray and target that the scan crossed, and which (rays, targets) crossed again later."""
    thresholds = np.array([target.threshold for target in targets])
    outside = table > thresholds  # False where NaN: not evaluated
    first = outside.argmax(axis=1)
    ray, target = np.nonzero(outside.any(axis=1) & (first > 0))
    j = first[ray, target]
    with np.errstate(divide="ignore"):
        x = np.log(np.concatenate([[0.0], nodes]))
    f = _log_ratio(table, thresholds)
    before = np.maximum(j - 2, 0)
    picked = Brackets(
        ray, target, x[j - 1], x[j], x[before], f[ray, j - 1, target], f[ray, j, target], f[ray, before, target]
    )
    behind = np.arange(table.shape[1])[None, :, None] > first[:, None, :]
    recrossed = (behind & (table <= thresholds)).any(axis=1) & (first > 0)
    return picked, recrossed


def _quadratic(p: Brackets, x: Floats) -> Floats:
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


def solve(
    evaluate: Evaluate, problem: Brackets, thresholds: Floats, *, tolerance: float, bisect: bool = False
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """x = ln c of every bracket's crossing, the slope d ln L/d ln c there, and the evaluations it took.

    A problem ends when its next point would lie within `tolerance` of a last one near the threshold, or its bracket is
    that narrow, both in x, so relative in c. Every fourth step is a bisection, which bounds the number of steps for any
    function.
    """
    roots, slopes = np.empty(len(problem.ray)), np.empty(len(problem.ray))
    steps = np.zeros(len(problem.ray), dtype=np.int64)
    index = np.arange(len(problem.ray))
    previous, height = np.full(len(index), np.inf), np.full(len(index), np.inf)
    for step in range(400):
        with np.errstate(all="ignore"):
            x, middle = _proposal(problem), 0.5 * (problem.a + problem.b)
            if bisect:
                x = np.where(np.isinf(problem.a), x, middle)
            # Below e⁻⁸⁰ the minimum lies on the threshold to every digit of its loss.
            # Two near points count only if the height says so too: at a jump, interpolation creeps towards one end.
            near = (np.abs(x - previous) < tolerance) & (np.abs(height) < STEEPEST * tolerance)
            finished = near | (problem.b - problem.a < tolerance) | (x < -80)
            roots[index], slopes[index] = x, _quadratic(problem, x)
        index, problem, x, middle = index[~finished], problem.select(~finished), x[~finished], middle[~finished]
        if not index.size:
            break
        if step % 4 == 3:
            x = np.where(np.isinf(problem.a), x, middle)
        f = _log_ratio(evaluate(problem.ray, problem.target, np.exp(x)), thresholds[problem.target])
        problem, previous, height = problem.narrowed(x, f), x, f
        steps[index] += 1
    return roots, slopes, steps


def enclosed(
    evaluate: Evaluate, open_: Open, thresholds: Floats, tolerance: float
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """As `solve`, from points nearby: x, slope and evaluations of the crossings in the first of the WIDTHS that shows one.

    Where none does, or the crossing lies beyond c = 1, the point stays.
    """
    x, slope, left = np.array(open_.x), np.array(open_.slope), np.arange(len(open_.x))
    steps = np.zeros(len(x), dtype=np.int64)
    for width in WIDTHS:
        ray, target, a, b = open_.ray[left], open_.target[left], open_.x[left] - width, open_.x[left] + width
        fa, fb = (_log_ratio(evaluate(ray, target, np.exp(end)), thresholds[target]) for end in (a, b))
        steps[left] += 2
        shown = (fa <= 0) & (fb > 0)
        problem = Brackets(ray, target, a, b, a, fa, fb, fa).select(shown)
        roots, slopes, taken = solve(evaluate, problem, thresholds, tolerance=tolerance)
        place, left = left[shown], left[~shown]
        steps[place] += taken
        x[place], slope[place] = np.where(roots <= 0, roots, x[place]), slopes
        if not left.size:
            break
    return x, slope, steps
