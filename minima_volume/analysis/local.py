"""ln γ of stored minima by subset simulation, as a table of the claims page."""

import pandas as pd

from minima_volume.analysis import tables
from minima_volume.analysis.markdown import MINUS, MISSING, table, with_error

# Number of widths whose ln γ the table shows.
N_WIDTHS = 3


def local_table() -> str:
    """Return ln γ of every minimum in the base landscape, study by study, in its own filter norms and the first level's."""
    parts = [part for study in tables.studies("paper") if (part := _part(study))]
    return "\n\n".join(parts) if parts else MISSING


def _part(study: str) -> str | None:
    """Return the table of one study; None without local volumes, and for seeds, which differ by little more than errors."""
    frame = tables.local_volumes("paper", study)
    if frame is None or tables.settings("paper", study).level_means == "model_seed":
        return None
    frame = frame[frame["landscape"] == 0]
    # Those with most values, so that few cells are empty.
    widths = sorted(widths_by_values(frame[frame["norms"] == "own"])[:N_WIDTHS])
    header = (
        "repeat, level", *(f"σ = {width:g}, own norms" for width in widths),
        *(f"σ = {width:g}, first norms" for width in widths), "Σ ln s", "test accuracy",
    )  # fmt: skip
    rows = []
    for (repeat, level), here in frame.groupby(["repeat", "level"]):
        own, first = (here[here["norms"] == norms].set_index("sigma") for norms in ("own", "first"))
        scales, accuracy = own[["log_scales", "test_accuracy"]].to_numpy(dtype=float)[0].tolist()
        rows.append((
            f"{repeat:g}, {level:,.0f}",
            *(_cell(own, width) for width in widths),
            *(_cell(own if first.empty else first, width) for width in widths),
            f"{scales:,.0f}".replace("-", MINUS),
            f"{accuracy:.3f}",
        ))  # fmt: skip
    return f"`{study}`:\n\n{table(header, rows)}"


def widths_by_values(frame: pd.DataFrame) -> list[float]:
    """Return the widths σ of local volumes, those with most values below 0 and without doubt first.

    Of those with equally many the largest is first. Widths without such a value are left out.
    """
    known = frame[(frame["status"] == "ok") & (frame["log_gamma"] < 0)]
    counts = known.groupby("sigma").size().sort_index(ascending=False).sort_values(ascending=False, kind="stable")
    return [float(width) for width in counts.index]


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
