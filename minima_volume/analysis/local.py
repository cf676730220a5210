"""ln γ of stored minima by subset simulation, as a table of the claims page."""

from collections.abc import Iterator

import pandas as pd

from minima_volume.analysis import tables as analysis_tables
from minima_volume.analysis.claims import MISSING
from minima_volume.analysis.markdown import MINUS, table, with_error
from minima_volume.storage import layout
from minima_volume.storage import tables as storage_tables

# Widths whose ln γ the table shows.
WIDTHS = (0.05, 0.07, 0.1)


def local_table() -> str:
    """Return ln γ of every minimum in the base landscape, in its own filter norms and in those of the first level."""
    rows = [
        row
        for path in sorted((layout.ROOT / "paper").glob(f"*/{layout.LOCAL_VOLUMES}"))
        for row in _rows(path.parent.name)
    ]
    header = (
        "study, repeat", "level", *(f"σ = {width:g}, own norms" for width in WIDTHS),
        *(f"σ = {width:g}, first norms" for width in WIDTHS), "Σ ln s", "test accuracy",
    )  # fmt: skip
    return table(header, rows) if rows else MISSING


def _rows(study: str) -> Iterator[tuple[str, ...]]:
    """Yield the rows of one study."""
    path = layout.study_folder("paper", study) / layout.LOCAL_VOLUMES
    frame = pd.DataFrame(storage_tables.read_table(path, layout.LOCAL_VOLUME_COLUMNS))
    for name in ("repeat", "level", "landscape", "sigma", "log_gamma", "log_gamma_se", "log_gamma_within_se",
                 "log_scales", "test_accuracy"):  # fmt: skip
        frame[name] = analysis_tables.numbers(frame[name].tolist())
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
    value, *errors = row[["log_gamma", "log_gamma_se", "log_gamma_within_se"]].to_numpy(dtype=float)[0].tolist()
    if row["status"].iloc[0] != "ok":
        return str(row["status"].iloc[0])
    return "no particle lost" if value == 0 else with_error(value, max(errors))
