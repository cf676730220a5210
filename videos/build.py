"""From a film or an export that is asked for to files that are up to date: what is drawn, kept or skipped, and why."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from minima_volume.drawing import style
from minima_volume.errors import UserError
from minima_volume.planes import grid
from minima_volume.storage import archives, atomic
from videos import elements, encode
from videos.encode import Quality
from videos.render import Hands

HERE = Path(__file__).resolve().parent
INTERRUPTED = 130


class Piece(Protocol):
    """Something to look at or to take away."""

    @property
    def name(self) -> str:
        """What it is called on the command line and in its files."""

    @property
    def fingerprint(self) -> str:
        """A hash of everything that it shows."""

    def files(self, folder: Path) -> tuple[Path, ...]:
        """What it consists of."""

    def code(self) -> tuple[str, ...]:
        """Files that decide what it looks like."""

    def make(self, folder: Path, size: Quality, hands: Hands) -> None:
        """Write the files."""


# (scale, folder, frames per second) -> the piece; raises UserError with the command where its inputs are missing.
Entry = Callable[[str, Path, int], Piece]


def folder_of(scale: str) -> Path:
    """Where the videos of a scale lie."""
    return HERE / scale


def asked_quality(scale: str) -> Quality:
    """QUALITY of the environment; unsaid, drafts of quick results and finals of the paper's."""
    return encode.quality(os.environ.get("QUALITY") or ("draft" if scale == "quick" else "final"))


def cores() -> int:
    """Processes that draw: THREADS of the environment, or one for each core."""
    given = os.environ.get("THREADS") or str(os.cpu_count() or 1)
    if not given.isdecimal() or int(given) < 1:
        raise UserError(f"Expected THREADS to be a whole number above 0, got '{given}'.")
    return int(given)


def _wanted(piece: Piece) -> str:
    """The fingerprint of a piece's content and of the code that draws it."""
    code = sorted({*piece.code(), *(str(module.__file__) for module in (grid, elements, style))})
    return archives.fingerprint(piece.fingerprint, [sha256(Path(name).read_bytes()).hexdigest() for name in code])


def _kept(piece: Piece, folder: Path, size: Quality) -> bool:
    """Whether all files are there, as they would be made now, and at least as fine as asked."""
    record = archives.read_if_current(archives.read_json, _record(piece, folder), _wanted(piece))
    fine = record is not None and record["quality"] in (size.name, "final")
    return fine and all(path.exists() for path in piece.files(folder))


def _record(piece: Piece, folder: Path) -> Path:
    return folder / ".made" / f"{piece.name}.json"


def produce(name: str, entry: Entry, scale: str, folder: Path, size: Quality, hands: Hands) -> int | None:
    """Bring one piece up to date and say what happened; the number of files written, None where it was skipped."""
    try:
        piece = entry(scale, folder, size.fps)
    except UserError as error:
        print(f"skipped {name}: {error}", flush=True)
        return None
    if _kept(piece, folder, size):
        return 0
    started = time.perf_counter()
    piece.make(folder, size, hands)
    archives.write_json(_record(piece, folder), {"fingerprint": _wanted(piece), "quality": size.name})
    seconds = time.perf_counter() - started
    files = piece.files(folder)
    print(f"made {name} in {seconds:.1f} s: {' '.join(shown(path) for path in files)}", flush=True)
    return len(files)


def shown(path: Path) -> str:
    """A path as the user would type it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def produce_all(entries: Mapping[str, Entry], scale: str) -> None:
    """Bring every piece up to date; the second time there is nothing to do, and that is said."""
    folder, size = folder_of(scale), asked_quality(scale)
    with atomic.lock_folder(folder), Hands(cores()) as hands:
        written = [produce(name, entry, scale, folder, size, hands) for name, entry in entries.items()]
    kept = written.count(0)
    if kept:
        print(f"{kept} of {len(entries)} are up to date in {shown(folder)}" + ("; nothing to do." * (not any(written))))


def main(entries: Mapping[str, Entry]) -> None:
    """The command line that all video scripts share; what goes wrong gives one sentence and an exit code."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("names", nargs="*", help=f"among {', '.join(entries)}; all without a name")
    parser.add_argument("--scale", default=os.environ.get("SCALE") or "paper", choices=("quick", "paper"))
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in entries]
    if unknown:
        parser.error(f"expected names among {', '.join(entries)}, got {unknown[0]}")
    try:
        produce_all({name: entries[name] for name in given.names or entries}, given.scale)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("\nInterrupted. Whole files are kept: the same command goes on from here.", file=sys.stderr)
        sys.exit(INTERRUPTED)
