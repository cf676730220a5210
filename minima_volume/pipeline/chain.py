"""Run a make of all stages of one study, while no other make works on that study.

What was asked for is compared by content, not by file times, before make compares times.
"""

import argparse
import os
import sys
import time
from hashlib import sha256
from pathlib import Path

from minima_volume.errors import UserError
from minima_volume.pipeline.parent import end_what_follows_with_parent
from minima_volume.storage import atomic, layout, tables
from minima_volume.text import prepare_streams

ASKED = ".asked"  # make compares its time with those of the results
CHAIN = ".make"  # the folder whose lock stands for the chain of stages
SETTINGS = ("DIRECTIONS", "LEVELS")
PICTURES = Path("figs")  # as in the Makefile
AHEAD = 60.0  # seconds; clocks of file servers differ by less


def write_asked(folder: Path, experiment: Path) -> None:
    """Write what was asked for if it differs from the last time, or if results are from the future.

    A newer file lets make run all stages; each compares fingerprints and computes what does not fit.

    Args:
        folder: The results of the study.
        experiment: The folder of its config.py and its stages.

    Raises:
        ResultsError: A file cannot be written.
    """
    path = folder / ASKED
    given = " ".join(f"{name}={os.environ[name]}" for name in SETTINGS if os.environ.get(name))
    sources = sorted(experiment.glob("*.py"))
    sums = [f"{sha256(atomic.read_bytes(source)).hexdigest()} {source.name}" for source in sources]
    wanted = "\n".join([given, *sums, ""])
    try:
        found = atomic.read_bytes(path).decode()
    except (OSError, ValueError, UserError):  # missing, or not the file that was written
        found = ""
    if _reset_future(folder) or found != wanted:
        atomic.write_text(path, wanted)


def _reset_future(folder: Path) -> bool:
    """Give files whose time is in the future the oldest time there is; return whether there were any."""
    late = [path for path in folder.rglob("*") if path.lstat().st_mtime > time.time() + AHEAD]
    for path in late:
        os.utime(path, (0, 0), follow_symlinks=False)
    return bool(late)


def expire_picture(table: Path, picture: Path) -> None:
    """Give the picture of a table the oldest time there is, if the table changed later or the picture is from the future.

    Args:
        table: The table, whose file time may be older than its content, as that of a copy.
        picture: The picture, which make draws again if it is older than the table. Neither need exist.
    """
    if picture.exists() and table.exists():
        drawn = picture.stat().st_mtime
        if drawn > time.time() + AHEAD or drawn < tables.changed_at(table):
            os.utime(picture, (0, 0))


def main() -> None:
    """Lock the study, write what was asked for, and become the command, which keeps the lock."""
    prepare_streams()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study")
    parser.add_argument("scale")
    parser.add_argument("experiment", type=Path, help="the folder of its config.py")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run, such as make")
    given = parser.parse_args()
    folder = layout.study_folder(given.scale, given.study)
    try:
        with atomic.lock_folder(folder / CHAIN):
            write_asked(folder, given.experiment)
            for style in ("", "talk"):
                expire_picture(folder / layout.VOLUMES, PICTURES / given.scale / style / f"{given.study}.pdf")
            # The lock lasts until the last process that has its file open ends: a killed make frees it with its stages.
            for descriptor in range(3, 256):
                try:
                    os.set_inheritable(descriptor, True)
                except OSError:
                    continue
            end_what_follows_with_parent()
            os.execvp(given.command[0], given.command)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
