"""Scratch files: what a killed process left is removed by the next one that writes the same file, and nothing else is."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minima_volume.storage import atomic, scratch

KILLED = (
    "import os, sys; from pathlib import Path; from minima_volume.storage import atomic\n"
    "with atomic.atomic_write(Path(sys.argv[1])) as part:\n    part.write_text('half'); os.kill(os.getpid(), 9)\n"
)


def test_what_a_killed_process_left_is_removed_by_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "README[1].md"
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False).returncode == -9
    assert len(list(tmp_path.glob(".*.part"))) == 1 and not path.exists()
    atomic.write_text(path, "whole")
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_what_another_process_writes_stays(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as other:
        start = scratch.scratch_start("a.csv").replace(str(os.getpid()), str(other.pid))
        kept = [
            tmp_path / f"{start}x.part",
            tmp_path / ".a.csv.another_machine-1.x.part",  # its process cannot be seen from here
            tmp_path / ".b.csv.x.part",  # of another file
            tmp_path / "a.csv.part",
        ]
        for path in kept:
            path.touch()
        scratch.sweep(tmp_path, "a.csv")
        assert all(path.exists() for path in kept)
    scratch.sweep(tmp_path, "a.csv")
    assert [path.exists() for path in kept] == [False, True, True, True]


def test_what_nothing_has_changed_for_a_day_is_removed(tmp_path: Path) -> None:
    old = tmp_path / ".a.csv.another_machine-1.x.part"
    old.touch()
    before = old.stat().st_mtime - scratch.DAY - 10
    os.utime(old, (before, before))
    scratch.sweep(tmp_path, "a.csv")
    assert not old.exists()


def test_folders_are_removed_and_links_not_followed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    start = scratch.scratch_start("a").replace(str(os.getpid()), str(ended.pid))
    (tmp_path / f"{start}0.part" / "deep").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    (tmp_path / f"{start}1.part").symlink_to(tmp_path / "mine")
    scratch.sweep(tmp_path, "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"] and (tmp_path / "mine" / "file").exists()


def test_a_process_that_nobody_waited_for_does_not_run() -> None:
    if not scratch.PROCESSES.exists():
        pytest.skip("only Linux tells")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    stop = time.monotonic() + 30
    while scratch.is_running(ended.pid) and time.monotonic() < stop:
        time.sleep(0.01)
    assert not scratch.is_running(ended.pid)
    assert ended.poll() == 0
    assert scratch.is_running(os.getpid()) and not scratch.is_running(2**40)


def test_a_file_that_is_needed_for_a_while_is_removed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), scratch.scratch_file(tmp_path, "palette.png") as path:
        path.write_text("colours")
        assert path.parent == tmp_path and path.name.endswith(".part")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
