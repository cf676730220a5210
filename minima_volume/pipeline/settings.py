"""Settings of a run, read from the environment once.

Torch is imported inside functions, because a program that needs only the number of threads should not wait for it.
"""

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from minima_volume.errors import UserError

if TYPE_CHECKING:
    import torch

SCALES = ("quick", "paper")
STARTED = ("local", "slurm")  # kinds of clusters that make starts
# Far above all studies and machines; larger numbers are mistakes, and would fill the memory before anything runs.
MOST = {"DIRECTIONS": 1_000_000, "REPEATS": 10_000, "LEVELS": 10_000, "THREADS": 4096, "MEMORY": 2**24, "JOBS": 10_000}
LONGEST = 18  # digits of a number that is worth converting


def positive(name: str, text: str) -> int:
    """Parse a setting that must be a whole number above 0.

    Args:
        name: The setting's name, a key of MOST.
        text: Its value.

    Raises:
        UserError: The text is not a whole number above 0, or is larger than any use of the setting.
    """
    long = len(text) > LONGEST
    if not text.isdecimal() or (not long and int(text) < 1):
        raise UserError(f"Expected {name} to be a whole number above 0, got '{text}': correct it, or omit it.")
    if long or int(text) > MOST[name]:
        raise UserError(f"Expected {name} to be at most {MOST[name]}, got {text[:LONGEST]}{'...' * long}: lower it.")
    return int(text)


def check_scale(scale: str) -> str:
    """Return the scale if it is one of SCALES.

    Raises:
        UserError: It is not.
    """
    if scale not in SCALES:
        raise UserError(f"Expected SCALE to be one of {', '.join(SCALES)}, got '{scale}': correct it, or omit it.")
    return scale


def devices() -> dict[str, bool]:
    """Return every supported device by name, and whether this machine has it."""
    import torch

    return {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}


def device(environ: Mapping[str, str] = os.environ, *, here: bool = True) -> "torch.device":
    """Return the device that DEVICE names; the default is the CPU.

    Args:
        environ: Variables by name.
        here: Whether this machine must have it.

    Raises:
        UserError: DEVICE names no supported device, or one that this machine lacks.
    """
    import torch

    name, available = environ.get("DEVICE") or "cpu", devices()
    if name not in available:
        raise UserError(f"Expected DEVICE to be one of {', '.join(available)}, got '{name}': correct it, or omit it.")
    if here and not available[name]:
        raise UserError(f"Expected a device that this machine has, got DEVICE={name}: use DEVICE=cpu.")
    return torch.device(name)


def threads(environ: Mapping[str, str] = os.environ) -> int:
    """Return THREADS; the default is one per core.

    Raises:
        UserError: THREADS is not a whole number above 0.
    """
    text = environ.get("THREADS")
    return positive("THREADS", text) if text else os.cpu_count() or 1


def cluster(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return CLUSTER: None for threads of this process, a kind of cluster to start, or the address of a scheduler.

    Raises:
        UserError: It is neither.
    """
    text = environ.get("CLUSTER") or None
    if text is None or text in STARTED or re.fullmatch(r"tcp://[\w.\-\[\]:]+:\d{1,5}", text, re.ASCII):
        return text
    raise UserError(
        f"Expected CLUSTER to be {', '.join(STARTED)} or an address such as tcp://head:8786, got '{text}': correct it, or "
        "omit it."
    )


def jobs(environ: Mapping[str, str] = os.environ) -> int:
    """Return JOBS, how many jobs are queued; the default is 1.

    Raises:
        UserError: JOBS is not a whole number above 0.
    """
    text = environ.get("JOBS")
    return positive("JOBS", text) if text else 1


def slurm_options(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return the options in SLURM, one for each line of a job script.

    Raises:
        UserError: It holds something else than options.
    """
    found: list[str] = []
    for word in environ.get("SLURM", "").split():
        if not re.fullmatch(r"[\w.,:=/+%@*\[\]\-]+", word, re.ASCII) or not (word.startswith("-") or found):
            raise UserError(
                f"Expected SLURM to be options of sbatch such as --partition=gpu --time=4:00:00, got '{word}': correct it."
            )
        if word.startswith("-"):
            found.append(word)
        else:
            found[-1] += f" {word}"
    return found


@dataclass(frozen=True)
class Settings:
    """What a user may set for one run; every value is checked.

    Attributes:
        scale: `quick` or `paper` (SCALE, default `paper`); the command line may name another one.
        device: Where networks are trained and measured (DEVICE, default the CPU).
        threads: Number of threads or processes (THREADS, default one per core).
        memory: Bytes that the rays of one worker may keep (MEMORY in MiB). The default does not depend on `threads`.
        directions: Number of directions instead of the study's own (DIRECTIONS), or None.
        levels: How many of a study's levels to run, from the first (LEVELS), or None for all.
        data_dir: The folder of the data sets (DATA_DIR, default `data`).
        debug: Whether an error shows its traceback (DEBUG).
        cluster: The scheduler whose workers compute (CLUSTER), or None for threads of this process.
        worker_device: Where those workers compute (DEVICE); this process then has its networks on the CPU.
    """

    scale: str
    device: "torch.device"
    threads: int
    memory: int
    directions: int | None
    levels: int | None
    data_dir: Path
    debug: bool
    cluster: str | None = None
    worker_device: "torch.device | None" = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read and check all settings; a variable that is empty counts as not set.

        Args:
            environ: Variables by name. An empty mapping gives the defaults.

        Raises:
            UserError: A value is invalid.
        """
        from minima_volume.crossings.sweep import MEMORY

        def whole(name: str) -> int | None:
            return positive(name, environ[name]) if environ.get(name) else None

        mebibytes, scheduler = whole("MEMORY"), cluster(environ)
        if scheduler in STARTED:
            raise UserError(f"Expected CLUSTER={scheduler} to be started by make, got it in a stage: run make.")
        data_dir = Path(environ.get("DATA_DIR") or "data").expanduser()
        return cls(
            scale=check_scale(environ.get("SCALE") or "paper"),
            device=device({}) if scheduler else device(environ),
            threads=threads(environ),
            memory=MEMORY if mebibytes is None else mebibytes * 2**20,
            directions=whole("DIRECTIONS"),
            levels=whole("LEVELS"),
            # Workers run in other folders.
            data_dir=data_dir.absolute() if scheduler else data_dir,
            debug=bool(environ.get("DEBUG")),
            cluster=scheduler,
            worker_device=device(environ, here=False) if scheduler else None,
        )

    def on_worker(self) -> "Settings":
        """Return the settings that a worker of the cluster computes with."""
        return self if self.worker_device is None else replace(self, device=self.worker_device)

    @property
    def workers(self) -> int:
        """Number of tasks to run at once: `threads` on the CPU, and 1 on a GPU."""
        return self.threads if self.device.type == "cpu" else 1


def clock(device: "torch.device") -> float:
    """Return seconds, for differences within one task.

    On the CPU it is the time that the calling thread worked, so other programs on the machine do not count.
    """
    return time.thread_time() if device.type == "cpu" else time.perf_counter()
