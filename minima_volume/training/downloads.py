"""Files of published data sets: found, or downloaded through torchvision, and checked against their checksums."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import md5, sha256
from pathlib import Path
from typing import Any

from minima_volume.errors import DataError, extra
from minima_volume.storage.atomic import LOCK, lock_file, put, read_bytes

OFFLINE = "Without a download, run `make digits_poison`, the same experiment on bundled data."
MOST = 2**28  # bytes of a file: eight times more than the largest has


@dataclass(frozen=True)
class Checksums:
    """What the bytes of a published file hash to.

    Attributes:
        md5: As the authors of the data set publish it; it detects damage, not attacks.
        sha256: Of the file with this md5, taken here; None if it is not known.
    """

    md5: str
    sha256: str | None = None

    def difference(self, content: bytes) -> str | None:
        """Return which checksum was expected and found if one is different, and None if the content has all."""
        found = {"md5": md5(content, usedforsecurity=False).hexdigest(), "sha256": sha256(content).hexdigest()}
        wrong = [name for name, got in found.items() if getattr(self, name) not in (None, got)]
        return f"{wrong[0]} {getattr(self, wrong[0])} of %s, got {found[wrong[0]]}" if wrong else None


def verified_contents(data_dir: Path, folder: str, sums: Mapping[str, Checksums], source: str) -> list[bytes]:
    """Return the contents of the files of a data set, after downloading missing ones and checking all.

    Each file is read once, so that what is returned is what was checked.

    Args:
        data_dir: The folder of the data sets.
        folder: The folder of this data set's files, below `data_dir`.
        sums: Their checksums by file name.
        source: The class of torchvision that downloads them.

    Returns:
        Contents in the order of `sums`.

    Raises:
        DataError: A file is damaged, or missing and cannot be downloaded.
        ResultsError: A file is no regular one, or too large.
    """
    paths = [data_dir / folder / name for name in sums]
    if not all(path.exists() for path in paths):
        _fetch(data_dir, {path.relative_to(data_dir): sums[path.name] for path in paths}, source)
    contents = [read_bytes(path, MOST) for path in paths]
    for path, content, own in zip(paths, contents, sums.values(), strict=True):
        different = own.difference(content)
        if different:
            raise DataError(
                f"Expected {different % path} ({len(content)} bytes): delete the file and run the same command to download "
                f"it again, or replace it with an intact copy. {OFFLINE}"
            )
    return contents


def _fetch(data_dir: Path, wanted: Mapping[Path, Checksums], source: str) -> None:
    """Download through torchvision into a scratch folder, check the files there, then move them to their place."""
    # Imported only here, because torchvision takes longer to load than any of its data sets.
    with extra("studies", f"downloading {source}"):
        from torchvision import datasets as sources

    known = getattr(sources, source)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        # Other processes wait, and find the files afterwards.
        with lock_file(data_dir / LOCK), tempfile.TemporaryDirectory(dir=data_dir) as scratch:
            missing = _missing(data_dir, wanted)
            if missing:
                print(f"Downloading {source} into {data_dir}", flush=True)
                _download(known, scratch)
            for path in missing:
                _check_download(Path(scratch) / path, wanted[path], source)
                (data_dir / path).parent.mkdir(parents=True, exist_ok=True)
                put(Path(scratch) / path, data_dir / path)
    except (NotADirectoryError, FileExistsError, PermissionError) as error:
        raise DataError(
            f"Expected DATA_DIR to be a folder to write to, got {data_dir} ({error.strerror}): name another folder."
        ) from error
    except (OSError, RuntimeError) as error:
        names, place = ", ".join(path.name for path in _missing(data_dir, wanted)), data_dir / next(iter(wanted)).parent
        raise DataError(
            f"Expected the files {names} in {place}, got none, and "
            f"no answer from {' or '.join(_addresses(known)) or 'any address with https'}: copy the files there, or set "
            f"DATA_DIR to a folder that has them. {OFFLINE}"
        ) from error


def _missing(data_dir: Path, wanted: Mapping[Path, Checksums]) -> Sequence[Path]:
    """Return the files that are not there."""
    return [path for path in wanted if not (data_dir / path).exists()]


def _download(known: Any, folder: str) -> None:
    """Download the files of a data set of torchvision to a folder, without reading them."""
    # Its constructor would unpickle what came.
    source = known.__new__(known)
    source.root, source.mirrors = folder, _addresses(known)
    if not source.mirrors:
        raise RuntimeError
    source.download()


def _addresses(known: Any) -> list[str]:
    """Return the addresses of a data set that are reached through https."""
    return [address for address in getattr(known, "mirrors", None) or [known.url] if address.startswith("https://")]


def _check_download(path: Path, own: Checksums, source: str) -> None:
    """Raise a DataError unless a downloaded file has its checksums; so no other file enters DATA_DIR."""
    different = own.difference(read_bytes(path, MOST))
    if different:
        raise DataError(
            f"Expected {different % path.name} from the servers of {source}: run the same command later, or copy an intact "
            f"file into DATA_DIR. {OFFLINE}"
        )
