"""CSV tables, with their checksums in a JSON record. A table that no record lists is not read."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from minima_volume.errors import ResultsError
from minima_volume.storage import layout
from minima_volume.storage.archives import read_json, write_record
from minima_volume.storage.atomic import read_bytes, write_text


def table_text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Format rows as a CSV table with a header.

    Args:
        columns: The columns to write, in this order.
        rows: Values by column. Other keys are ignored.

    Returns:
        The table. Missing values and numbers that are not finite become empty cells.
    """
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(row.get(name)) for name in columns} for row in rows)
    return stream.getvalue()


def _cell(value: object) -> str:
    """Format a table cell.

    Eight digits resolve 0.01 nats in a volume of 10⁶, which is far below every error in the tables, and hide the last
    bits, which differ between machines.
    """
    if isinstance(value, float | np.floating):
        return f"{value:.8g}" if np.isfinite(value) else ""
    return "" if value is None else str(value)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows as a CSV table without a record, for other programs.

    Args:
        path: The file to write.
        columns: The columns to write, in this order.
        rows: Values by column. Other keys are ignored.

    Raises:
        ResultsError: If the file cannot be written.
    """
    write_text(path, table_text(columns, rows))


def write_recorded_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows as a CSV table, with a record of its own beside it.

    Args:
        path: The file to write.
        columns: The columns to write, in this order.
        rows: Values by column. Other keys are ignored.

    Raises:
        ResultsError: If a file cannot be written.
    """
    write_tables(path.with_suffix(".json"), {path: table_text(columns, rows)}, {})


def write_tables(record: Path, tables: Mapping[Path, str], content: Mapping[str, Any]) -> None:
    """Write the tables of one folder and a JSON record with their checksums.

    The last table is written last because make waits for it: if the run is killed earlier, make runs it again.

    Args:
        record: The JSON file to write, in the folder of the tables.
        tables: The text of each table by its path.
        content: What else the record holds.

    Raises:
        ResultsError: If a file cannot be written.
    """
    *others, (last, text) = tables.items()
    for path, other in others:
        write_text(path, other)
    sums = {path.name: sha256(table.encode()).hexdigest() for path, table in tables.items()}
    write_record(record, {**content, "tables": sums})
    write_text(last, text)


def changed_at(path: Path) -> float:
    """Return when a file changed or came to its place, in seconds since the epoch; a copy may keep an older file time."""
    found = path.stat()
    return max(found.st_mtime, found.st_ctime)


def read_table(path: Path, columns: Sequence[str], *, recorded: bool = True) -> list[dict[str, str]]:
    """Read a CSV table and compare it with the checksum in its record.

    Args:
        path: The file to read.
        columns: Columns that must be there.
        recorded: Whether a record must list the table. Only tables that no command wrote have none.

    Returns:
        One dictionary of cells per row, as text and with all columns of the file.

    Raises:
        ResultsError: If the file or a column is missing, no record lists the file, or it is not the one that its record
            describes.
    """
    try:
        content = read_bytes(path)
        reader = csv.DictReader(io.StringIO(content.decode(), newline=""))
        rows, found = list(reader), list(reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ResultsError(f"Expected a table in {path}, got: {error}. Run the make target of its study.") from error
    missing = [name for name in columns if name not in found]
    if missing:
        raise ResultsError(
            f"Expected the columns {', '.join(missing)} in {path}, got {found}: delete it and run again."
        )
    if recorded:
        _verify_table(path, sha256(content).hexdigest(), rows)
    return rows


def _verify_table(path: Path, found: str, rows: Sequence[Mapping[str, str]]) -> None:
    """Compare the checksum of a table with the records of its folder, and its rows with the folder's study and repeat."""
    advice, wanted = f"Delete {path} and run the same make target.", {}
    for record in (path.with_suffix(".json"), path.with_name(layout.RUN_RECORD)):
        try:
            sums = read_json(record).get("tables") if record.exists() else None
        except ResultsError as error:
            raise ResultsError(f"Expected the record of {path} in {record}, got a damaged one. {advice}") from error
        if isinstance(sums, dict) and path.name in sums:
            wanted[record] = sums[path.name]
    if not wanted:
        raise ResultsError(f"Expected a record that lists {path} beside it, got none. {advice}")
    other = next((record for record, total in wanted.items() if total != found), None)
    if other:
        raise ResultsError(f"Expected the table that {other} was written with in {path}, got another. {advice}")
    # Records of older runs do not name their place, and could have been copied with their table.
    if not all(layout.is_of(path, row) for row in rows):
        raise ResultsError(f"Expected rows of the study and repeat of {path.parent} in {path}, got others. {advice}")
