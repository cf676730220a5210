"""Files that are there whole or not at all, and folders in which one process works at a time."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minima_volume.errors import ResultsError

SCRATCH = ".part"  # the end of the names of files that are being written
# Read once: it can only be read by changing it, which threads must not do.
UMASK = os.umask(0o022)
os.umask(UMASK)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A scratch path that becomes `path` only if the block succeeds; readers see the old file or the new one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=SCRATCH)
    except OSError as error:
        raise write_error(path, error) from error
    os.close(handle)
    scratch = Path(name)
    try:
        yield scratch
        # mkstemp makes files private; results are for everyone who may read the folder.
        scratch.chmod(0o666 & ~UMASK)
        scratch.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        scratch.unlink(missing_ok=True)


def write_error(path: Path, error: Exception) -> ResultsError:
    """The error to raise where a file could not be written."""
    # An OSError made by numpy carries no number and so no text of the system's.
    why = getattr(error, "strerror", None) or error
    return ResultsError(f"Expected to write {path}, got '{why}': free or unlock the folder and run again.")


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Let one process at a time work in a folder; others say so and wait. Scratch of killed processes is removed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / ".lock").open("w")
    except OSError as error:
        raise write_error(folder / ".lock", error) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Another process works in {folder}: waiting for it to finish.", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        for place in (folder, folder / "minima", folder / "rays"):
            for scratch in place.glob(f".*{SCRATCH}"):
                scratch.unlink(missing_ok=True)
        yield


def write_text(path: Path, text: str) -> None:
    """A text file."""
    with atomic_write(path) as scratch:
        scratch.write_bytes(text.encode())
