"""Rows of numbers in a file that grows and is mapped into memory, with a checksum of each row in a file beside it."""

import os
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minima_volume.errors import ResultsError
from minima_volume.storage.atomic import check_size, read_bytes, write_error

SUMS = ".sums"  # added to the name of the file
_DIGEST = 32  # bytes
_LARGEST = 2**62  # bytes: rows are mapped, not read, so only what is no regular file is refused

Rows = NDArray[np.float32]


def write_row(path: Path, number: int, row: Rows, *, checked: bool = True) -> None:
    """Write a row behind the rows before it, over what an interruption may have left there.

    Args:
        path: The file, which is made if it is missing.
        number: How many rows are before it.
        row: The row (n,).
        checked: Whether to write its checksum.

    Raises:
        ResultsError: If a file cannot be written, is a symbolic link, or has more rows.
    """
    content = row.tobytes()
    if checked and _size(_sums_of(path)) >= (number + 1) * _DIGEST:
        raise ResultsError(
            f"Expected {number} rows in {path}, got more: another process writes them. Let one process record a run."
        )
    _write_at(path, number * len(content), content)
    if checked:  # afterwards, so that a row with a checksum is whole
        _write_at(_sums_of(path), number * _DIGEST, sha256(content).digest())


def map_rows(path: Path, count: int, width: int) -> Rows:
    """Map rows (count, width) of a file into memory, read only."""
    return np.memmap(path, np.float32, "r", shape=(count, width))


def count_rows(path: Path, width: int, *, checked: bool = True) -> int:
    """Return how many whole rows a file has, after comparing each with its checksum.

    Args:
        path: The file.
        width: Numbers in a row.
        checked: Whether the rows have checksums; if so, a row whose checksum is missing was written in part.

    Raises:
        OSError: If a file is missing or cannot be read.
        ResultsError: If it is no regular file, or a row differs from its checksum.
    """
    found = path.stat()
    check_size(path, found, _LARGEST)
    count = found.st_size // (4 * width)
    if not checked:
        return count
    sums = read_bytes(_sums_of(path))
    count = min(count, len(sums) // _DIGEST)
    rows = map_rows(path, count, width) if count else ()
    for number, row in enumerate(rows):
        if sha256(row.tobytes()).digest() != sums[number * _DIGEST : (number + 1) * _DIGEST]:
            raise ResultsError(
                f"Expected row {number} of {path} with the checksum in {_sums_of(path)}, got another: one of the files is "
                "damaged or of another run. Restore it, or record it again."
            )
    return count


def _sums_of(path: Path) -> Path:
    """Return the file of the checksums."""
    return path.with_name(path.name + SUMS)


def _size(path: Path) -> int:
    """Return the size of a file in bytes, 0 if it is missing."""
    return path.stat().st_size if path.exists() else 0


def _open_own(path: str, flags: int) -> int:
    """Open or make a file that is no symbolic link."""
    return os.open(path, flags | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _write_at(path: Path, place: int, content: bytes) -> None:
    """Write bytes at a place of a file."""
    try:
        with open(path, "r+b", opener=_open_own) as stream:
            stream.seek(place)
            stream.write(content)
    except OSError as error:
        raise write_error(path, error) from error
