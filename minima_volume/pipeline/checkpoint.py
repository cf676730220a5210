"""Trainings that were stopped: where they stood is kept once a minute, so that hours of one minimum are not lost."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from minima_volume.pipeline.settings import clock, device
from minima_volume.storage import archives
from minima_volume.training.trainer import TrainingState

EVERY = 60.0  # seconds


@dataclass
class Checkpoint:
    """The progress of one group of networks that train together, in one file until they are done, and their stopwatch.

    `fingerprint` covers everything that the steps depend on: progress of another training is never gone on with.
    """

    path: Path
    fingerprint: str
    written: float = field(default_factory=time.monotonic)
    begun: float = field(default_factory=clock)

    def progress(self, epochs: Sequence[int]) -> TrainingState | None:
        """Where the training stood, if that is before every one of the epochs that are wanted of it."""
        found = archives.read_if_current(archives.read_tensors, self.path, self.fingerprint)
        if found is None or found[0]["epoch"] >= min(epochs):
            return None
        info, tensors = found
        self.begun = clock() - info["seconds"]
        here = {name: tensor.to(device()) for name, tensor in tensors.items()}
        return TrainingState(info["epoch"], here.pop("flat"), here)

    def keep(self, progress: TrainingState) -> None:
        """Write the progress if the last one is old."""
        if time.monotonic() - self.written < EVERY:
            return
        info = {"fingerprint": self.fingerprint, "epoch": progress.epoch, "seconds": clock() - self.begun}
        tensors = {"flat": progress.flat, **progress.moments}
        archives.write_tensors(self.path, info, {name: tensor.detach().cpu() for name, tensor in tensors.items()})
        self.written = time.monotonic()

    def lap(self) -> float:
        """Seconds of work since the last lap, those before a stop included."""
        seconds, self.begun = clock() - self.begun, clock()
        return seconds

    def done(self) -> None:
        """Remove the file: the minima are stored."""
        self.path.unlink(missing_ok=True)
