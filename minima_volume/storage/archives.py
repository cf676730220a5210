"""JSON objects, arrays (npz) and tensors (safetensors): written atomically, checked when read, never pickled.

Files of studies carry their own place below `results/`, so that a file that was copied over another one is refused.
"""

import io
import json
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minima_volume.errors import ResultsError, extra
from minima_volume.storage import layout
from minima_volume.storage.atomic import MOST, atomic_write, check_size, read_bytes, write_error

FORMAT = 1  # raise when a stored number would mean something else
RERUN = "Delete it and run the same make target."
# What numpy and zipfile raise for archives that are truncated, corrupted or of another kind. A test flips bits all over an
# archive to find them; MemoryError and OverflowError come from a changed size.
DAMAGE = (
    OSError, ValueError, TypeError, KeyError, EOFError, AttributeError, NotImplementedError, RuntimeError,
    SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error, MemoryError, OverflowError,
)  # fmt: skip


def fingerprint(*settings: object) -> str:
    """Return a short hash of everything that a stored number depends on.

    Args:
        *settings: Values that JSON can hold; others count with their repr. The order of dictionaries does not matter.

    Returns:
        Sixteen hexadecimal digits.
    """
    return sha256(json.dumps([FORMAT, *settings], sort_keys=True, default=repr).encode()).hexdigest()[:16]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object with sorted keys, which a user may rename and edit.

    Args:
        path: The file to write.
        content: The object.

    Raises:
        ResultsError: If the file cannot be written.
    """
    with atomic_write(path) as scratch:
        scratch.write_bytes((json.dumps(content, indent=1, sort_keys=True) + "\n").encode())


def write_record(path: Path, content: Mapping[str, Any], *, movable: bool = False) -> None:
    """Write a JSON object with its place and its checksum.

    Args:
        path: The file to write.
        content: The object.
        movable: Whether it stays readable under another name, as a user's own file.

    Raises:
        ResultsError: If the file cannot be written.
    """
    # As it will be read: with texts as keys.
    write_json(path, _header(path, json.loads(json.dumps(content)), {}, movable=movable))


def read_json(path: Path, *, advice: str = RERUN) -> dict[str, Any]:
    """Read a JSON object, and verify checksum and place if it has them.

    Args:
        path: The file to read.
        advice: What the reader of an error message can do; by default, to run the make target again.

    Returns:
        The object, without checksum and place.

    Raises:
        ResultsError: If the file is missing, damaged or holds something else.
    """
    try:
        content = json.loads(read_bytes(path).decode("utf-8-sig"))  # editors of Windows add a mark
    except (OSError, ValueError, RecursionError) as error:
        raise ResultsError(f"Expected a JSON object in {path}, got: {error}. {advice}") from error
    if not isinstance(content, dict):
        raise ResultsError(f"Expected a JSON object in {path}, got {type(content).__name__}. {advice}")
    if {"sha256", "file"} & content.keys():
        _verify(path, content, {}, advice)
    return content


def write_arrays(path: Path, info: Mapping[str, Any], arrays: Mapping[str, Any], *, movable: bool = False) -> None:
    """Write named arrays and a JSON header as one compressed npz archive.

    Args:
        path: The file to write.
        info: The header. A checksum of header and arrays is added to it.
        arrays: Arrays by name.
        movable: Whether it stays readable under another name, as a user's own file.

    Raises:
        ResultsError: If the file cannot be written.
    """
    header = _header(path, info, arrays, movable=movable)
    with atomic_write(path) as scratch, scratch.open("wb") as stream:
        np.savez_compressed(stream, info=np.array(json.dumps(header, sort_keys=True)), **arrays)


def read_arrays(path: Path, *, advice: str = RERUN) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read header and arrays of an npz archive and verify the checksum. Nothing is unpickled.

    Args:
        path: The file to read.
        advice: What the reader of an error message can do; by default, to run the make target again.

    Returns:
        The header without checksum and place, and arrays by name.

    Raises:
        ResultsError: If the file is missing, damaged, another one's, or holds pickled objects.
    """
    try:
        content = read_bytes(path)
        _check_expanded(path, content, advice)
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        info = dict(json.loads(str(arrays.pop("info"))))
    except DAMAGE as error:
        raise ResultsError(f"Expected arrays in {path}, got: {error}. {advice}") from error
    _verify(path, info, arrays, advice)
    return info, arrays


