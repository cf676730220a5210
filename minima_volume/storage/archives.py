"""JSON objects, arrays (npz) and tensors (safetensors): written whole, checked when read, never a pickle."""

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

from minima_volume.errors import ResultsError
from minima_volume.storage.atomic import atomic_write, write_error

FORMAT = 1  # raise when a stored number would mean something else
RERUN = "Delete it and run the same make target."
# What numpy and zipfile raise on archives that are cut, flipped or foreign.
DAMAGE = (
    OSError, ValueError, TypeError, KeyError, EOFError, AttributeError, NotImplementedError, RuntimeError,
    SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error, MemoryError, OverflowError,
)  # fmt: skip


def fingerprint(*settings: object) -> str:
    """A short hash of everything that a stored number depends on."""
    return sha256(json.dumps([FORMAT, *settings], sort_keys=True, default=repr).encode()).hexdigest()[:16]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """A JSON file with sorted keys."""
    with atomic_write(path) as scratch:
        scratch.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; ResultsError names the file if it is missing or damaged."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ResultsError(f"Expected a JSON object in {path}, got: {error}. {RERUN}") from error
    if not isinstance(content, dict):
        raise ResultsError(f"Expected a JSON object in {path}, got {type(content).__name__}. {RERUN}")
    return content


def write_arrays(path: Path, info: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Named arrays and a JSON header in one compressed archive; the header carries a checksum of header and values."""
    header = {**info, "sha256": _checksum(info, arrays)}
    with atomic_write(path) as scratch, scratch.open("wb") as stream:
        np.savez_compressed(stream, info=np.array(json.dumps(header, sort_keys=True)), **arrays)


def read_arrays(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and arrays of an archive, checksum verified; ResultsError if it is missing, damaged or holds objects.

    Nothing is ever unpickled.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        info = dict(json.loads(str(arrays.pop("info"))))
    except DAMAGE as error:
        raise ResultsError(f"Expected arrays in {path}, got: {error}. {RERUN}") from error
    _verify(path, info, arrays)
    return info, arrays


def write_tensors(path: Path, info: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
    """Parameters and training set of one minimum as safetensors; the header carries a checksum of header and values."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    header = {**info, "sha256": _checksum(info, tensors)}
    with atomic_write(path) as scratch:
        try:
            save_file(dict(tensors), scratch, metadata={"info": json.dumps(header, sort_keys=True)})
        except SafetensorError as error:
            raise write_error(path, error) from error


def read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and tensors of a minimum, checksum verified."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as archive:
            info = dict(json.loads((archive.metadata() or {})["info"]))
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118 - not a mapping
    except (*DAMAGE, SafetensorError) as error:
        raise ResultsError(f"Expected a minimum in {path}, got: {error}. {RERUN}") from error
    _verify(path, info, tensors)
    return info, tensors


def _verify(path: Path, info: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Take the checksum out of a header and compare it with header and values."""
    if info.pop("sha256", None) != _checksum(info, values):
        raise ResultsError(f"Expected the checksum written with {path}, got another: it is damaged. {RERUN}")


def _checksum(info: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """Of a header and of named arrays or tensors."""
    total = sha256(json.dumps(dict(info), sort_keys=True).encode())
    for name in sorted(values):
        array = np.ascontiguousarray(values[name])
        total.update(f"{name} {array.dtype} {array.shape}".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def read_minimum_arrays(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read header and tensors of a minimum as NumPy arrays, without torch, and verify the checksum.

    Args:
        path: A file that `write_tensors` wrote.

    Returns:
        The header without its checksum, and arrays by name.

    Raises:
        ResultsError: If the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as archive:
            info = dict(json.loads((archive.metadata() or {})["info"]))
            arrays = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118 - not a mapping
    except (*DAMAGE, SafetensorError) as error:
        raise ResultsError(f"Expected a minimum in {path}, got: {error}. {RERUN}") from error
    if info.pop("sha256", None) != _checksum(info, arrays):
        raise ResultsError(f"Expected the checksum written with {path}, got another: it is damaged. {RERUN}")
    return info, arrays


def read_if_current(reader: Any, path: Path, wanted: str) -> Any:
    """What `reader` finds at `path` if it is whole and its header carries the fingerprint `wanted`, else None."""
    if not path.exists():
        return None
    try:
        content = reader(path)
    except ResultsError as error:
        print(f"{error} Recomputing it now.")
        return None
    info = content[0] if isinstance(content, tuple) else content
    return content if info.get("fingerprint") == wanted else None
