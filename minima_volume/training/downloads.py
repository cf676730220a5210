"""Files of published data sets: found, or downloaded through torchvision, and checked against their checksums."""

import shutil
import tempfile
from collections.abc import Sequence
from hashlib import md5
from pathlib import Path

from filelock import FileLock

from minima_volume.errors import DataError, extra
from minima_volume.storage.atomic import LOCK

OFFLINE = "Without a download, run `make digits_poison`, the same experiment on bundled data."


def verified_files(data_dir: Path, folder: str, md5s: dict[str, str], source: str) -> list[Path]:
    """Return the files of a data set, after downloading missing ones and checking all.

    Args:
        data_dir: The folder of the data sets.
        folder: The folder of this data set's files, below `data_dir`.
        md5s: The published checksums by file name.
        source: The class of torchvision that downloads them.

    Returns:
        Paths in the order of `md5s`.

    Raises:
        DataError: A file is damaged, or missing and cannot be downloaded.
    """
    paths = [data_dir / folder / name for name in md5s]
    if not all(path.exists() for path in paths):
        _fetch(data_dir, [path.relative_to(data_dir) for path in paths], source)
    for path, expected in zip(paths, md5s.values(), strict=True):
        got = digest(path)
        if got != expected:
            raise DataError(
                f"Expected md5 {expected} of {path}, got {got} ({path.stat().st_size} bytes): delete the file and run the "
                f"same command to download it again, or replace it with an intact copy. {OFFLINE}"
            )
    return paths


def _fetch(data_dir: Path, wanted: Sequence[Path], source: str) -> None:
    """Download through torchvision into a scratch folder, then move complete files to their place."""
    # Imported only here, because torchvision takes longer to load than any of its data sets.
    with extra("studies", f"downloading {source}"):
        from torchvision import datasets as sources

    known = getattr(sources, source)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        # Other processes wait, and find the files afterwards.
        with FileLock(data_dir / LOCK), tempfile.TemporaryDirectory(dir=data_dir) as scratch:
            missing = [path for path in wanted if not (data_dir / path).exists()]
            if missing:
                print(f"Downloading {source} into {data_dir}", flush=True)
                known(scratch, download=True)
            for path in missing:
                (data_dir / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(Path(scratch) / path, data_dir / path)
    except (NotADirectoryError, FileExistsError, PermissionError) as error:
        raise DataError(
            f"Expected DATA_DIR to be a folder to write to, got {data_dir} ({error.strerror}): name another folder."
        ) from error
    except (OSError, RuntimeError) as error:
        missing = [path for path in wanted if not (data_dir / path).exists()]
        raise DataError(
            f"Expected the files {', '.join(path.name for path in missing)} in {data_dir / wanted[0].parent}, got none, and "
            f"no answer from {' or '.join(getattr(known, 'mirrors', None) or [known.url])}: copy the files there, or set "
            f"DATA_DIR to a folder that has them. {OFFLINE}"
        ) from error


def digest(path: Path) -> str:
    """Return the md5 of a file. The authors of the data sets publish md5; it detects damage, not attacks."""
    return md5(path.read_bytes(), usedforsecurity=False).hexdigest()
