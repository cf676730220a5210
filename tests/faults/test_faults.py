"""A few of each torture on the real commands; `make torture` does all of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minima_volume.storage import archives, tables
from tests.faults import damage, run, sandbox
from tests.project import ROOT


def test_a_few_of_each_lose_nothing() -> None:
    command = [sys.executable, "-m", "tests.faults.run", "--short"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lost: 0" in done.stdout
    assert all(theme in done.stdout for theme in ("killed", "disk", "damage", "numbers"))


# --- the checks themselves: each sees the loss that it is there for ----------------------------------------------------


def test_a_torn_file_is_seen(tmp_path: Path) -> None:
    whole = sandbox.whole
    archives.write_json(tmp_path / "a.json", {"level": 1})
    tables.write_table(tmp_path / "a.csv", ("level",), [{"level": 1}])
    archives.write_arrays(tmp_path / "a.npz", {}, {"x": [1.0]})
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 3 and all(whole(path) for path in paths)
    for path in paths:
        path.write_bytes(path.read_bytes()[:-3])
        assert not whole(path), path


@pytest.mark.parametrize("wound", ["cut", "flip", "bomb", "bomb_in_archive", "of_other_settings", "of_other_version"])
def test_damage_damages(wound: str, tmp_path: Path) -> None:
    path = tmp_path / "directions_00000_00025.npz"
    archives.write_arrays(path, {"fingerprints": {"0": "a"}}, {"x": [1.0, 2.0, 3.0]})
    before = path.read_bytes()
    getattr(damage, wound)(path, tmp_path / "crater")
    assert path.read_bytes() != before and not (tmp_path / "crater").exists()


def test_a_house_is_a_copy_that_reaches_nothing_else(tmp_path: Path) -> None:
    house = sandbox.House(tmp_path / "house")
    code = "import minima_volume.errors, os; print(minima_volume.errors.__file__, os.environ.get('MAKELEVEL'))"
    python = house.folder / ".venv" / "bin" / "python"
    environment = os.environ | {"PYTHONPATH": str(house.folder)}
    done = subprocess.run([python, "-c", code], env=environment, cwd=house.folder, capture_output=True, text=True)
    assert done.stdout.startswith(str(house.folder))
    assert not any(path.is_symlink() for path in house.folder.rglob("*"))
    made = house.make("help")
    assert made.code == 0 and "torture" in made.text


def test_what_counts_as_refused() -> None:
    done = sandbox.Done
    assert done(2, "error: Expected a, got b.").refused("Expected a", "got b")
    assert not done(0, "error: Expected a").refused("Expected a")
    assert not done(2, "error: Expected a").refused("Expected c")
    assert not done(2, "Traceback (most recent call last):\nExpected a").refused("Expected a")


def test_the_table_counts_what_was_lost() -> None:
    row = sandbox.Row
    shown = run.shown([row("disk", "a", 2, 0), row("disk", "b", 1, 3)], 1.0)
    assert "lost: 3" in str(shown.title) and "3 times" in str(shown.title) and shown.row_count == 2
