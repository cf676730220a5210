"""Files are written completely or not at all, and one process works in a folder at a time."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from minima_volume.errors import ResultsError, WriteError
from minima_volume.storage import archives, atomic, tables


def test_atomic_write_replaces_only_after_success(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "table.csv"
    with atomic.atomic_write(path) as scratch:
        scratch.write_text("first")
        assert not path.exists()
    assert path.read_text() == "first" and [p.name for p in path.parent.iterdir()] == ["table.csv"]
    with pytest.raises(ZeroDivisionError), atomic.atomic_write(path) as scratch:
        scratch.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "first" and [p.name for p in path.parent.iterdir()] == ["table.csv"]


def test_interrupt_leaves_no_scratch_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic.atomic_write(tmp_path / "a") as scratch:
        scratch.write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(params=[0o022, 0o027, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)
    atomic._umask_by_setting.cache_clear()


@pytest.mark.parametrize("status", ["from the system", "without a umask", "missing"])
def test_written_files_have_ordinary_permissions(
    status: str, umask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "status"
    if status == "without a umask":
        file.write_text("Name:\tpython\n")
    if status != "from the system":
        monkeypatch.setattr(atomic, "STATUS", file)
    atomic._umask_by_setting.cache_clear()
    archives.write_json(tmp_path / "a.json", {})
    (tmp_path / "plain").touch()
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o666 & ~umask


def test_threads_read_the_same_umask(umask: int) -> None:
    atomic._umask_by_setting.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: atomic._umask_by_setting(), range(200))) == {umask}
    assert os.umask(umask) == umask


def test_importing_leaves_the_umask_alone() -> None:
    code = "import os; os.umask = None; import minima_volume.storage.atomic"
    assert subprocess.run([sys.executable, "-W", "error", "-c", code], check=False).returncode == 0


def test_failing_writers_leave_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    archives.write_json(path, {"level": 0})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        archives.write_json(path, {"x": object()})
    with pytest.raises(ZeroDivisionError):
        tables.write_table(path, ("there",), ({"there": 1 / (1 - i)} for i in range(3)))
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=r"Expected to write .*file/a\.json.*got"):
        archives.write_json(tmp_path / "file" / "a.json", {})


def test_only_one_process_works_in_a_folder(tmp_path: Path) -> None:
    lock = tmp_path / "repeat_0" / ".lock"
    with atomic.lock_folder(lock.parent), pytest.raises(Timeout):
        FileLock(lock).acquire(timeout=0)
    FileLock(lock).acquire(timeout=0)


def test_a_second_process_waits_and_says_so(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from minima_volume.storage.atomic import lock_folder\n"
        "with lock_folder(Path(sys.argv[1])):\n    print('inside', flush=True)\n"
    )
    with atomic.lock_folder(tmp_path):
        other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert other.stdout is not None
        assert other.stdout.readline().startswith(f"Another process works in {tmp_path}: waiting")
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=0.5)
    assert other.communicate(timeout=30)[0] == "inside\n" and other.returncode == 0


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from minima_volume.storage.atomic import lock_folder\n"
        "with lock_folder(Path(sys.argv[1])):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=30)
    assert done.returncode == -9 and (tmp_path / atomic.LOCK).exists()
    FileLock(tmp_path / atomic.LOCK).acquire(timeout=0)


def test_a_folder_that_cannot_be_locked(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(WriteError, match=r"Expected to write .*\.lock, got 'Not a directory'"),
        atomic.lock_folder(tmp_path / "file" / "repeat_0"),
    ):
        pass


@pytest.mark.parametrize("how", ["file", "hard link", "symbolic link"])
def test_a_lock_changes_nothing_that_was_there(how: str, tmp_path: Path) -> None:
    precious, lock = tmp_path / "precious", tmp_path / "repeat_0" / ".lock"
    lock.parent.mkdir()
    precious.write_text("mine")
    if how == "symbolic link":
        lock.symlink_to(precious)
        with pytest.raises(ResultsError, match="got a symbolic link"), atomic.lock_folder(lock.parent):
            pass
    else:
        lock.write_text("mine") if how == "file" else lock.hardlink_to(precious)
        with atomic.lock_folder(lock.parent):
            assert lock.read_text() == "mine"
    assert precious.read_text() == "mine"


def test_only_regular_files_of_a_possible_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234")
    assert atomic.read_bytes(tmp_path / "file", most=4) == b"1234"
    with pytest.raises(ResultsError, match=r"at most 3 bytes in .*file, got 4 bytes"):
        atomic.read_bytes(tmp_path / "file", most=3)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(ResultsError, match="got a folder, a pipe or a device"):
            atomic.read_bytes(path)
    with pytest.raises(FileNotFoundError):
        atomic.read_bytes(tmp_path / "missing")


def test_a_file_is_on_the_disk_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that reaches the disk first would name an empty file after a loss of power."""
    calls: list[object] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: calls.append(os.fstat(handle).st_ino) or fsync(handle))
    monkeypatch.setattr(os, "replace", lambda *paths: calls.append("rename") or replace(*paths))
    path = tmp_path / "new" / "a.json"
    archives.write_json(path, {})
    assert calls == [tmp_path.stat().st_ino, path.stat().st_ino, "rename", path.parent.stat().st_ino]


def test_a_folder_that_cannot_be_synchronised_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def refuse_folders(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    archives.write_json(tmp_path / "a.json", {"level": 1})
    assert archives.read_json(tmp_path / "a.json") == {"level": 1}


def test_an_error_on_top_of_a_failed_write_does_not_hide_it(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="No space left"), atomic.atomic_write(tmp_path / "a.pdf"):
        try:
            raise OSError(28, "No space left on device")
        finally:
            [].pos  # type: ignore[attr-defined]  # noqa: B018 - as a library that cleans up
    assert not list(tmp_path.iterdir())
