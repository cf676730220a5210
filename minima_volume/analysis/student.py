"""The limit that a difference must exceed, in standard errors that were estimated from few repeats."""

import math

from scipy.special import stdtrit

# The 95 % limit of a normal distribution, for errors that are known.
NORMAL_95 = 1.959963984540054


def limit_95(freedom: int) -> float:
    """Return the two-sided 95 % limit of Student's t distribution, in standard errors.

    An error that is estimated from two or three repeats is itself uncertain: |t| ≤ 2 holds in only 70 to 82 % of cases
    with 1 or 2 degrees of freedom. The limit is 12.7 for 1 degree of freedom, 4.30 for 2, 2.78 for 4, and 1.96 for many.

    Args:
        freedom: Degrees of freedom of the error.

    Returns:
        The limit, or NaN without degrees of freedom: nothing can then be said.

    Source:
        Student, The probable error of a mean, Biometrika 6 (1908).

    Example:
        >>> [round(limit_95(freedom), 2) for freedom in (1, 2, 4, 1000)]
        [12.71, 4.3, 2.78, 1.96]
    """
    return float(stdtrit(freedom, 0.975)) if freedom > 0 else math.nan


def join_errors(spread: float, freedom: int, shared: float) -> tuple[float, float]:
    """Join an error that was estimated from few repeats and a known one that all repeats share.

    error² = spread² + shared², and (limit · error)² = (t · spread)² + (1.96 · shared)² with t of Student's distribution.

    Args:
        spread: Standard error from the spread over repeats.
        freedom: Degrees of freedom of the spread.
        shared: Standard error that does not average out over repeats, such as that of their common directions.

    Returns:
        The joint standard error, and the two-sided 95 % limit in such errors. At most 5 % of true effects lie beyond it;
        where both parts matter, fewer: 1.3 % at worst for two repeats.

    Source:
        G. Y. Zou and A. Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27 (2008).
        Degrees of freedom by Satterthwaite's formula let up to 13 % of true effects of two repeats pass the limit.

    Example:
        >>> [round(value, 2) for value in join_errors(3.0, 2, 4.0)]
        [5.0, 3.02]
    """
    error = math.hypot(spread, shared)
    if not (spread > 0 and shared > 0):
        return error, NORMAL_95 if shared > 0 else limit_95(freedom)
    return error, math.hypot(limit_95(freedom) * spread, NORMAL_95 * shared) / error
