"""The set-up of `.venv`: killed, copied, moved, changed and linked; `make torture` kills it at more moments."""

from pathlib import Path

from tests.faults import environments


def test_a_killed_set_up_leaves_nothing_that_counts_as_finished(tmp_path: Path) -> None:
    (row,) = environments.killed(("part3",), tmp_path)
    assert (row.times, row.lost) == (1, 0), row.note


def test_a_linked_environment_is_used_if_it_fits(tmp_path: Path) -> None:
    assert environments.linked(tmp_path).lost == 0
