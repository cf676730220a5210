"""ln γ of stored minima by subset simulation, as a table of the claims page."""

from collections.abc import Iterator

import pandas as pd

from minima_volume.analysis import tables
from minima_volume.analysis.markdown import MINUS, MISSING, table, with_error

# Widths whose ln γ the table shows.
WIDTHS = (0.05, 0.07, 0.1)


def local_table() -> str:
    """Return ln γ of every minimum in the base landscape, in its own filter norms and in those of the first level."""
    rows = [row for study in tables.studies("paper") for row in _rows(study)]
    header = (
        "study, repeat", "level", *(f"σ = {width:g}, own norms" for width in WIDTHS),
        *(f"σ = {width:g}, first norms" for width in WIDTHS), "Σ ln s", "test accuracy",
    )  # fmt: skip
    return table(header, rows) if rows else MISSING


def _rows(study: str) -> Iterator[tuple[str, ...]]:
    """Yield the rows of one study."""
    frame = tables.local_volumes("paper", study)
    if frame is None:
        return
    frame = frame[frame["landscape"] == 0]
    for (repeat, level), here in frame.groupby(["repeat", "level"]):
        own, first = (here[here["norms"] == norms].set_index("sigma") for norms in ("own", "first"))
        scales, accuracy = own[["log_scales", "test_accuracy"]].to_numpy(dtype=float)[0].tolist()
        yield (
            f"`{study}`, {repeat:g}",
            f"{level:,.0f}",
            *(_cell(own, width) for width in WIDTHS),
            *(_cell(own if first.empty else first, width) for width in WIDTHS),
            f"{scales:,.0f}".replace("-", MINUS),
            f"{accuracy:.3f}",
        )


def _cell(rows: pd.DataFrame, width: float) -> str:
    """Return ln γ ± error at a width; the status instead if that is not ok, and a dash if there is none."""
    if width not in rows.index:
        return "—"
    row = rows.loc[[width]]
    value, error = row[["log_gamma", "error"]].to_numpy(dtype=float)[0].tolist()
    if row["status"].iloc[0] != "ok":
        return str(row["status"].iloc[0])
    # If no particle is lost, the error is that of a bound.
    return f"> {MINUS}{error:.2g}" if value == 0 else with_error(value, error)
