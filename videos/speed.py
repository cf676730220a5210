"""Measure how fast films are made, and how the time divides into drawing, encoding and waiting."""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minima_volume.landscapes.plane import Plane
from minima_volume.landscapes.surface import Mark
from minima_volume.planes import study_plane
from minima_volume.planes.study_plane import StudyPlane
from videos import encode, render
from videos.encode import Quality
from videos.render import Film, FramePool
from videos.surface_3d import Surface
from videos.surface_contours import Contours

SIDE = 61


@dataclass(frozen=True)
class Speed:
    """Seconds that a film takes.

    Attributes:
        name: Name and size of the film.
        n_frames: Number of frames.
        processes: Number of drawing processes.
        drawing: Seconds for the frames alone, in one process.
        blank: Seconds for blank frames of the same size through the encoder.
        phases: Seconds of each phase of the process that feeds ffmpeg; they sum to the whole.
    """

    name: str
    n_frames: int
    processes: int
    drawing: float
    blank: float
    phases: dict[str, float]

    @property
    def whole(self) -> float:
        """Return the seconds for the film with its GIF."""
        return sum(self.phases.values())

    @property
    def ratio(self) -> float:
        """Return the whole divided by blank frames plus drawing."""
        return self.whole / (self.blank + self.drawing)

    def report(self) -> str:
        """Return the numbers and the profile as lines of text."""
        lines = [
            f"{self.name}: {self.n_frames} frames with {self.processes} drawing processes in {self.whole:.1f} s, "
            f"{self.n_frames / self.whole:.1f} frames per second",
            f"  drawing alone in one process {self.drawing:.1f} s, blank frames {self.blank:.1f} s: "
            f"film = {self.ratio:.2f} × (blank + drawing)",
        ]
        return "\n".join([*lines, *(f"  {share:6.1%}  {name}" for name, share in self._shares())])

    def _shares(self) -> list[tuple[str, float]]:
        return [(name, seconds / self.whole) for name, seconds in self.phases.items()]


def example(path: Path, n_sizes: int, side: int = SIDE) -> StudyPlane:
    """Store a plane with three basins that rise one after the other, and return it. It needs no training."""
    x = np.linspace(-0.5, 1.5, side)
    sizes = np.unique(np.geomspace(30, 30 + 10 * n_sizes, n_sizes).round().astype(np.int64))
    places, across = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)), np.stack(np.meshgrid(x, x))
    rise = np.linspace(0, 4, len(sizes))

    def loss(nodes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return losses (sizes, …) at nodes (2, …)."""
        squares = [sum((nodes[i] - place[i]) ** 2 for i in (0, 1)) for place in places]
        basins = [1e-3 * np.exp(9 * square + np.multiply.outer(lag * rise, np.ones_like(square)))
                  for square, lag in zip(squares, (2, 1, 0), strict=True)]  # fmt: skip
        found: NDArray[np.float64] = 1 / sum(1 / (basin + 1e-3) for basin in basins)
        return found

    nan = (float("nan"),) * len(sizes)
    marks = [Mark(letter, *place, 0.0, tuple(loss(np.array(place)).tolist()), nan)
             for letter, place in zip("ABC", places, strict=True)]  # fmt: skip
    mean_loss = loss(across)
    plane = Plane(
        mean_loss=mean_loss, error_rate=np.full_like(mean_loss, np.nan), loss_se=np.zeros(across.shape[1:]),
        sizes=tuple(sizes.tolist()), metric="loss", batch_norm="frozen", dtype="float64", rounding=0.0, notes=(), x=x, y=x,
        models=tuple(marks), tracks=(), angle=90.0, axis_names=("from A towards B", "orthogonal to it"), coordinates="raw",
        eigenvalues=(), explained=(), threshold=0.1, n_params=2,
    )  # fmt: skip
    corners = [{"letter": letter, "level": int(n), "n_train": int(n), "test_accuracy": 0.0}
               for letter, n in zip("ABC", sizes[[0, len(sizes) // 2, -1]], strict=True)]  # fmt: skip
    info = {"fingerprint": "", "scale": "quick", "data": "three basins", "model": "none", "repeat": 0, "threshold": 0.1,
            "loss": "cross_entropy", "corners": corners, "one_initialisation": True}  # fmt: skip
    study_plane.write(path, StudyPlane(info, plane))
    return StudyPlane(info, plane)


@contextmanager
def _clock(phases: dict[str, float], name: str) -> Iterator[None]:
    """Add the time of a block to a phase."""
    started = time.perf_counter()
    yield
    phases[name] = phases.get(name, 0.0) + time.perf_counter() - started


def _timed(frames: Iterator[bytes], size: Quality, folder: Path) -> dict[str, float]:
    """Return the seconds of each phase of encoding some frames."""
    phases: dict[str, float] = {}
    mp4, palette, gif = (folder / name for name in ("film.mp4", "palette.png", "film.gif"))
    with _clock(phases, "starting processes and drawing the first frame"):
        frame = next(frames, None)
    with encode.encoder(mp4, palette, size) as write:
        while frame is not None:
            with _clock(phases, "handing frames to ffmpeg"):
                write(frame)
            with _clock(phases, "waiting for frames that are being drawn"):
                frame = next(frames, None)
        ended = time.perf_counter()
    phases["ffmpeg finishing the film"] = time.perf_counter() - ended
    with _clock(phases, "GIF from the film"):
        encode.loop(mp4, palette, gif, size)
    return phases


def measure(film: Film, size: Quality, pool: FramePool) -> Speed:
    """Time a film and its parts."""
    states = film.states
    render.picture(film.scene, states[0], size.width, size.height)  # lays out the page, which is not part of a frame
    started = time.perf_counter()
    for state in states:
        render.picture(film.scene, state, size.width, size.height)
    drawing = time.perf_counter() - started
    blank = b"\xff" * (3 * size.width * size.height)
    with tempfile.TemporaryDirectory() as folder:
        empty = sum(_timed(iter([blank] * len(states)), size, Path(folder)).values())
        phases = _timed(pool.pictures(film.scene, states, size), size, Path(folder))
    return Speed(
        f"{film.name}, {size.name} {size.width}×{size.height}", len(states), pool.count, drawing, empty, phases
    )


def run(n_frames: int, size: Quality, processes: int) -> list[Speed]:
    """Return the speed of the contour film and of the surface film on an example."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "example.npz"
        states = tuple(range(len(example(path, n_frames).sizes)))
        films = [Film(name, scene, states, 0, "") for name, scene in
                 (("contours", Contours(path)), ("surface", Surface(path)))]  # fmt: skip
        speeds = []
        for film in films:
            with FramePool(processes) as pool:  # new processes, because their start is part of the profile
                speeds.append(measure(film, size, pool))
        return speeds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m videos.speed", description=__doc__)
    parser.add_argument("--frames", type=int, default=300, help="a film has 130 to 480")
    parser.add_argument("--quality", default="draft", choices=tuple(encode.QUALITIES))
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    speeds = run(given.frames, encode.quality(given.quality), given.processes)
    print(json.dumps([asdict(speed) for speed in speeds]) if given.json else "\n".join(s.report() for s in speeds))
