"""The page of what a cluster costs, with few workers and tasks."""

import re

import pytest

pytest.importorskip("distributed")
from benchmarks import cluster


def test_workers_that_sleep_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORKERS": 4, "PROCESSES": 2, "SLEEPS": (0.0, 0.2), "TASKS": (40, 20)}.items():
        monkeypatch.setattr(cluster, name, value)
    ceiling, *rows = cluster.simulation()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[:2] for row in cells] == [["0", "40"], ["0.2", "20"]] and float(ceiling) > 20
    # Four workers that sleep 0.2 s finish at most 20 tasks a second.
    assert cells[1][3] == "20" and 5 < float(cells[1][2]) <= 20
    assert all(re.fullmatch(r"\d+", cell) and int(cell) > 50 for row in cells for cell in row[4:])