def write_tensors(path: Path, info: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
    """Write the parameters and the training set of one minimum as safetensors.

    Args:
        path: The file to write.
        info: The header. A checksum of header and tensors is added to it.
        tensors: Tensors by name.

    Raises:
        ResultsError: If the file cannot be written.
    """
    with extra("studies", "storing minima"):
        from safetensors import SafetensorError
        from safetensors.torch import save_file

    header = _header(path, info, tensors, movable=False)
    with atomic_write(path) as scratch:
        try:
            save_file(dict(tensors), scratch, metadata={"info": json.dumps(header, sort_keys=True)})
        except SafetensorError as error:
            raise write_error(path, error) from error


def read_tensors(path: Path, *, advice: str = RERUN, most: int = MOST) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read header and tensors of a minimum and verify the checksum.

    Args:
        path: The file to read.
        advice: What the reader of an error message can do; by default, to run the make target again.
        most: Size in bytes that the file may have.

    Returns:
        The header without checksum and place, and tensors by name.

    Raises:
        ResultsError: If the file is missing, damaged, too large or another one's.
    """
    return _read_safetensors(path, "pt", advice, most)


def read_tensors_as_arrays(path: Path, *, advice: str = RERUN) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read header and tensors of a minimum as NumPy arrays, without torch, and verify the checksum.

    Args:
        path: The file to read.
        advice: What the reader of an error message can do; by default, to run the make target again.

    Returns:
        The header without checksum and place, and arrays by name.

    Raises:
        ResultsError: If the file is missing, damaged or another one's.
    """
    return _read_safetensors(path, "np", advice, MOST)


def _read_safetensors(path: Path, framework: str, advice: str, most: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a safetensors file for torch ("pt") or NumPy ("np")."""
    with extra("studies", "reading minima"):
        from safetensors import SafetensorError, safe_open

    try:
        check_size(path, path.stat(), most)
        with safe_open(path, framework=framework) as archive:
            info = dict(json.loads((archive.metadata() or {})["info"]))
            values = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118 - cannot be iterated itself
    except (*DAMAGE, SafetensorError) as error:
        raise ResultsError(f"Expected a minimum in {path}, got: {error}. {advice}") from error
    _verify(path, info, values, advice)
    return info, values


def _check_expanded(path: Path, content: bytes, advice: str) -> None:
    """Raise a ResultsError if the members of a zip archive expand to more than MOST bytes, as they declare."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        total = sum(member.file_size for member in archive.infolist())
    if total > MOST:
        raise ResultsError(f"Expected arrays of at most {MOST} bytes in {path}, got {total} bytes. {advice}")


def _header(path: Path, info: Mapping[str, Any], values: Mapping[str, Any], *, movable: bool) -> dict[str, Any]:
    """Return a header with its place, unless it is movable, and with the checksum of header and values."""
    placed = dict(info) if movable else {**info, "file": layout.place_of(path)}
    return placed | {"sha256": _checksum(placed, values)}


def _verify(path: Path, info: dict[str, Any], values: Mapping[str, Any], advice: str) -> None:
    """Remove checksum and place from a header, and compare them with header, values and path."""
    if info.pop("sha256", None) != _checksum(info, values):
        raise ResultsError(f"Expected the checksum written with {path}, got another: it is damaged. {advice}")
    # Files of older runs have no place; the headers of their minima name study, repeat and level.
    place = info.pop("file", None)
    fits = layout.is_of(path, info) if place is None else layout.is_at(path, str(place))
    if not fits:
        owner = place or ", ".join(f"{name} {info[name]}" for name in ("study", "repeat", "level") if name in info)
        raise ResultsError(
            f"Expected the file that was written as {path}, got that of {owner}: it was copied. {advice}"
        )


def _checksum(info: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """Hash a header and named arrays or tensors."""
    total = sha256(json.dumps(dict(info), sort_keys=True).encode())
    for name in sorted(values):
        array = np.ascontiguousarray(values[name])
        total.update(f"{name} {array.dtype} {array.shape}".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def read_if_current(reader: Any, path: Path, wanted: str) -> Any:
    """Read a file if it is complete and was made with the present settings.

    Args:
        reader: `read_json`, `read_arrays` or `read_tensors`.
        path: The file to read.
        wanted: The fingerprint of the present settings, which the header must have.

    Returns:
        What the reader returns; None if the file is missing, damaged or of other settings. For a damaged file the reason
        is printed.
    """
    if not path.exists():
        return None
    try:
        content = reader(path)
    except ResultsError as error:
        print(f"{error} Recomputing it now.")
        return None
    info = content[0] if isinstance(content, tuple) else content
    return content if info.get("fingerprint") == wanted else None
