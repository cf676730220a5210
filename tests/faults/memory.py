"""Theme 7: with little memory, batches are smaller and radii the same, or a sentence names the settings to lower."""

import csv
import io
import resource
import subprocess
import sys
from pathlib import Path

from tests.faults.sandbox import Row, Sandbox, Tables

HEADROOM = 2**28  # bytes beyond the loaded libraries: enough for stack and heap, not for the rays below
# glibc reserves 64 MiB of addresses for each thread that allocates, which is no memory and depends on the number of cores.
ADDRESSES = {"MALLOC_ARENA_MAX": "1"}
# The products with the first layer take 225 MB for 25 rays, and 9 MB for one.
LARGE = {"base": "9000", "levels": "(0,)", "n_directions": "25", "recipe": "Recipe(epochs=1)"}
# What a row of volumes.csv is about.
KEY = ("study", "repeat", "level", "landscape", "threshold", "metric")
# Both solutions are within 0.002 nats of the exact radius, and tables hold eight digits of volumes of some thousand nats.
TOLERANCE = 0.01  # nats


def smaller_batches(sandbox: Sandbox, study: str, expected: Tables) -> Row:
    """Measure all rays again in the smallest batches, and compare the volumes."""
    for block in sandbox.study(study).rglob("*.npz"):
        block.unlink()
    sandbox.touch()
    done = sandbox.make(study, THREADS="1", MEMORY="1")
    different = different_volumes(expected["volumes.csv"], sandbox.tables(study).get("volumes.csv", b""))
    return Row("memory", f"{study} with MEMORY=1: the same volumes", 1, different + (done.code != 0))


def different_volumes(expected: bytes, found: bytes) -> int:
    """Count the rows of volumes.csv that are missing, extra, or have another status or volume; 1 if none is expected."""
    wanted, here = _rows(expected), _rows(found)
    far = sum(
        a["status"] != b["status"] or not _is_close(a["log_volume"], b["log_volume"])
        for a, b in ((wanted[key], here[key]) for key in wanted.keys() & here.keys())
    )
    return far + len(wanted.keys() ^ here.keys()) + (not wanted)


def _rows(table: bytes) -> dict[tuple[str, ...], dict[str, str]]:
    """Return the rows of volumes.csv by what they are about."""
    return {tuple(row[name] for name in KEY): row for row in csv.DictReader(io.StringIO(table.decode()))}


def _is_close(one: str, other: str) -> bool:
    """Whether two cells hold the same volume, or are both empty."""
    return one == other or bool(one and other and abs(float(one) - float(other)) <= TOLERANCE)


def loaded() -> int:
    """Return the bytes of address space that a stage takes before it loads data."""
    code = (
        "import minima_volume.pipeline.cli, minima_volume.pipeline.volume_estimation, pathlib; "
        "print(pathlib.Path('/proc/self/status').read_text())"
    )
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmPeak"))) * 1024


def too_little(folder: Path) -> Row:
    """Run in an address space that is too small for the default batches, then in the same space with smaller ones."""
    what = "address space for 256 MiB of data: a sentence, then MEMORY=16 works"
    if not Path("/proc/self/status").exists():
        return Row("memory", what, 0, 0, "not done: this system does not report a process's address space")
    sandbox, limit = Sandbox(folder / "memory"), loaded() + HEADROOM
    sandbox.row("modulo_data", **LARGE)
    rays = sandbox.study("modulo_data") / "repeat_0" / "rays.json"
    trained = sandbox.make(str(rays.with_name("minima.json").relative_to(sandbox.folder)), THREADS="1")

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    target = str(rays.relative_to(sandbox.folder))
    first = sandbox.make(target, THREADS="1", prepare=prepare, **ADDRESSES)
    refused = first.refused("error: Expected enough memory", "MEMORY", "THREADS")
    second = sandbox.make(target, THREADS="1", MEMORY="16", prepare=prepare, **ADDRESSES)
    lost = (trained.code != 0) + (not refused) + (second.code != 0)
    return Row("memory", what, 2, lost)
