"""A few faults of each theme on the real commands, and tests of the checks; `make torture` injects all faults."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from minima_volume.storage import archives, tables
from tests.faults import damage, kills, memory, run, sandbox
from tests.project import ROOT


def test_a_few_faults_of_each_theme_lose_nothing() -> None:
    command = [sys.executable, "-m", "tests.faults.run", "--short"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"lost: 0\b", done.stdout)
    assert all(theme in done.stdout for theme in ("killed", "disk", "damage", "numbers", "swaps"))


# --- the checks themselves ---------------------------------------------------------------------------------------------


def test_a_truncated_file_is_not_intact(tmp_path: Path) -> None:
    archives.write_json(tmp_path / "a.json", {"level": 1})
    tables.write_table(tmp_path / "a.csv", ("level",), [{"level": 1}])
    archives.write_arrays(tmp_path / "a.npz", {}, {"x": [1.0]})
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 3 and all(sandbox.is_intact(path) for path in paths)
    for path in paths:
        path.write_bytes(path.read_bytes()[:-3])
        assert not sandbox.is_intact(path), path


@pytest.mark.parametrize("how", ["cut", "flip", "bomb", "bomb_in_archive", "of_other_settings", "of_other_version"])
def test_damage_changes_the_file_and_runs_nothing(how: str, tmp_path: Path) -> None:
    path = tmp_path / "directions_00000_00025.npz"
    archives.write_arrays(path, {"fingerprints": {"0": "a"}}, {"x": [1.0, 2.0, 3.0]})
    before = path.read_bytes()
    getattr(damage, how)(path, tmp_path / "crater")
    assert path.read_bytes() != before and not (tmp_path / "crater").exists()


def test_a_sandbox_is_a_copy_that_reaches_nothing_else(tmp_path: Path) -> None:
    copy = sandbox.Sandbox(tmp_path / "copy")
    code = "import minima_volume.errors; print(minima_volume.errors.__file__)"
    python = copy.folder / ".venv" / "bin" / "python"
    environment = os.environ | {"PYTHONPATH": str(copy.folder)}
    done = subprocess.run([python, "-c", code], env=environment, cwd=copy.folder, capture_output=True, text=True)
    assert done.stdout.startswith(str(copy.folder))
    assert not any(path.is_symlink() for path in copy.folder.rglob("*"))
    made = copy.make("help")
    assert made.code == 0 and "torture" in made.text


def test_a_sandbox_never_changes_the_environment_of_the_tests(tmp_path: Path) -> None:
    copy = sandbox.Sandbox(tmp_path / "copy")
    copy.touch()
    assert "Setting up .venv" not in copy.make("-n", "digits_poison").text
    with (copy.folder / "pyproject.toml").open("a") as file:
        file.write("# A comment.\n")
    refused = copy.make("digits_poison")
    assert refused.code != 0 and "a sandbox installs nothing" in refused.text


def test_what_counts_as_refused() -> None:
    done = sandbox.Done
    assert done(2, "error: Expected a, got b.").refused("Expected a", "got b")
    assert not done(0, "error: Expected a").refused("Expected a")
    assert not done(2, "error: Expected a").refused("Expected c")
    assert not done(2, "Traceback (most recent call last):\nExpected a").refused("Expected a")


def test_the_report_counts_what_was_lost() -> None:
    row = sandbox.Row
    table = run.report([row("disk", "a", 2, 0), row("disk", "b", 1, 3), row("disk", "not done", 0, 0)], 1.0)
    assert str(table.title) == "3 faults of 2 kinds in 1 s, lost: 3" and table.row_count == 3


def test_a_fault_that_cannot_be_injected_counts_as_lost() -> None:
    def fails() -> list[sandbox.Row]:
        raise OSError("no disk")

    (row,), _ = run.timed(fails)
    assert row.lost == 1 and "fails" in row.what and "no disk" in row.note


VOLUMES = (
    b"study,repeat,level,landscape,threshold,metric,status,log_volume\n"
    b"tiny,0,0,0,0.1,loss,ok,1234.5\n"
    b"tiny,0,10,0,0.1,loss,unconverged,\n"
)


@pytest.mark.parametrize(
    ("found", "different"),
    [
        (VOLUMES, 0),
        (VOLUMES.replace(b"1234.5", b"1234.505"), 0),
        (VOLUMES.replace(b"1234.5", b"1234.52"), 1),
        (VOLUMES.replace(b"1234.5", b""), 1),
        (VOLUMES.replace(b"ok", b"censored"), 1),
        (VOLUMES.replace(b"tiny,0,10", b"tiny,0,20"), 2),  # one row is missing, one is extra
        (VOLUMES.splitlines(keepends=True)[0], 2),
        (b"", 2),
    ],
)
def test_volumes_in_small_batches_are_compared_row_by_row(found: bytes, different: int) -> None:
    assert memory.different_volumes(VOLUMES, found) == different


def test_nothing_to_compare_with_is_a_loss() -> None:
    assert memory.different_volumes(b"", b"") == 1


@pytest.mark.parametrize(
    ("frame", "at_work"),
    [
        ('File "/x/minima_volume/pipeline/cli.py", line 60, in main', True),
        ('File "/x/minima_volume/pipeline/cli.py", line 15, in <module>', False),  # modules are still loading
    ],
)
def test_a_traceback_counts_once_the_stage_is_at_work(frame: str, at_work: bool) -> None:
    text = f"Traceback (most recent call last):\n  {frame}\nKeyboardInterrupt\n"
    assert (kills.IN_MAIN.search(text) is not None) == at_work
