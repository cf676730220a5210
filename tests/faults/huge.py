"""Theme 9: files of gigabytes and archives that expand to them, among the results and in DATA_DIR, are not read."""

import gzip
import os
import resource
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from minima_volume.errors import DataError, ResultsError
from tests.faults.sandbox import Row
from tests.faults.stages import Results
from tests.faults.strange import LIMIT, STORED, THEME, deadline, remove, run


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
