"""A study on a cluster whose scheduler is killed: its workers end, and the study goes on from its files."""

from pathlib import Path

import pytest

from tests.faults import clusters

pytest.importorskip("distributed")


def test_a_killed_scheduler_loses_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    row = clusters.short(tmp_path)
    assert (row.times, row.lost) == (1, 0), row
