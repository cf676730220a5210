"""Theme 3: on a full or read-only disk a command fails with a sentence and leaves no partial file."""

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.sandbox import Row, Sandbox, Tables

SAID = "Expected to write"


def small_files(study: str, expected: Tables, limits: tuple[int, ...], folder: Path) -> Row:
    """Run with a limit on file sizes, which stops a write half-way as a full disk does; then run without it."""
    lost = 0
    for limit in limits:
        sandbox = Sandbox(folder / f"limit_{limit}")

        def prepare(limit: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

        lost += not sandbox.make(study, THREADS="1", prepare=prepare).refused("error: ")
        lost += _continue(sandbox, study, expected)
    kib = ", ".join(f"{limit / 1024:g}" for limit in limits)
    return Row("disk", f"no file over {kib} KiB, then without the limit", len(limits), lost)


def _continue(sandbox: Sandbox, study: str, expected: Tables) -> int:
    """Run the same command again; return the number of damaged files and of failures."""
    damaged = len(sandbox.damaged(study))
    return damaged + (sandbox.make(study, THREADS="1").code != 0 or sandbox.tables(study) != expected)


@contextmanager
def mounted(folder: Path, kib: int, files: int = 0) -> Iterator[bool]:
    """Mount a file system of `kib` KiB in memory at `folder`, for a number of files; yield whether this user may."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k,nr_inodes={files}", "tmpfs", str(folder)]  # 0: any number
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
    """Change the options of what is mounted at a folder."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def full(study: str, expected: Tables, kib: int, folder: Path) -> Row:
    """Run with results on a disk that is too small, then enlarge the disk and run again."""
    sandbox, what = Sandbox(folder / f"full_{kib}"), f"results on a disk of {kib} KiB, then enlarged"
    with mounted(sandbox.folder / "results", kib) as possible:
        if not possible:
            return Row("disk", what, 0, 0, "not done: this user may not mount a disk")
        lost = int(not sandbox.make(study, THREADS="1").refused("error: "))
        remount(sandbox.folder / "results", "size=100m")
        lost += _continue(sandbox, study, expected)
    return Row("disk", what, 1, lost)


def full_pictures(sandbox: Sandbox, study: str) -> Row:
    """Draw pictures on a disk that is too small, of one study and of all, then enlarge it: no picture is cut or omitted."""
    what, place, lost = "pictures on a full disk, then enlarged", sandbox.folder / "figs" / "quick", []
    wanted = {path.name: path.read_bytes() for path in place.iterdir()} if sandbox.make("figs").code == 0 else {}
    shutil.rmtree(place)
    for target in (study, "figs"):
        with mounted(place, 40) as possible:
            if not possible:
                return Row("disk", what, 0, 0, "not done: this user may not mount a disk")
            if not sandbox.make(target, THREADS="1").refused(SAID, "figs/quick", "No space"):
                lost.append(f"make {target}")
            remount(place, "size=100m")
            done = sandbox.make("figs", THREADS="1")
            if done.code or {path.name: path.read_bytes() for path in place.iterdir()} != wanted:
                lost.append(f"make {target}, then make figs")
        place.rmdir()
    return Row("disk", what, 2, len(lost) + (not wanted), "; ".join(lost))


def locked(study: str, expected: Tables, folder: Path) -> Row:
    """Run with a read-only results folder, then make it writable and run again."""
    sandbox, what = Sandbox(folder / "locked"), "results folder read-only, then unlocked"
    place = sandbox.study(study) / "repeat_0"
    with mounted(place, 10_000) as possible:
        if possible:
            remount(place, "ro")
        elif os.geteuid() == 0:
            return Row("disk", what, 0, 0, "not done: root ignores modes, and may not mount here")
        else:
            place.chmod(0o555)
        lost = int(not sandbox.make(study, THREADS="1").refused(f"{SAID} ", "repeat_0"))
        if possible:
            remount(place, "rw")
        else:
            place.chmod(0o755)
        lost += _continue(sandbox, study, expected)
    return Row("disk", what, 1, lost, "read-only mount" if possible else "mode 0555")
