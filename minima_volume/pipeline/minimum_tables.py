"""A table of a study that is measured minimum by minimum; each has a file, so that an interrupted command goes on."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from minima_volume.pipeline import cli
from minima_volume.pipeline.minima import Minima, load_minima
from minima_volume.pipeline.provenance import common_record
from minima_volume.pipeline.study import Repeat
from minima_volume.storage import archives, layout, tables

Row = dict[str, Any]


class MinimumRows(NamedTuple):
    """The rows of one minimum and the processor time that they took."""

    level: int
    rows: list[Row]
    cpu_seconds: float


def rows_once(path: Path, fingerprint: str, level: int, measure: Callable[[], Iterable[Row]]) -> MinimumRows:
    """Return the rows of one minimum, from its file if that is current.

    Args:
        path: The file.
        fingerprint: Hash of everything that the rows depend on.
        level: The level of the minimum.
        measure: Measures the rows.
    """
    stored = archives.read_if_current(archives.read_json, path, fingerprint)
    if not stored:
        started = time.thread_time()
        rows = list(measure())
        stored = {"fingerprint": fingerprint, "rows": rows, "cpu_seconds": round(time.thread_time() - started, 1)}
        archives.write_record(path, stored)
    return MinimumRows(level, stored["rows"], stored["cpu_seconds"])


def write_minimum_table(
    run: cli.StageRun,
    measure: Callable[[Repeat, str, Minima, int], MinimumRows],
    name: str,
    columns: Sequence[str],
    record: Mapping[str, Any],
) -> None:
    """Measure the stored minima of a study, and write their table with its record.

    Args:
        run: What was asked for.
        measure: Measures a minimum of a repeat, whose other minima it may look at.
        name: Name of the table.
        columns: Its columns.
        record: What the record holds besides what all records do, such as the command.
    """
    rows, seconds, study = [], {}, run.study
    for repeat in run.repeats:
        minima = load_minima(repeat, run.scale)
        common = {"study": study.name, "data": study.data, "model": study.model, "repeat": repeat.number}
        found = run.each([partial(measure, repeat, run.scale, minima, level) for level in minima], "minima")
        rows += [common | row for one in found for row in one.rows]
        seconds[repeat.number] = {one.level: one.cpu_seconds for one in found}
    path = layout.study_folder(run.scale, study.name) / name
    content = common_record(study, run.scale, run.repeats) | dict(record) | {"cpu_seconds": seconds}
    tables.write_tables(path.with_suffix(".json"), {path: tables.table_text(columns, rows)}, content)
