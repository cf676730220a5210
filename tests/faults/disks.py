"""Theme 3: a disk that is full or read-only gives a sentence, and no half file that later counts as done."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.sandbox import House, Row

SAID = "Expected to write"


def small_files(study: str, expected: bytes, limits: tuple[int, ...], folder: Path) -> Row:
    """A limit on the size of any file, which fails a write half-way as a full disk does; then without it."""
    lost = 0
    for limit in limits:
        house = House(folder / f"limit_{limit}")

        def prepare(limit: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

        lost += not house.make(study, THREADS="1", prepare=prepare).refused("error: ")
        lost += _goes_on(house, study, expected)
    kib = ", ".join(f"{limit / 1024:g}" for limit in limits)
    return Row("disk", f"no file over {kib} KiB, then without the limit", len(limits), lost)


def _goes_on(house: House, study: str, expected: bytes) -> int:
    """Things lost when the same command runs again."""
    torn = len(house.torn(study))
    return torn + (house.make(study, THREADS="1").code != 0 or house.table(study) != expected)


@contextmanager
def mounted(folder: Path, kib: int) -> Iterator[bool]:
    """A file system of `kib` KiB in memory at `folder`; False where this user may not mount one."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        done = False
    try:
        yield done
    finally:
        if done:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    """Other options for what is mounted at a folder."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def full(study: str, expected: bytes, kib: int, folder: Path) -> Row:
    """A results folder on a disk that is too small, then made larger."""
    house, what = House(folder / f"full_{kib}"), f"results on a disk of {kib} KiB, then enlarged"
    with mounted(house.folder / "results", kib) as possible:
        if not possible:
            return Row("disk", what, 0, 0, "not done: this user may not mount a small disk")
        lost = int(not house.make(study, THREADS="1").refused("error: "))
        remount(house.folder / "results", "size=100m")
        lost += _goes_on(house, study, expected)
    return Row("disk", what, 1, lost)


def locked(study: str, expected: bytes, folder: Path) -> Row:
    """A results folder that may not be written, then may."""
    house, what = House(folder / "locked"), "results folder read-only, then unlocked"
    place = house.study(study) / "repeat_0"
    with mounted(place, 10_000) as possible:
        if possible:
            remount(place, "ro")
        elif os.geteuid() == 0:
            return Row("disk", what, 0, 0, "not done: modes do not bind root, who may not mount here")
        else:
            place.chmod(0o555)
        lost = int(not house.make(study, THREADS="1").refused(f"{SAID} ", "repeat_0"))
        if possible:
            remount(place, "rw")
        else:
            place.chmod(0o755)
        lost += _goes_on(house, study, expected)
    return Row("disk", what, 1, lost, "read-only mount" if possible else "mode 0555")
