"""Theme 7: too little memory gives smaller batches with the same radii, or a sentence that names the settings."""

import csv
import io
import resource
import subprocess
import sys
from pathlib import Path

from tests.faults.sandbox import House, Row

HEADROOM = 2**28  # bytes beyond the loaded libraries: a worker's own stack and heap, and not the rays asked for below
# 25 rays keep 225 MB of products with the first layer, and one keeps 9.
LARGE = {"base": "9000", "levels": "(0,)", "n_directions": "25", "recipe": "Recipe(epochs=1)"}


def smaller_batches(house: House, study: str, expected: bytes) -> Row:
    """Rays in the smallest batches: volumes to the solver's tolerance, 0.002 nats each way and eight digits printed."""
    for block in house.study(study).rglob("*.npz"):
        block.unlink()
    house.touch()
    done = house.make(study, THREADS="1", MEMORY="1")
    there, here = (list(csv.DictReader(io.StringIO(text.decode()))) for text in (expected, house.table(study)))
    far = sum(
        a["status"] != b["status"] or abs(float(a["log_volume"] or 0) - float(b["log_volume"] or 0)) > 0.01
        for a, b in zip(there, here, strict=False)
        if a["study"] == study and "log_volume" in a and a["log_volume"] is not None
    )
    return Row(
        "memory", f"{study} with MEMORY=1: the same volumes", 1, far + (done.code != 0 or len(there) != len(here))
    )


def loaded() -> int:
    """Bytes of address space that a stage takes before it has data."""
    code = (
        "import minima_volume.pipeline.cli, minima_volume.pipeline.volume_estimation, pathlib; "
        "print(pathlib.Path('/proc/self/status').read_text())"
    )
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmPeak"))) * 1024


def too_little(folder: Path) -> Row:
    """An address space too small for the batches asked for: a sentence, then smaller batches in the same space."""
    what = "address space for 256 MiB of data: a sentence, then MEMORY=16 goes on"
    if not Path("/proc/self/status").exists():
        return Row("memory", what, 0, 0, "not done: this system does not tell a process's address space")
    house, limit = House(folder / "memory"), loaded() + HEADROOM
    house.row("modulo_data", **LARGE)
    rays = house.study("modulo_data") / "repeat_0" / "rays.json"
    trained = house.make(str(rays.with_name("minima.json").relative_to(house.folder)), THREADS="1")

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    target = str(rays.relative_to(house.folder))
    first = house.make(target, THREADS="1", prepare=prepare)
    told = first.refused("error: Expected enough memory", "MEMORY", "THREADS")
    second = house.make(target, THREADS="1", MEMORY="16", prepare=prepare)
    lost = (trained.code != 0) + (not told) + (second.code != 0)
    return Row("memory", what, 2, lost)
