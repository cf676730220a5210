"""Encode raw frames as an H.264 film and a GIF with ffmpeg, frame by frame."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, cast

import ffmpeg
import imageio_ffmpeg

from minima_volume.errors import UserError

GIF_WIDTH, GIF_FPS = 640, 10


class MovieError(UserError):
    """Raised if ffmpeg cannot write a film."""


@dataclass(frozen=True)
class Quality:
    """Size in pixels, frames per second, and the constant rate factor and preset of x264."""

    name: str
    width: int
    height: int
    fps: int
    crf: int
    preset: str


QUALITIES = {
    "draft": Quality("draft", 960, 540, 10, 23, "veryfast"),
    "final": Quality("final", 1920, 1080, 30, 18, "slow"),
}


def quality(name: str) -> Quality:
    """Return the quality of a name.

    Raises:
        UserError: There is none of that name.
    """
    if name not in QUALITIES:
        raise UserError(f"Expected QUALITY to be one of {', '.join(QUALITIES)}, got '{name}': choose one.")
    return QUALITIES[name]


def _executable() -> str:
    """Return the path of the ffmpeg binary."""
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise MovieError(
            f"Expected the ffmpeg binary of imageio-ffmpeg, got none ({error}): reinstall .venv."
        ) from error


def _command(graph: Any) -> list[str]:
    """Return the command of an ffmpeg graph that overwrites its outputs and prints only errors."""
    quiet = graph.global_args("-loglevel", "error")
    command: list[str] = ffmpeg.compile(quiet, cmd=_executable(), overwrite_output=True)
    return command


def _reduced(frames: Any, size: Quality) -> Any:
    """Return fewer and smaller frames, for the GIF."""
    return frames.filter("fps", GIF_FPS).filter("scale", min(GIF_WIDTH, size.width), -2, flags="lanczos")


def _film_graph(mp4: Path, palette: Path, size: Quality) -> Any:
    """Return the graph from raw frames to the film and to the palette of its GIF."""
    raw = ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", s=f"{size.width}x{size.height}", framerate=size.fps)
    both = raw.filter_multi_output("split")
    # Players assume BT.709 for HD films; without these tags the colours of the map would shift.
    tagged = both.stream(0).filter("scale", out_color_matrix="bt709", out_range="tv")
    tagged = tagged.filter("setparams", colorspace="bt709", color_primaries="bt709", color_trc="bt709", range="tv")
    film = tagged.output(
        str(mp4),
        format="mp4",
        vcodec="libx264",
        pix_fmt="yuv420p",
        crf=size.crf,
        preset=size.preset,
        movflags="+faststart",
    )
    colors = _reduced(both.stream(1), size).filter("palettegen", stats_mode="full")
    return ffmpeg.merge_outputs(film, colors.output(str(palette), format="image2", vcodec="png", update=1))


def _gif_graph(mp4: Path, palette: Path, gif: Path, size: Quality) -> Any:
    """Return the graph from the film to the GIF, with one palette for all frames, so that nothing flickers."""
    frames = _reduced(ffmpeg.input(str(mp4)), size)
    painted = ffmpeg.filter([frames, ffmpeg.input(str(palette))], "paletteuse", dither="bayer", bayer_scale=4)
    return painted.output(str(gif), format="gif")


def _failed(what: str, messages: bytes, code: int) -> MovieError:
    """Return the error with the messages of ffmpeg."""
    reason = " ".join(messages.decode(errors="replace").split()) or f"exit code {code}"
    return MovieError(f"Expected ffmpeg to write {what}, got: {reason}.")


@contextmanager
def encoder(mp4: Path, palette: Path, size: Quality) -> Iterator[Callable[[bytes], None]]:
    """Yield a function that takes raw frames one by one. The film is finished when the block ends.

    Raises:
        MovieError: ffmpeg failed.
    """
    with TemporaryFile() as messages:
        process = subprocess.Popen(
            _command(_film_graph(mp4, palette, size)), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=messages
        )
        stream = cast(IO[bytes], process.stdin)

        def write(frame: bytes) -> None:
            stream.write(frame)

        try:
            yield write
            stream.close()
        except BrokenPipeError:
            pass  # ffmpeg ended early: its messages below say why
        except BaseException:  # Ctrl-C too: ffmpeg ends, and the error goes on
            process.kill()
            raise
        finally:
            with suppress(BrokenPipeError):
                stream.close()
            code = process.wait()
        if code:
            messages.seek(0)
            raise _failed("a film", messages.read(), code)


def loop(mp4: Path, palette: Path, gif: Path, size: Quality) -> None:
    """Convert a finished film into a GIF that repeats."""
    done = subprocess.run(_command(_gif_graph(mp4, palette, gif, size)), stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode:
        raise _failed("a GIF", done.stderr, done.returncode)
