"""Theme 9: pipes, links, huge files, missing locks and odd names are refused or replaced; nothing waits or is clobbered."""

import errno
import gzip
import os
import resource
import signal
import struct
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from unittest import mock

from minima_volume.errors import DataError, ResultsError
from minima_volume.storage import archives, layout
from tests.faults.disks import mounted, remount
from tests.faults.sandbox import Done, Row
from tests.faults.stages import GATHER, Results

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


def zeros(path: Path) -> None:
    """Replace a minimum by one with a valid header for 6 GB of zeros, which take no place on the disk."""
    count = 6 * 2**28
    header = b'{"__metadata__":{"info":"{}"},"x":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}' % (
        count,
        4 * count,
    )
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(header)) + header)
        stream.truncate(8 + len(header) + 4 * count)


def zip_bomb(path: Path) -> None:
    """Replace a block by an archive of some MB that expands to 2 GB of zeros."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(2**5):
            member.write(bytes(2**26))


def long_text(path: Path) -> None:
    """Replace a record or a table by 6 GB of zeros, which take no place on the disk."""
    with path.open("wb") as stream:
        stream.truncate(6 * 2**30)


HUGE: tuple[tuple[Callable[[Path], None], str], ...] = (
    (zeros, STORED[0]), (zeros, STORED[1]), (zip_bomb, STORED[2]), (long_text, STORED[2]), (long_text, STORED[4]),
    (long_text, STORED[6]), (long_text, STORED[8]), (long_text, "run.json"),
)  # fmt: skip


def gzip_bomb(path: Path) -> None:
    """Write an archive of some MB that expands to 2 GB of zeros."""
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for _ in range(2**5):
            stream.write(bytes(2**26))


def data_files(base: Results) -> Row:
    """Put something else in the place of each published file in DATA_DIR: it is refused unread, or by its checksum."""
    from minima_volume.training import datasets

    lost, times, root = [], 0, base.folder.parent / "data"
    images = datasets.IDX_SETS["mnist"]
    sets = {
        "MNIST/raw": (images.checksums(), lambda: datasets.load_idx(images, root, 0)),
        "cifar-10-batches-py": (datasets.CIFAR10_SHA256, lambda: datasets.load_cifar10(root, 0)),
    }
    bomb = base.folder.parent / "bomb.gz"
    gzip_bomb(bomb)
    attacks: tuple[Callable[[Path], object], ...] = (
        os.mkfifo, Path.mkdir, long_text, lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to(bomb),
    )  # fmt: skip
    for place, (sums, load) in sets.items():
        folder_ = root / place
        folder_.mkdir(parents=True)
        for name in sums:
            (folder_ / name).write_bytes(b"junk")
        for name in sums:
            for attack in attacks:
                (folder_ / name).unlink()
                attack(folder_ / name)
                times += 1
                try:
                    with deadline(LIMIT), little_space(2**31):
                        load()
                except (DataError, ResultsError):
                    fine = True
                except Exception:  # no sentence, or it hangs
                    fine = False
                if not fine:
                    lost.append(f"{name} {times}")
                remove(folder_ / name)
                (folder_ / name).write_bytes(b"junk")
    what = "pipes, folders, devices, 6 GB, archives that expand to 2 GB in DATA_DIR"
    return Row(THEME, what, times, len(lost), "; ".join(lost))


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


def peak() -> int:
    """Return the bytes of memory that this process has at most taken since `forget_peak`."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    """Let the peak be what is taken now."""
    Path("/proc/self/clear_refs").write_text("5")


@contextmanager
def little_space(more: int) -> Iterator[None]:
    """Allow some bytes of address space more than now, so that a reader which falls for a huge file stops."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmSize"))
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (int(line.split()[1]) * 1024 + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def huge(base: Results) -> Row:
    """Replace stored files by huge ones: they are not read, and made again."""
    what = "files of 6 GB and archives that expand to 2 GB: not read, made again"
    if not Path("/proc/self/clear_refs").exists():
        return Row(THEME, what, 0, 0, "not done: this system does not report a process's memory")
    lost, results, most = [], base.copy("huge"), 0
    for attack, name in HUGE:
        attack(results.study / name)
        forget_peak()
        before = peak()
        with little_space(2**31):
            done = run(results)
        most = max(most, peak() - before)
        if done is None or done.code or results.tables() != base.tables() or peak() - before > 2**29:
            lost.append(f"{attack.__name__} {name}")
            results = base.copy(f"huge_{len(lost)}")
    return Row(THEME, what, len(HUGE), len(lost), "; ".join(lost) or f"at most {most >> 20} MiB more than before")


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
