"""Bring films and exports up to date: draw them, keep them, or skip them with the command that makes their inputs."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from minima_volume.drawing import style
from minima_volume.errors import UserError, WriteError
from minima_volume.pipeline.parent import end_with_make, end_with_parent
from minima_volume.pipeline.settings import threads
from minima_volume.planes import study_plane
from minima_volume.storage import archives, atomic
from minima_volume.text import prepare_streams
from videos import elements, encode
from videos.encode import Quality
from videos.render import FramePool

HERE = Path(__file__).resolve().parent
INTERRUPTED = 130


class Artifact(Protocol):
    """A film or an export."""

    @property
    def name(self) -> str:
        """Return its name on the command line and in its files."""

    @property
    def fingerprint(self) -> str:
        """Return a hash of everything that it shows."""

    def files(self, folder: Path) -> tuple[Path, ...]:
        """Return its files."""

    def code(self) -> tuple[str, ...]:
        """Return the source files that determine what it looks like."""

    def make(self, folder: Path, size: Quality, pool: FramePool) -> None:
        """Write the files."""


# (scale, folder, frames per second) -> the artifact. UserError names the command that makes missing inputs.
Entry = Callable[[str, Path, int], Artifact]


def folder_of(scale: str) -> Path:
    """Return the folder of the videos of a scale."""
    return HERE / scale


def quality_setting(scale: str) -> Quality:
    """Return the quality that QUALITY names; by default drafts of quick results and finals of paper results."""
    return encode.quality(os.environ.get("QUALITY") or ("draft" if scale == "quick" else "final"))


def _fingerprint(artifact: Artifact) -> str:
    """Return the fingerprint of an artifact and of the code that draws it."""
    code = sorted({*artifact.code(), *(str(module.__file__) for module in (study_plane, elements, style))})
    return archives.fingerprint(artifact.fingerprint, [sha256(Path(name).read_bytes()).hexdigest() for name in code])


def _is_current(artifact: Artifact, folder: Path, size: Quality) -> bool:
    """Return whether all files are up to date and at least as fine as requested."""
    record = archives.read_if_current(archives.read_json, _record(artifact, folder), _fingerprint(artifact))
    fine = record is not None and record["quality"] in (size.name, "final")
    return fine and all(path.exists() for path in artifact.files(folder))


def _record(artifact: Artifact, folder: Path) -> Path:
    """Return the path of the record of what was made."""
    return folder / ".made" / f"{artifact.name}.json"


def make_artifact(name: str, entry: Entry, scale: str, folder: Path, size: Quality, pool: FramePool) -> int | None:
    """Bring one artifact up to date and print what happened; return the number of files written, or None if skipped."""
    try:
        artifact = entry(scale, folder, size.fps)
    except WriteError:  # a plane was measured and could not be stored
        raise
    except UserError as error:
        print(f"skipped {name}: {error}", flush=True)
        return None
    if _is_current(artifact, folder, size):
        return 0
    started = time.perf_counter()
    artifact.make(folder, size, pool)
    archives.write_record(_record(artifact, folder), {"fingerprint": _fingerprint(artifact), "quality": size.name})
    seconds = time.perf_counter() - started
    files = artifact.files(folder)
    print(f"made {name} in {seconds:.1f} s: {' '.join(short_path(path) for path in files)}", flush=True)
    return len(files)


def short_path(path: Path) -> str:
    """Return a path relative to the working folder if it is inside."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def make_all_artifacts(entries: Mapping[str, Entry], scale: str) -> None:
    """Bring every artifact up to date, and say if there was nothing to do."""
    folder, size = folder_of(scale), quality_setting(scale)
    with atomic.lock_folder(folder), FramePool(threads(), partial(end_with_parent, os.getpid())) as pool:
        written = [make_artifact(name, entry, scale, folder, size, pool) for name, entry in entries.items()]
    kept = written.count(0)
    if kept:
        print(
            f"{kept} of {len(entries)} are up to date in {short_path(folder)}"
            + ("; nothing to do." * (not any(written)))
        )


def main(entries: Mapping[str, Entry]) -> None:
    """Run the command line that all video modules share."""
    prepare_streams()
    end_with_make()
    script = sys.modules["__main__"]
    module = getattr(script.__spec__, "name", None)
    parser = argparse.ArgumentParser(prog=f"python -m {module}" if module else None, description=script.__doc__)
    parser.add_argument("names", nargs="*", help=f"one or more of {', '.join(entries)}; all by default")
    parser.add_argument("--scale", default=os.environ.get("SCALE") or "paper", choices=("quick", "paper"))
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in entries]
    if unknown:
        parser.error(f"Expected names among {', '.join(entries)}, got {unknown[0]}: choose from these.")
    try:
        make_all_artifacts({name: entries[name] for name in given.names or entries}, given.scale)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("\nInterrupted. Finished files are kept: run the same command to continue.", file=sys.stderr)
        sys.exit(INTERRUPTED)
