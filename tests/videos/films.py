"""Stand-ins for drawing processes and stages, and decoded films."""

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np

from minima_volume.networks.minimum import Minimum
from minima_volume.networks.parameters import layout_of
from minima_volume.pipeline.repeat import Repeat
from minima_volume.training.models import initial_parameters
from videos import encode, render

TINY = encode.Quality("tiny", 192, 108, 10, 18, "veryfast")


class OneHand:
    """Draw in this process and count the frames."""

    count = 1

    def __init__(self) -> None:
        self.drawn: list[int] = []

    def pictures(self, scene: Any, states: Sequence[int], size: Any) -> Iterator[bytes]:
        for state in states:
            self.drawn.append(state)
            yield render.picture(scene, state, size.width, size.height)


def frames_of(path: Path) -> np.ndarray:
    """All frames of a film or GIF (n, height, width, 3), decoded by the ffmpeg of imageio-ffmpeg."""
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-fps_mode", "passthrough", "-"]
    done = subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), *raw], capture_output=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, TINY.height, TINY.width, 3)


def described(path: Path) -> str:
    """Return the information of ffmpeg about a file."""
    return subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path)], capture_output=True, text=True).stderr


def some_minima(repeat: Repeat) -> dict[int, Minimum]:
    """Return untrained networks instead of the minima of a repeat."""
    found = [initial_parameters(repeat.study.model, seed) for seed in range(len(repeat.study.levels))]
    return {level: Minimum.of(p, layout_of(p)) for level, p in zip(repeat.study.levels, found, strict=True)}
