"""Atomic writes, and locks that let one process at a time work in a folder."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock

from filelock import FileLock, Timeout

from minima_volume.errors import ResultsError
from minima_volume.storage import layout

SCRATCH = ".part"  # suffix of files that are being written
LOCK = ".lock"  # name of the file whose lock stands for its folder; it stays
STATUS = Path("/proc/self/status")  # Linux only
_UMASK_LOCK = Lock()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file so that readers see either the old one or the complete new one.

    Args:
        path: The file to write. Missing parent folders are made.

    Yields:
        A scratch path in the same folder. It replaces `path` if the block succeeds and is removed if not.

    Raises:
        ResultsError: If the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=SCRATCH)
    except OSError as error:
        raise write_error(path, error) from error
    os.close(handle)
    scratch = Path(name)
    try:
        yield scratch
        # mkstemp makes private files, but everyone who may read the folder may read its results.
        scratch.chmod(0o666 & ~_umask())
        scratch.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        scratch.unlink(missing_ok=True)


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


def write_error(path: Path, error: Exception) -> ResultsError:
    """Return the error to raise if a file cannot be written.

    Args:
        path: The file.
        error: What went wrong.

    Returns:
        A ResultsError that names the file and the reason.
    """
    # An OSError raised by numpy has no number and therefore no text from the system.
    why = getattr(error, "strerror", None) or error
    return ResultsError(f"Expected to write {path}, got '{why}': free or unlock the folder and run again.")


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
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"Another process works in {folder}: waiting for it to finish.", flush=True)
            lock.acquire()
    except OSError as error:
        raise write_error(folder / LOCK, error) from error
    try:
        for place in (folder, folder / layout.MINIMA_FOLDER, folder / layout.RAYS_FOLDER):
            for scratch in place.glob(f".*{SCRATCH}"):
                scratch.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically in UTF-8.

    Args:
        path: The file to write.
        text: Its content, written without translating line ends.
    """
    with atomic_write(path) as scratch:
        scratch.write_bytes(text.encode())
