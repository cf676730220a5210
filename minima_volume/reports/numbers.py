"""Numbers with as many digits as their errors allow, and aligned columns."""

import math
from collections.abc import Sequence

# Below this the error is written with an exponent, and the value with as many decimals.
DECIMALS = 4


def with_error(value: float, error: float) -> str:
    """Format a value and its standard error to two digits of the error.

    Args:
        value: The value.
        error: Its standard error.

    Returns:
        Both, such as 89.5 ± 2.9. Errors below 0.001 leave four decimals of the value.

    Example:
        >>> with_error(89.4567, 2.94), with_error(752_123, 4012), with_error(-0.070123, 0.0096)
        ('89.5 ± 2.9', '752,100 ± 4,000', '-0.0701 ± 0.0096')
    """
    if not math.isfinite(value) or not math.isfinite(error):
        return f"{value:,.2f} ± {error:.2g}"
    size = abs(float(f"{error:.1e}"))
    digits = 1 - math.floor(math.log10(size)) if size else DECIMALS + 1
    shown = min(max(digits, 0), DECIMALS)
    small = f"{error:.1e}" if size and digits > DECIMALS else f"{round(error, digits):,.{shown}f}"
    # Adding 0 turns -0 into 0.
    return f"{round(value, min(digits, DECIMALS)) + 0.0:,.{shown}f} ± {small if size else 0}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align cells in columns.

    Args:
        rows: Cells, equally many in each row.

    Returns:
        One line per row. Columns are two blanks apart.

    Example:
        >>> aligned([("a", "10 nats"), ("long", "9 nats")])
        ['a     10 nats', 'long  9 nats']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
