"""A table of a study that is measured minimum by minimum; each has a file, so that an interrupted command goes on."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from minima_volume.cluster.task import Task
from minima_volume.pipeline import cli
from minima_volume.pipeline.minima import Minima, load_minima
from minima_volume.pipeline.provenance import common_record
from minima_volume.pipeline.repeat import Repeat
from minima_volume.storage import archives, layout, tables

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class MinimumRows(Task[tuple[list[Row], float]]):
    """The rows of one minimum; `shared` are all minima of the repeat, which the measure may look at.

    Attributes:
        repeat: The repeat of a study.
        level: The level of the minimum.
        path: The file of the rows.
        fingerprint: Hash of everything that the rows depend on.
        measure: Measures the rows.
    """

    shared: Minima
    repeat: Repeat
    level: int
    path: Path
    fingerprint: str
    measure: Callable[[Repeat, Minima, int], Iterable[Row]]

    @property
    def name(self) -> str:
        """What the task is called in messages."""
        return f"{self.path.parent.name} of {self.repeat.study.name}, repeat {self.repeat.number}, level {self.level}"

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return self.repeat.device

    def compute(self, shared: Minima) -> tuple[list[Row], float]:
        """Measure the rows; return them and the processor time that they took."""
        started = time.thread_time()
        rows = list(self.measure(self.repeat, shared, self.level))
        return rows, round(time.thread_time() - started, 1)

    def write(self, result: tuple[list[Row], float]) -> None:
        """Store the rows."""
        rows, seconds = result
        archives.write_record(self.path, {"fingerprint": self.fingerprint, "rows": rows, "cpu_seconds": seconds})

    def stored(self) -> dict[str, Any] | None:
        """Return rows and seconds from the file if that is current."""
        found: dict[str, Any] | None = archives.read_if_current(archives.read_json, self.path, self.fingerprint)
        return found

    def rows(self) -> list[Row]:
        """Return the rows, from the file if that is current."""
        if self.stored() is None:
            self.run()
        return list((self.stored() or {})["rows"])


def write_minimum_table(
    run: cli.StageRun,
    task_of: Callable[[Repeat, str, Minima, int], MinimumRows],
    name: str,
    columns: Sequence[str],
    record: Mapping[str, Any],
) -> None:
    """Measure the stored minima of a study, and write their table with its record.

    Args:
        run: What was asked for.
        task_of: Returns what measures a minimum of a repeat.
        name: Name of the table.
        columns: Its columns.
        record: What the record holds besides what all records do, such as the command.
    """
    rows, seconds, study = [], {}, run.study
    for repeat in run.repeats:
        minima = load_minima(repeat, run.scale)
        common = {"study": study.name, "data": study.data, "model": study.model, "repeat": repeat.number}
        tasks = [task_of(repeat, run.scale, minima, level) for level in minima]
        run.each([task for task in tasks if task.stored() is None], "minima")
        found = {task.level: task.stored() or {} for task in tasks}
        rows += [common | row for content in found.values() for row in content["rows"]]
        seconds[repeat.number] = {level: content["cpu_seconds"] for level, content in found.items()}
    path = layout.study_folder(run.scale, study.name) / name
    content = common_record(study, run.scale, run.repeats) | dict(record) | {"cpu_seconds": seconds}
    tables.write_tables(path.with_suffix(".json"), {path: tables.table_text(columns, rows)}, content)
