"""Checkpoints of unfinished training, written once a minute, so that a stopped run loses little."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from minima_volume.pipeline.settings import clock
from minima_volume.storage import archives
from minima_volume.training.trainer import TrainingState

EVERY = 60.0  # seconds


@dataclass
class Checkpoint:
    """The checkpoint file and the stopwatch of one group of networks that train together.

    Attributes:
        path: The file; it exists only while the training is unfinished.
        fingerprint: Covers everything that the training steps depend on; other checkpoints are ignored.
        device: Where the networks are trained.
        written: When the file was last written, in seconds of `time.monotonic`.
        begun: When the current lap began, in seconds of `clock`.
    """

    path: Path
    fingerprint: str
    device: torch.device
    written: float = field(default_factory=time.monotonic)
    begun: float = field(init=False)

    def __post_init__(self) -> None:
        self.begun = clock(self.device)

    def progress(self, epochs: Sequence[int]) -> TrainingState | None:
        """Return the saved state, or None if there is none or it is past the first requested epoch.

        Args:
            epochs: Epochs whose minima are still missing.
        """
        found = archives.read_if_current(archives.read_tensors, self.path, self.fingerprint)
        if found is None or found[0]["epoch"] >= min(epochs):
            return None
        info, tensors = found
        self.begun = clock(self.device) - info["seconds"]
        here = {name: tensor.to(self.device) for name, tensor in tensors.items()}
        return TrainingState(info["epoch"], here.pop("flat"), here)

    def keep(self, progress: TrainingState) -> None:
        """Write the state if the last one is at least EVERY seconds old."""
        if time.monotonic() - self.written < EVERY:
            return
        seconds = clock(self.device) - self.begun
        info = {"fingerprint": self.fingerprint, "epoch": progress.epoch, "seconds": seconds}
        tensors = {"flat": progress.flat, **progress.moments}
        archives.write_tensors(self.path, info, {name: tensor.detach().cpu() for name, tensor in tensors.items()})
        self.written = time.monotonic()

    def lap(self) -> float:
        """Return the seconds of work since the last lap, including those before a stop, and begin the next lap."""
        now = clock(self.device)
        seconds, self.begun = now - self.begun, now
        return seconds

    def done(self) -> None:
        """Remove the file once the minima are stored."""
        self.path.unlink(missing_ok=True)
