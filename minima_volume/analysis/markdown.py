"""Numbers and tables in Markdown, as the generated blocks of the documentation write them."""

import math
from collections.abc import Iterable, Sequence

MISSING = "No study of this table has been run at paper scale yet."
MINUS, BLANK = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; every row must have as many cells as the header."""
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:]])


def with_error(value: float, error: float) -> str:
    """Return `value ± error` with a sign, to two digits of the error, with blanks that do not break."""
    digits = min(6, max(0, 1 - math.floor(math.log10(error)))) if error > 0 else 2
    return f"{value:+.{digits}f}{BLANK}±{BLANK}{error:.{digits}f}".replace("-", MINUS)


def thousands(value: float, digits: int = 0) -> str:
    """Return nats as thousands of nats: 753,900 is `754k`."""
    return f"{value / 1000:,.{digits}f}k".replace("-", MINUS)


def signed(value: float, digits: int = 1) -> str:
    """Return a number with its sign, or a dash if there is none."""
    return "—" if math.isnan(value) else f"{value:+.{digits}f}".replace("-", MINUS)


def ratio(value: float) -> str:
    """Return a ratio to two significant digits, or a dash if it is not finite."""
    return f"{float(f'{value:.2g}'):g}" if math.isfinite(value) else "—"


def duration(seconds: float) -> str:
    """Return a time in hours, minutes or seconds, whichever it has at least one and a half of."""
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= 1.5 * unit:
            return f"{seconds / unit:.{int(seconds < 10 * unit)}f} {name}"
    return f"{seconds:.0f} s"
