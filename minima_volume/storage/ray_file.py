"""One file with what a measurement has finished so far, from which it goes on after an interruption."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minima_volume.errors import ResultsError
from minima_volume.storage.archives import read_arrays, write_arrays

KIND = "minima_volume.rays/2"
ADVICE = "Delete it, or name another file."

Arrays = Mapping[str, NDArray[Any]]


def as_path(path: Any) -> Path:
    """Return the name of a file, with ~ for the home folder.

    Raises:
        ResultsError: It is no name.
    """
    try:
        name = os.fspath(path)
        os.fsencode(name)
        found = Path(name).expanduser()
    except (TypeError, UnicodeError, RuntimeError):  # no name, one that no disk takes, or the home of nobody
        found = None
    if found is None or "\0" in str(found):
        raise ResultsError(f"Expected the name of a file, got {path!r}: pass a text such as 'rays.npz', or a Path.")
    return found


def is_file(path: Path) -> bool:
    """Return whether a file is there.

    Raises:
        ResultsError: The system takes no such name.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ResultsError(f"Expected the name of a file, got {path}: {error.strerror}. Name another.") from error
    return True


class RayFile:
    """Rays by the name of what moves, each with arrays whose first axis is the direction; or points of a plane.

    Args:
        path: The file, which need not exist, with the suffix .npz; None keeps nothing.
        fingerprint: Of everything that the rays depend on.
        kind: Kind of the content and its version.

    Raises:
        ResultsError: The file belongs to something else, or is damaged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     RayFile(f"{folder}/run.npz", "model 1").extend("all", {"norms": np.ones(3)})
        ...     RayFile(f"{folder}/run.npz", "model 1").known("all")["norms"]
        array([1., 1., 1.])
    """

    def __init__(self, path: str | Path | None, fingerprint: str, kind: str = KIND) -> None:
        self.path, self.fingerprint, self.kind = None if path is None else as_path(path), fingerprint, kind
        self._arrays: dict[str, NDArray[Any]] = {}
        if self.path is not None and self.path.suffix != ".npz":
            raise ResultsError(f"Expected a file name that ends in .npz, got {self.path}: rename it.")
        if self.path is not None and is_file(self.path):
            info, self._arrays = read_arrays(self.path, advice=ADVICE)
            what = kind.removeprefix("minima_volume.").partition("/")[0]
            if info.get("kind") != kind or info.get("fingerprint") != fingerprint:
                raise ResultsError(
                    f"Expected the {what} of this model, data and settings in {self.path}, got those of others. {ADVICE}"
                )

    def known(self, name: str) -> dict[str, NDArray[Any]]:
        """Return the arrays of one name; nothing if there are none."""
        start = f"{name}/"
        return {key.removeprefix(start): value for key, value in self._arrays.items() if key.startswith(start)}

    def extend(self, name: str, part: Arrays) -> None:
        """Append rays to those of one name, and write the file."""
        if self.path is None:
            return
        before = self.known(name)
        for key, value in part.items():
            joined = np.concatenate([before[key], value]) if key in before else np.asarray(value)
            self._arrays[f"{name}/{key}"] = joined
        write_arrays(self.path, {"kind": self.kind, "fingerprint": self.fingerprint}, self._arrays, movable=True)
