"""JSON objects, arrays (npz) and tensors (safetensors): written atomically, checked when read, never pickled."""

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
from minima_volume.storage.atomic import atomic_write, write_error

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
    """Write a JSON object with sorted keys.

    Args:
        path: The file to write.
        content: The object.

    Raises:
        ResultsError: If the file cannot be written.
    """
    with atomic_write(path) as scratch:
        scratch.write_bytes((json.dumps(content, indent=1, sort_keys=True) + "\n").encode())


def read_json(path: Path, *, advice: str = RERUN) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: The file to read.
        advice: What the reader of an error message can do; by default, to run the make target again.

    Returns:
        The object.

    Raises:
        ResultsError: If the file is missing, damaged or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))  # editors of Windows add a mark
    except (OSError, ValueError, RecursionError) as error:
        raise ResultsError(f"Expected a JSON object in {path}, got: {error}. {advice}") from error
    if not isinstance(content, dict):
        raise ResultsError(f"Expected a JSON object in {path}, got {type(content).__name__}. {advice}")
    return content


def write_arrays(path: Path, info: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write named arrays and a JSON header as one compressed npz archive.

    Args:
        path: The file to write.
        info: The header. A checksum of header and arrays is added to it.
        arrays: Arrays by name.

    Raises:
        ResultsError: If the file cannot be written.
    """
    header = {**info, "sha256": _checksum(info, arrays)}
    with atomic_write(path) as scratch, scratch.open("wb") as stream:
        np.savez_compressed(stream, info=np.array(json.dumps(header, sort_keys=True)), **arrays)


def read_arrays(path: Path, *, advice: str = RERUN) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read header and arrays of an npz archive and verify the checksum. Nothing is unpickled.

    Args:
        path: The file to read.
        advice: What the reader of an error message can do; by default, to run the make target again.

    Returns:
        The header without its checksum, and arrays by name.

    Raises:
        ResultsError: If the file is missing, damaged or holds pickled objects.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
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

    header = {**info, "sha256": _checksum(info, tensors)}
    with atomic_write(path) as scratch:
        try:
            save_file(dict(tensors), scratch, metadata={"info": json.dumps(header, sort_keys=True)})
        except SafetensorError as error:
            raise write_error(path, error) from error


def read_tensors(path: Path, *, advice: str = RERUN) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read header and tensors of a minimum and verify the checksum.

    Args:
        path: The file to read.
        advice: What the reader of an error message can do; by default, to run the make target again.

    Returns:
        The header without its checksum, and tensors by name.

    Raises:
        ResultsError: If the file is missing or damaged.
    """
    return _read_safetensors(path, "pt", advice)


def read_tensors_as_arrays(path: Path, *, advice: str = RERUN) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read header and tensors of a minimum as NumPy arrays, without torch, and verify the checksum.

    Args:
        path: The file to read.
        advice: What the reader of an error message can do; by default, to run the make target again.

    Returns:
        The header without its checksum, and arrays by name.

    Raises:
        ResultsError: If the file is missing or damaged.
    """
    return _read_safetensors(path, "np", advice)


def _read_safetensors(path: Path, framework: str, advice: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a safetensors file for torch ("pt") or NumPy ("np")."""
    with extra("studies", "reading minima"):
        from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework=framework) as archive:
            info = dict(json.loads((archive.metadata() or {})["info"]))
            values = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118 - cannot be iterated itself
    except (*DAMAGE, SafetensorError) as error:
        raise ResultsError(f"Expected a minimum in {path}, got: {error}. {advice}") from error
    _verify(path, info, values, advice)
    return info, values


def _verify(path: Path, info: dict[str, Any], values: Mapping[str, Any], advice: str) -> None:
    """Remove the checksum from a header and compare it with header and values."""
    if info.pop("sha256", None) != _checksum(info, values):
        raise ResultsError(f"Expected the checksum written with {path}, got another: it is damaged. {advice}")


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
