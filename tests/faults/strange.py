"""Theme 9: pipes, folders, links and odd names in the place of stored files are refused or replaced; nothing waits."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from unittest import mock

from minima_volume.errors import ResultsError
from minima_volume.storage import layout
from tests.faults.sandbox import Done, Row
from tests.faults.stages import Results

THEME = "strange files"
LIMIT = 20  # seconds after which a run counts as hanging; it takes half a second
STORED = (
    "repeat_0/minima/level_0.safetensors", "repeat_1/minima/level_80.safetensors",
    "repeat_0/rays/directions_00000_00025.npz", "repeat_1/rays/directions_00050_00060.npz",
    "repeat_0/minima.json", "repeat_1/rays.json", "repeat_0/cutoffs.csv", "repeat_1/volumes.csv",
    "repeat_0/cutoffs.json", "repeat_1/volumes.json", "run.json", "cutoffs.csv",
)  # fmt: skip


@contextmanager
def deadline(seconds: int) -> Iterator[None]:
    """Raise TimeoutError after some seconds."""

    def stop(_: int, __: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run(results: Results, *stages: str) -> Done | None:
    """Run stages; None if they hang."""
    try:
        with deadline(LIMIT):
            return results.run(*stages)
    except TimeoutError:
        return None


def pipe(path: Path) -> None:
    """Put a pipe in the place of a file."""
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    """Put an empty folder in the place of a file."""
    path.unlink()
    path.mkdir()


def endless(path: Path) -> None:
    """Put a link to a device that never ends in the place of a file."""
    path.unlink()
    path.symlink_to("/dev/zero")


def remove(path: Path) -> None:
    """Remove what an attack put in the place of a file, if it is still there."""
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def irregular(base: Results) -> Row:
    """Put something else in the place of each stored file, and run all stages: they end, and the tables are the same."""
    lost, times = [], 0
    for attack in (pipe, folder, endless):
        results = base.copy(f"irregular_{attack.__name__}")
        for name in STORED:
            attack(results.study / name)
            done, times = run(results), times + 1
            # A folder cannot be replaced by a file: the error names it.
            named = done is not None and done.refused("Expected", Path(name).name)
            remove(results.study / name) if named else None
            done = run(results) if named else done
            if done is None or done.code or results.tables() != base.tables():
                lost.append(f"{attack.__name__} {name}")
                remove(results.study / name)
                results = base.copy(f"irregular_{attack.__name__}_{times}")
    return Row(THEME, "a pipe, a folder or a device in the place of a file", times, len(lost), "; ".join(lost))


def links(base: Results) -> Row:
    """Link locks, records, tables, minima and scratch names to a file of the user's: it is never changed."""
    precious, lost, times = base.folder.parent / "precious", [], 0
    places = (".lock", "repeat_0/.lock", "repeat_1/.lock", *STORED, ".volumes.csv.x.part", "failures.txt")
    for name in places:
        results = base.copy(f"links_{times}")
        precious.write_text("mine\n")
        path = results.study / name
        path.unlink(missing_ok=True)
        path.symlink_to(precious)
        done, times = run(results), times + 1
        named = done is not None and done.refused("Expected", Path(name).name)
        if named:
            path.unlink()
            done = run(results)
        fine = done is not None and done.code == 0 and results.tables() == base.tables()
        if not fine or precious.read_text() != "mine\n":
            lost.append(name)
    return Row(THEME, "links to a file of the user's: it stays as it is", times, len(lost), "; ".join(lost))


def odd_names(base: Results) -> Row:
    """Add files and folders with odd names: stages and figures' readers pass over them."""
    from minima_volume.analysis import radii, tables

    results, names = base.copy("odd"), (
        "repeat_0/rays/directions_foo_bar.npz", "repeat_0/rays/directions_00025_00025.npz",
        "repeat_0/rays/directions_00050_00000.npz", "repeat_0/rays/directions_99999999999999999999_0.npz",
        "repeat_0/minima/level_foo.safetensors", "repeat_0/minima/level_-1.safetensors", "repeat_foo/volumes.csv",
        "repeat_01/volumes.csv", "repeat_1e3/rays.json", "repeat_0/.odd.part/notes", "repeat_1/rays/.rays.part/notes",
        "\udcff.csv",
    )  # fmt: skip
    for name in names:
        path = results.study / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"odd")
    done = run(results)
    lost = done is None or done.code != 0 or results.tables() != base.tables()
    try:
        with deadline(LIMIT), mock.patch.object(layout, "ROOT", results.folder):
            study = results.study.name
            found = radii.radii("paper", study, 0, tables.volumes("paper", study))
            lost |= len(next(iter(found.values())).logs) != 60
    except (TimeoutError, ValueError, ResultsError):
        lost = True
    return Row(THEME, "files and folders with odd names: passed over", len(names), int(lost))
