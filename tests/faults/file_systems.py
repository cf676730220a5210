"""Theme 9: file systems without locks, with few files, and without power after a rename; one digit that changes."""

import errno
import os
import time
from pathlib import Path
from unittest import mock

from minima_volume.errors import ResultsError
from minima_volume.storage import archives
from tests.faults.disks import mounted, remount
from tests.faults.sandbox import Row
from tests.faults.stages import GATHER, Results
from tests.faults.strange import LIMIT, THEME, run


def few_files(base: Results) -> Row:
    """Run all stages on disks for a few files only, as a quota leaves, then allow more: a sentence, and the same tables."""
    numbers, lost, what = (5, 9, 14, 20, 27), [], "a disk on which only some more files may be made, then more"
    for number in numbers:
        results = Results(base.folder.parent / f"few_{number}")
        with mounted(results.folder, 2**16, number) as possible:
            if not possible:
                return Row(THEME, what, 0, 0, "not done: this user may not mount a disk")
            done = run(results)
            named = done is not None and done.refused("Expected to write", "No space")
            damaged = results.damaged()
            remount(results.folder, "nr_inodes=1000")
            done = run(results)
            if not named or damaged or done is None or done.code or results.tables() != base.tables():
                lost.append(f"{number} files")
    return Row(THEME, what, len(numbers), len(lost), "; ".join(lost))


def lock_errors(base: Results) -> Row:
    """Let the file system have no locks: every stage says so at once and what to do."""
    lost, times = [], 0
    for number in (errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF, errno.ENOSYS):
        for stage in ("train_models", "volume_estimation", GATHER):
            results, started = base.copy(f"locks_{times}"), time.monotonic()
            with mock.patch("fcntl.flock", side_effect=OSError(number, os.strerror(number))):
                done = run(results, stage)
            times += 1
            said = done is not None and done.refused("Expected a file system with locks", "local disk")
            if not said or time.monotonic() - started > LIMIT or results.tables() != base.tables():
                lost.append(f"{errno.errorcode[number]} {stage}")
    return Row(THEME, "a file system without locks: a sentence", times, len(lost), "; ".join(lost))


def unsynced(base: Results) -> Row:
    """Count the calls of a whole run: each file is on the disk before its name is, and the name before the run goes on."""
    results, calls = Results(base.folder.parent / "unsynced"), list[tuple[str, object]]()
    fsync, rename = os.fsync, os.replace

    def recorded_fsync(handle: int) -> None:
        calls.append(("fsync", os.fstat(handle).st_ino))
        fsync(handle)

    def recorded_rename(source: Path, target: Path) -> None:
        calls.append(("rename", (Path(source).stat().st_ino, Path(target).parent.stat().st_ino)))
        rename(source, target)

    with mock.patch("os.fsync", recorded_fsync), mock.patch("os.replace", recorded_rename):
        done = run(results)
    renames = [(i, *what) for i, (call, what) in enumerate(calls) if call == "rename" and isinstance(what, tuple)]
    lost = sum(
        ("fsync", file) not in calls[max(0, i - 3) : i] or ("fsync", place) not in calls[i + 1 : i + 4]
        for i, file, place in renames
    )
    lost += done is None or done.code != 0 or len(renames) < len(results.files()) - 2
    return Row(THEME, "a loss of power after each rename: file and name are on the disk", len(renames), lost)


def records(base: Results) -> Row:
    """Change one value in each record without breaking its syntax: it is not believed."""
    lost, times = [], 0
    for path in base.files():
        text = path.read_text() if path.suffix == ".json" else ""
        for place in [i for i, letter in enumerate(text) if letter.isdecimal()][:: max(1, len(text) // 40)]:
            copy = base.folder.parent / "records" / path.relative_to(base.folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            digit = str((int(text[place]) + 1) % 10)
            copy.write_text(text[:place] + digit + text[place + 1 :])
            times += 1
            try:
                archives.read_json(copy)
            except ResultsError:
                continue
            lost.append(f"{path.name} {text[place - 20 : place + 1]!r}")
    return Row(THEME, "one digit changed in a record: refused", times, len(lost), "; ".join(lost[:5]))
