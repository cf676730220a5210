"""Atomic writes, bounded reads, and locks that let one process at a time work in a folder."""

import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock

from filelock import FileLock, Timeout

from minima_volume.errors import ResultsError, UserError, WriteError
from minima_volume.storage import layout, scratch

LOCK = ".lock"  # name of the file whose lock stands for its folder; it stays
STATUS = Path("/proc/self/status")  # Linux only
MOST = 2**30  # bytes of a stored file and of what it expands to: hundreds of times more than any has
# What systems answer if a folder has no locks, as some network file systems.
NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EBADF}
_UMASK_LOCK = Lock()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file so that readers see either the old one or the complete new one, also after a loss of power.

    Args:
        path: The file to write. Missing parent folders are made.

    Yields:
        A scratch path in the same folder. It replaces `path` if the block succeeds and is removed if not.

    Raises:
        ResultsError: If the file cannot be written.
    """
    try:
        _make_folder(path.parent)
        scratch.sweep(path.parent, path.name)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=scratch.scratch_start(path.name), suffix=scratch.SUFFIX)
    except OSError as error:
        raise write_error(path, error) from error
    os.close(handle)
    part = Path(name)
    try:
        yield part
        # mkstemp makes private files, but everyone who may read the folder may read its results.
        part.chmod(0o666 & ~_umask())
        put(part, path)
    except UserError:
        raise
    except Exception as error:  # matplotlib cleans up after a failed write, and may raise another error on top
        refused = error if isinstance(error, OSError) else error.__context__
        if not isinstance(refused, OSError):
            raise
        raise write_error(path, refused) from error
    finally:
        part.unlink(missing_ok=True)


def put(part: Path, path: Path) -> None:
    """Move a complete file to its place on the same disk; when this returns, file and name are on the disk.

    Args:
        part: The file.
        path: Its new place, in a folder that exists.

    Raises:
        OSError: If the system refuses.
    """
    # In this order: a name that reaches the disk before its content would name an empty file after a loss of power.
    _sync(part, os.O_RDWR)
    part.replace(path)
    _sync_folder(path.parent)


def _make_folder(folder: Path) -> None:
    """Make a folder and its missing parents, and have their names on the disk."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync(path: Path, flags: int) -> None:
    """Wait until a file is on the disk."""
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can say so of folders."""
    try:
        _sync(folder, os.O_RDONLY)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EACCES, errno.EBADF, errno.EOPNOTSUPP):
            raise


def read_bytes(path: Path, most: int = MOST) -> bytes:
    """Read a file once and whole.

    Args:
        path: The file.
        most: Size in bytes that it may have.

    Raises:
        OSError: If the file is missing or cannot be read.
        ResultsError: If it is no regular file, or larger.
    """
    # Opening a pipe would wait for its writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)
    try:
        found = os.fstat(handle)
        check_size(path, found, most)
        with os.fdopen(handle, "rb", closefd=False) as stream:
            return stream.read(found.st_size)
    finally:
        os.close(handle)


def check_size(path: Path, found: os.stat_result, most: int = MOST) -> None:
    """Raise a ResultsError unless `found` is the status of a regular file of at most `most` bytes."""
    regular = stat.S_ISREG(found.st_mode)
    if not regular or found.st_size > most:
        what = f"{found.st_size} bytes" if regular else "a folder, a pipe or a device"
        raise ResultsError(
            f"Expected a regular file of at most {most} bytes in {path}, got {what}: delete it and run again."
        )


def _umask() -> int:
    """Return the permission bits that the process removes from new files."""
    try:
        found = re.search(r"^Umask:\s*([0-7]+)$", STATUS.read_text(), re.MULTILINE)
    except OSError:
        found = None
    return int(found[1], 8) if found else _umask_by_setting()


@cache
def _umask_by_setting() -> int:
    """Read the umask by changing it for a moment, which is the only portable way; once, because threads may notice."""
    with _UMASK_LOCK:
        mask = os.umask(0o077)
        os.umask(mask)
    return mask


def write_error(path: Path, error: Exception) -> WriteError:
    """Return the error to raise if a file cannot be written.

    Args:
        path: The file.
        error: What went wrong.

    Returns:
        An error that names the file and the reason.
    """
    # An OSError raised by numpy has no number and therefore no text from the system.
    why = getattr(error, "strerror", None) or error
    return WriteError(f"Expected to write {path}, got '{why}': free or unlock the folder and run again.")


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Let one process at a time work in a folder. Others print that they wait.

    Scratch files that killed processes left there are removed.

    Args:
        folder: The folder to lock. It is made if it is missing.

    Yields:
        Nothing. The lock is held inside the block.

    Raises:
        ResultsError: If the folder cannot be written to.
    """
    with lock_file(folder / LOCK, f"Another process works in {folder}: waiting for it to finish."):
        for place in (folder, folder / layout.MINIMA_FOLDER, folder / layout.RAYS_FOLDER):
            for part in place.glob(f".*{scratch.SUFFIX}"):
                # A folder of this name is none of ours.
                if not part.is_dir() or part.is_symlink():
                    part.unlink(missing_ok=True)
        yield


@contextmanager
def lock_file(path: Path, waiting: str = "") -> Iterator[None]:
    """Hold the lock that a file stands for. The file is made if it is missing, and its content never changes.

    Args:
        path: The file. Its folder is made if it is missing.
        waiting: What to print if another process holds the lock.

    Yields:
        Nothing. The lock is held inside the block.

    Raises:
        ResultsError: If the file cannot be made, is a symbolic link, or its file system has no locks.
    """
    # A substitute for missing locks would stay behind when its process is killed.
    lock = FileLock(path, fallback_to_soft=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(waiting, end="\n" * bool(waiting), flush=True)
            lock.acquire()
    except OSError as error:
        raise _lock_error(path, error) from error
    try:
        yield
    finally:
        lock.release()


def _lock_error(path: Path, error: OSError) -> ResultsError:
    """Return the error to raise if a lock cannot be had."""
    if error.errno == errno.ELOOP:
        return ResultsError(f"Expected a lock file in {path}, got a symbolic link: delete the link and run again.")
    if error.errno in NO_LOCKS:
        return ResultsError(
            f"Expected a file system with locks under {path}, got '{error.strerror}', as some network file systems answer: "
            "work in a folder on a local disk, or have the file system mounted with locks."
        )
    return write_error(path, error)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically in UTF-8.

    Args:
        path: The file to write.
        text: Its content, written without translating line ends.
    """
    with atomic_write(path) as part:
        part.write_bytes(text.encode())
