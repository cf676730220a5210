"""Settings of a run: device, clock, numbers of workers and memory."""

import os
import time

import torch

from minima_volume.crossings.sweep import MEMORY
from minima_volume.errors import UserError
from minima_volume.networks.precision import use_full_float32


def positive(name: str, text: str) -> int:
    """A whole number above 0 from a setting; raises UserError with the setting's name."""
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"Expected {name} to be a whole number above 0, got '{text}'.")
    return int(text)


def devices() -> dict[str, bool]:
    """Every device by name, and whether this machine has it."""
    return {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}


def device() -> torch.device:
    """The device named by DEVICE (default cpu), checked; float32 is whole on it from here on."""
    name, available = os.environ.get("DEVICE") or "cpu", devices()
    if name not in available:
        raise UserError(f"Expected DEVICE to be one of {', '.join(available)}, got '{name}'.")
    if not available[name]:
        raise UserError(f"Expected a device that this machine has, got DEVICE={name}: use DEVICE=cpu.")
    use_full_float32()
    return torch.device(name)


def clock() -> float:
    """Seconds, to be subtracted within one task: of the thread's own work on a CPU, whatever else the machine does."""
    return time.thread_time() if device().type == "cpu" else time.perf_counter()


def workers() -> int:
    """THREADS, by default one per core; a GPU takes one task at a time."""
    if device().type != "cpu":
        return 1
    return positive("THREADS", os.environ["THREADS"]) if os.environ.get("THREADS") else os.cpu_count() or 1


def memory() -> int:
    """Bytes that the rays of one worker may keep: MEMORY in MiB, with a default that no number of THREADS changes."""
    return positive("MEMORY", os.environ["MEMORY"]) * 2**20 if os.environ.get("MEMORY") else MEMORY
