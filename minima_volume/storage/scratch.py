"""Names of what is being written, `.NAME.HOST-PID.….part`, and the removal of what killed processes left.

Only the standard library is imported, because `make` uses this before anything is installed.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUFFIX = ".part"
# A file without any change for so long is left over, even if its process was on another machine.
DAY = 86400.0  # seconds
PROCESSES = Path("/proc")  # Linux only


def scratch_start(name: str) -> str:
    """Return how the names of this process's scratch files for a file begin.

    Args:
        name: The name of the file.

    Example:
        >>> scratch_start("a.csv").startswith(".a.csv.") and str(os.getpid()) in scratch_start("a.csv")
        True
    """
    return f".{name}.{_host()}-{os.getpid()}."


@contextmanager
def scratch_file(folder: Path, name: str) -> Iterator[Path]:
    """Yield a path for a file that is needed for a while, and remove it, as well as those that killed processes left.

    Args:
        folder: Where to put it.
        name: What it is called without what makes it a scratch file.

    Yields:
        The path, where no file is.
    """
    sweep(folder, name)
    path = folder / f"{scratch_start(name)}0{SUFFIX}"
    path.unlink(missing_ok=True)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _host() -> str:
    """Return the name of this machine, as letters, digits and underscores."""
    return re.sub(r"\W", "_", platform.node()) or "here"


def sweep(folder: Path, name: str) -> None:
    """Remove scratch files and folders for one file whose process has ended.

    Args:
        folder: Where they are.
        name: The name of the file that was being written.
    """
    for path in folder.glob(f".{_literal(name)}.*{SUFFIX}"):
        if _is_left(path, name):
            try:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            except OSError:  # another process removes it, or it cannot be removed and does no harm
                continue


def _literal(name: str) -> str:
    """Return a name as a pattern that only it matches."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _is_left(path: Path, name: str) -> bool:
    """Whether the process that writes a scratch file has ended."""
    found = re.fullmatch(rf"\.{re.escape(name)}\.(\w+)-([0-9]+)\..*{re.escape(SUFFIX)}", path.name)
    if found is not None and found[1] == _host():
        return not is_running(int(found[2]))
    try:
        return path.lstat().st_mtime < time.time() - DAY
    except OSError:
        return False


def is_running(pid: int) -> bool:
    """Return whether a process of this machine runs; one that has ended and was not waited for does not.

    Args:
        pid: Its number.

    Example:
        >>> is_running(os.getpid())
        True
    """
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    try:
        return "\nState:\tZ" not in (PROCESSES / str(pid) / "status").read_text()
    except (OSError, ValueError):
        return True
