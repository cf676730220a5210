"""Scenes become films: frames are drawn on several cores and streamed in order, a few of them in memory at a time."""

import inspect
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar

import imageio.v3 as imageio
import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from minima_volume.storage import atomic
from videos import encode
from videos.encode import Quality, encoder, loop

POSTER = 960, 540  # pixels, whatever the film's quality: small enough to be kept beside the sources
INCHES = 9.6  # every film is drawn this wide, so that letters keep their share of the picture at any quality
Show = Callable[[int], None]
Item = TypeVar("Item")
Result = TypeVar("Result")


class Scene(Protocol):
    """What a film shows: small and hashable, because every drawing process gets a copy and keeps its figure."""

    def __hash__(self) -> int: ...

    def prepare(self, figure: Figure) -> Show:
        """Draw what stays, mark the rest as animated, and return what shows a state, whatever was shown before."""


@dataclass(frozen=True)
class Film:
    """A scene and the state that each frame shows; equal neighbours are drawn once. `poster` is one of the states."""

    name: str
    scene: Scene
    states: tuple[int, ...]
    poster: int
    fingerprint: str

    def files(self, folder: Path) -> tuple[Path, Path, Path]:
        """The mp4, the GIF and the poster."""
        mp4, gif, png = (folder / f"{self.name}.{suffix}" for suffix in ("mp4", "gif", "png"))
        return mp4, gif, png

    def code(self) -> tuple[str, ...]:
        """Files that decide what it looks like."""
        return inspect.getfile(type(self.scene)), __file__, encode.__file__

    def make(self, folder: Path, size: Quality, hands: "Hands") -> None:
        """Draw and encode it."""
        shoot(self, folder, size, hands)


def timeline(count: int, seconds: float, fps: int, holds: Sequence[tuple[int, float]] = ()) -> tuple[int, ...]:
    """States 0…count−1 spread over `seconds`, and a stop of some seconds at each state of `holds`."""
    states = np.linspace(0, count - 1, max(2, round(seconds * fps))).round().astype(int).tolist()
    for state, stop in holds:
        where = int(np.searchsorted(states, state))
        states[where:where] = [state] * round(stop * fps)
    return tuple(states)


class _Page:
    """A scene's figure: what stays is drawn once, what is marked as animated is drawn over it for every frame."""

    def __init__(self, scene: Scene, width: int, height: int) -> None:
        with matplotlib.rc_context({"figure.constrained_layout.use": False}):  # nothing may move from frame to frame
            self.figure = Figure(figsize=(INCHES, INCHES * height / width), dpi=width / INCHES)
        canvas: Any = FigureCanvasAgg(self.figure)  # its methods have no types
        self.canvas = canvas
        self.show = scene.prepare(self.figure)
        canvas.draw()
        self.background = canvas.copy_from_bbox(self.figure.bbox)

    def picture(self, state: int) -> bytes:
        """The frame that shows a state."""
        self.show(state)
        self.canvas.restore_region(self.background)
        for artist in sorted(
            self.figure.findobj(lambda artist: artist.get_animated()), key=lambda artist: artist.zorder
        ):
            artist.draw(self.canvas.renderer)
        return np.asarray(self.canvas.buffer_rgba())[..., :3].tobytes()


@lru_cache(maxsize=1)
def _page(scene: Scene, width: int, height: int) -> _Page:
    return _Page(scene, width, height)


def picture(scene: Scene, state: int, width: int, height: int) -> bytes:
    """One frame as raw RGB, rows from the top."""
    return _page(scene, width, height).picture(state)


def in_order(submit: Callable[[Item], "Future[Result]"], items: Iterable[Item], limit: int) -> Generator[Result]:
    """Results in the order of the items; at most `limit` of them are under way or waiting for their turn."""
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(submit(item))
            if len(waiting) >= limit:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


class Hands:
    """Processes that draw; they start when the first frame is wanted and stay for the next films."""

    def __init__(self, count: int) -> None:
        self.count = count
        # Forked children would share torch's threads and locks; spawned ones import only what they draw with.
        self._pool = ProcessPoolExecutor(count, get_context("spawn"))

    def __enter__(self) -> "Hands":
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def pictures(self, scene: Scene, states: Iterable[int], size: Quality) -> Generator[bytes]:
        """The frames of the states in order, at most two for each process in memory; a failing one raises its error."""
        pages = partial(picture, scene, width=size.width, height=size.height)
        return in_order(lambda state: self._submit(pages, state), states, 2 * self.count)

    def _submit(self, pages: Callable[[int], bytes], state: int) -> "Future[bytes]":
        # This may start a process, which inherits what is ignored: an interrupt is for the parent, which stops the film.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return self._pool.submit(pages, state)
        finally:
            signal.signal(signal.SIGINT, before)


def shoot(film: Film, folder: Path, size: Quality, hands: Hands) -> None:
    """Draw and encode a film with its GIF and poster; the files appear whole or not at all."""
    runs = [(state, len(list(same))) for state, same in groupby(film.states)]
    with ExitStack() as stack:
        mp4, gif, png = (stack.enter_context(atomic.atomic_write(path)) for path in film.files(folder))
        palette = Path(stack.enter_context(TemporaryDirectory())) / "palette.png"
        states = (state for state, _ in runs)
        frames = stack.enter_context(closing(hands.pictures(film.scene, states, size)))
        with encoder(mp4, palette, size) as write:
            for (_, count), frame in zip(runs, frames, strict=True):
                for _ in range(count):
                    write(frame)
        loop(mp4, palette, gif, size)
        imageio.imwrite(png, poster(film), extension=".png", optimize=True)


def poster(film: Film) -> NDArray[np.uint8]:
    """The one frame (height, width, 3) that stands for the film where nothing moves."""
    width, height = POSTER
    return np.frombuffer(picture(film.scene, film.poster, width, height), np.uint8).reshape(height, width, 3)
