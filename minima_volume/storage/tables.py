"""CSV tables, written whole with their checksums in a JSON record and compared with it when read."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from minima_volume.errors import ResultsError
from minima_volume.storage.archives import read_json, write_json
from minima_volume.storage.atomic import write_text


def _cell(value: object) -> str:
    """A table cell: empty for what is not a number, so that no reader takes it for one.

    Eight digits resolve 0.01 nats in a volume of 10⁶, far below every error in the table, and hide what the last bits of
    another machine's arithmetic would change.
    """
    if isinstance(value, float | np.floating):
        return f"{value:.8g}" if np.isfinite(value) else ""
    return "" if value is None else str(value)


def table_text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """A CSV table with a header; what is missing or not a number is an empty cell."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(row.get(name)) for name in columns} for row in rows)
    return stream.getvalue()


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """The CSV table `table_text` of the rows."""
    write_text(path, table_text(columns, rows))


def write_tables(record: Path, tables: Mapping[Path, str], content: Mapping[str, Any]) -> None:
    """Tables of one folder, and beside them a JSON record with their checksums, which `read_table` compares.

    The last table is what make waits for, so it is written last: a run killed before it is made again.
    """
    *others, (last, text) = tables.items()
    for path, other in others:
        write_text(path, other)
    sums = {path.name: sha256(table.encode()).hexdigest() for path, table in tables.items()}
    write_json(record, {**content, "tables": sums})
    write_text(last, text)


def _verify_table(path: Path) -> None:
    """Compare a table with the checksum in the record beside it, where there is one."""
    for record in (path.with_suffix(".json"), path.with_name("run.json")):
        try:
            sums = read_json(record).get("tables") if record.exists() else None
            wanted = sums.get(path.name) if isinstance(sums, dict) else None
        except ResultsError as error:
            raise ResultsError(
                f"Expected the record of {path} in {record}, got a damaged one. {_again(path)}"
            ) from error
        if wanted not in (None, sha256(path.read_bytes()).hexdigest()):
            raise ResultsError(
                f"Expected the table that {record} was written with in {path}, got another. {_again(path)}"
            )


def _again(path: Path) -> str:
    return f"Delete {path} and run the same make target."


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV table as text; ResultsError if the file or a column is missing, or its checksum is another."""
    try:
        with path.open(newline="") as stream:
            reader = csv.DictReader(stream)
            rows, found = list(reader), list(reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ResultsError(f"Expected a table in {path}, got: {error}. Run the make target of its study.") from error
    missing = [name for name in columns if name not in found]
    if missing:
        raise ResultsError(
            f"Expected the columns {', '.join(missing)} in {path}, got {found}: delete it and run again."
        )
    _verify_table(path)
    return rows
