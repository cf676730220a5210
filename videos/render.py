"""Render scenes as films. Several processes draw frames, which are streamed in order with few in memory at a time."""

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
from typing import Any, Protocol, TypeVar

import imageio.v3 as imageio
import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from minima_volume.storage import atomic, scratch
from videos import encode
from videos.encode import Quality, encoder, loop

POSTER = 960, 540  # pixels, at every quality: small enough to be committed
INCHES = 9.6  # width of every film, so that letters have the same share of the picture at every quality
DrawFrame = Callable[[int], None]
Item = TypeVar("Item")
Result = TypeVar("Result")


class Scene(Protocol):
    """The content of a film. It is small and hashable, because every drawing process gets a copy and keeps its figure."""

    def __hash__(self) -> int: ...

    def prepare(self, figure: Figure) -> DrawFrame:
        """Draw what does not change, mark the rest as animated, and return a function that draws a state."""


@dataclass(frozen=True)
class Film:
    """A scene and the state of each frame. Equal neighbouring states are drawn once.

    Attributes:
        name: Name of the files.
        scene: What is drawn.
        states: State of each frame.
        poster: The state of the still picture.
        fingerprint: Hash of everything that the film shows.
    """

    name: str
    scene: Scene
    states: tuple[int, ...]
    poster: int
    fingerprint: str

    def files(self, folder: Path) -> tuple[Path, Path, Path]:
        """Return the mp4, the GIF and the poster."""
        mp4, gif, png = (folder / f"{self.name}.{suffix}" for suffix in ("mp4", "gif", "png"))
        return mp4, gif, png

    def code(self) -> tuple[str, ...]:
        """Return the source files that determine what the film looks like."""
        return inspect.getfile(type(self.scene)), __file__, encode.__file__

    def make(self, folder: Path, size: Quality, pool: "FramePool") -> None:
        """Draw and encode the film."""
        make_film(self, folder, size, pool)


def timeline(count: int, seconds: float, fps: int, holds: Sequence[tuple[int, float]] = ()) -> tuple[int, ...]:
    """Return the states 0…count−1 spread over `seconds`, with a pause at each state of `holds` (state, seconds)."""
    states = np.linspace(0, count - 1, max(2, round(seconds * fps))).round().astype(int).tolist()
    for state, stop in holds:
        where = int(np.searchsorted(states, state))
        states[where:where] = [state] * round(stop * fps)
    return tuple(states)


class _Page:
    """The figure of a scene. What stays is drawn once; animated parts are drawn over it for every frame."""

    def __init__(self, scene: Scene, width: int, height: int) -> None:
        with matplotlib.rc_context({"figure.constrained_layout.use": False}):  # nothing may move from frame to frame
            self.figure = Figure(figsize=(INCHES, INCHES * height / width), dpi=width / INCHES)
        canvas: Any = FigureCanvasAgg(self.figure)  # its methods have no type annotations
        self.canvas = canvas
        self.show = scene.prepare(self.figure)
        canvas.draw()
        self.background = canvas.copy_from_bbox(self.figure.bbox)

    def picture(self, state: int) -> bytes:
        """Return the frame of a state as raw RGB."""
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
    """Return one frame as raw RGB, rows from the top."""
    return _page(scene, width, height).picture(state)


def in_order(submit: Callable[[Item], "Future[Result]"], items: Iterable[Item], limit: int) -> Generator[Result]:
    """Yield results in the order of the items, with at most `limit` of them running or waiting."""
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


class FramePool:
    """Processes that draw frames. They start with the first frame and are kept for the next films.

    Args:
        count: How many.
        start: What each of them calls first.
    """

    def __init__(self, count: int, start: Callable[[], None] | None = None) -> None:
        self.count = count
        # Forked processes would share the threads and locks of torch; spawned ones import only what they need.
        self._pool = ProcessPoolExecutor(count, get_context("spawn"), start)

    def __enter__(self) -> "FramePool":
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def pictures(self, scene: Scene, states: Iterable[int], size: Quality) -> Generator[bytes]:
        """Return the frames of the states in order, at most two per process in memory."""
        pages = partial(picture, scene, width=size.width, height=size.height)
        return in_order(lambda state: self._submit(pages, state), states, 2 * self.count)

    def _submit(self, pages: Callable[[int], bytes], state: int) -> "Future[bytes]":
        # This may start a process, which inherits ignored signals: only the parent handles an interrupt.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return self._pool.submit(pages, state)
        finally:
            signal.signal(signal.SIGINT, before)


def make_film(film: Film, folder: Path, size: Quality, pool: FramePool) -> None:
    """Draw and encode a film with its GIF and poster. Files appear complete or not at all."""
    runs = [(state, len(list(same))) for state, same in groupby(film.states)]
    with ExitStack() as stack:
        mp4, gif, png = (stack.enter_context(atomic.atomic_write(path)) for path in film.files(folder))
        palette = stack.enter_context(scratch.scratch_file(folder, f"{film.name}.palette.png"))
        states = (state for state, _ in runs)
        frames = stack.enter_context(closing(pool.pictures(film.scene, states, size)))
        with encoder(mp4, palette, size) as write:
            for (_, count), frame in zip(runs, frames, strict=True):
                for _ in range(count):
                    write(frame)
        loop(mp4, palette, gif, size)
        imageio.imwrite(png, poster(film), extension=".png", optimize=True)


def poster(film: Film) -> NDArray[np.uint8]:
    """Return the still picture of a film, shape (height, width, 3)."""
    width, height = POSTER
    return np.frombuffer(picture(film.scene, film.poster, width, height), np.uint8).reshape(height, width, 3)
