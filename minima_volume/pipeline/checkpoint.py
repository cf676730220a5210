"""Checkpoints: training pauses once a minute to have its state written, so that a stopped run loses little."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from minima_volume.pipeline.settings import clock
from minima_volume.storage import archives
from minima_volume.training.trainer import TrainingState

EVERY = 60.0  # seconds


@dataclass(frozen=True)
class Progress:
    """Unfinished training.

    Attributes:
        state: The state after an epoch, on the CPU.
        seconds: Seconds of work since the last minimum.
    """

    state: TrainingState
    seconds: float


class Paused(Exception):
    """Ends a part of the training that took long enough.

    Args:
        progress: What the next part starts from.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress


class Stopwatch:
    """Seconds of work of networks that train together, and when they pause.

    Args:
        device: Where they are trained.
        before: Seconds of work since the last minimum, before a pause or a stop.
    """

    def __init__(self, device: torch.device, before: float = 0.0) -> None:
        self.device, self.started = device, time.monotonic()
        self.begun = clock(device) - before

    def lap(self) -> float:
        """Return the seconds of work since the last lap, and begin the next lap."""
        now = clock(self.device)
        seconds, self.begun = now - self.begun, now
        return seconds

    def pause(self, state: TrainingState) -> None:
        """End this part of the training if it is at least EVERY seconds old.

        Raises:
            Paused: It is.
        """
        if time.monotonic() - self.started < EVERY:
            return
        moments = {name: tensor.detach().cpu().clone() for name, tensor in state.moments.items()}
        here = TrainingState(state.epoch, state.flat.detach().cpu().clone(), moments)
        raise Paused(Progress(here, clock(self.device) - self.begun))


@dataclass(frozen=True)
class Checkpoint:
    """The file of one group of networks that train together.

    Attributes:
        path: The file; it exists only while the training is unfinished.
        fingerprint: Covers everything that the training steps depend on; other checkpoints are ignored.
    """

    path: Path
    fingerprint: str

    def read(self, epochs: Sequence[int]) -> Progress | None:
        """Return what was written, or None if there is nothing or it is past the first requested epoch.

        Args:
            epochs: Epochs whose minima are still missing.
        """
        found = archives.read_if_current(archives.read_tensors, self.path, self.fingerprint)
        if found is None or found[0]["epoch"] >= min(epochs):
            return None
        info, tensors = found
        return Progress(TrainingState(info["epoch"], tensors.pop("flat"), tensors), info["seconds"])

    def write(self, progress: Progress) -> None:
        """Write the state of unfinished training."""
        state = progress.state
        info = {"fingerprint": self.fingerprint, "epoch": state.epoch, "seconds": progress.seconds}
        archives.write_tensors(self.path, info, {"flat": state.flat, **state.moments})

    def remove(self) -> None:
        """Remove the file once the minima are stored."""
        self.path.unlink(missing_ok=True)
