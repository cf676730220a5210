"""Results as JSON files: strict JSON with words for numbers that are not finite, and a kind that names the version."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from minima_volume.errors import ResultsError
from minima_volume.storage.archives import read_json, write_record

ADVICE = "Measure and save again."
# JSON has no numbers for these.
NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
# Metadata of fields that are left out while they are empty, so that files without them stay as they are.
LEFT_OUT_IF_EMPTY = {"left_out_if_empty": True}
T = TypeVar("T")


def plain(value: Any) -> Any:
    """Convert dataclasses, arrays and mappings to what JSON holds.

    Args:
        value: The value.

    Returns:
        Dictionaries, lists, text and numbers; numbers that are not finite become words.
    """
    if is_dataclass(value):
        named = {each.name: (each.metadata, getattr(value, each.name)) for each in fields(value)}
        return {name: plain(part) for name, (data, part) in named.items() if "left_out_if_empty" not in data or part}
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(part) for part in (value.tolist() if isinstance(value, np.ndarray) else value)]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def numbers(value: Any) -> Any:
    """Convert the words for numbers that are not finite back to numbers.

    Args:
        value: What JSON holds.

    Returns:
        The same with numbers.
    """
    if isinstance(value, dict):
        return {key: numbers(part) for key, part in value.items()}
    if isinstance(value, list):
        return [numbers(part) for part in value]
    return NON_FINITE.get(value, value) if isinstance(value, str) else value


def write_result(path: Path, kind: str, value: object) -> None:
    """Write a result.

    Args:
        path: The file to write. Its name ends in .json.
        kind: The kind of the result and its version, such as "minima_volume.measurement/1".
        value: The result, a dataclass.

    Raises:
        ResultsError: If the name has another end or the file cannot be written.
    """
    if path.suffix.lower() != ".json":
        raise ResultsError(
            f"Expected a path that ends in .json, got {path}: results are saved as JSON, so rename the file."
        )
    write_record(path, {"kind": kind, **plain(value)}, movable=True)


def read_result(path: Path, kind: str, build: Callable[[dict[str, Any]], T]) -> T:
    """Read a result that `write_result` wrote.

    Args:
        path: The file to read.
        kind: The kind of the result and its version.
        build: Makes the result from the content of the file.

    Returns:
        The result.

    Raises:
        ResultsError: If the file is missing, damaged, of another kind or of a newer version.
    """
    what, _, version = kind.removeprefix("minima_volume.").replace("_", " ").partition("/")
    if path.is_dir():
        raise ResultsError(f"Expected a saved {what} in {path}, got a folder: name the file in it.")
    if not path.exists():
        raise ResultsError(f"Expected a saved {what} in {path}, got no file: check the path.")
    content = read_json(path, advice=ADVICE)
    found = content.pop("kind", None)
    if found != kind:
        name, _, newer = str(found).partition("/")
        if name == kind.partition("/")[0] and newer.isdecimal():
            raise ResultsError(
                f"Expected a {what} of version {version} in {path}, got version {newer}: update minima_volume to read it."
            )
        raise ResultsError(f"Expected a saved {what} in {path}, got another JSON file: check the path.")
    try:
        return build(numbers(content))
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise ResultsError(f"Expected a saved {what} in {path}, got a damaged one ({error}). {ADVICE}") from error
