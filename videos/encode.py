"""Raw frames become an H.264 film and a GIF: one ffmpeg at a time, fed frame by frame."""

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
    """ffmpeg could not write a film."""


@dataclass(frozen=True)
class Quality:
    """Size in pixels, frames per second, and how hard x264 works (its constant rate factor and preset)."""

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
    """The quality of that name; UserError if there is none."""
    if name not in QUALITIES:
        raise UserError(f"Expected QUALITY to be one of {', '.join(QUALITIES)}, got '{name}'.")
    return QUALITIES[name]


def _executable() -> str:
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise MovieError(
            f"Expected the ffmpeg binary of imageio-ffmpeg, got none ({error}): reinstall .venv."
        ) from error


def _command(graph: Any) -> list[str]:
    """The command line of an ffmpeg graph that overwrites its outputs and says nothing but errors."""
    quiet = graph.global_args("-loglevel", "error")
    command: list[str] = ffmpeg.compile(quiet, cmd=_executable(), overwrite_output=True)
    return command


def _reduced(frames: Any, size: Quality) -> Any:
    """The frames of the GIF: fewer and smaller."""
    return frames.filter("fps", GIF_FPS).filter("scale", min(GIF_WIDTH, size.width), -2, flags="lanczos")


def _film_graph(mp4: Path, palette: Path, size: Quality) -> Any:
    """From raw frames to the film, and to the colours that its GIF will need."""
    raw = ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", s=f"{size.width}x{size.height}", framerate=size.fps)
    both = raw.filter_multi_output("split")
    # Players take HD films to be BT.709; without saying so the colours of the map would shift.
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
    return ffmpeg.merge_outputs(film, colors.output(str(palette), format="image2", update=1))


def _gif_graph(mp4: Path, palette: Path, gif: Path, size: Quality) -> Any:
    """From the finished film to the GIF; one palette for all frames, so that nothing flickers."""
    frames = _reduced(ffmpeg.input(str(mp4)), size)
    painted = ffmpeg.filter([frames, ffmpeg.input(str(palette))], "paletteuse", dither="bayer", bayer_scale=4)
    return painted.output(str(gif), format="gif")


def _failed(what: str, words: bytes, code: int) -> MovieError:
    said = " ".join(words.decode(errors="replace").split()) or f"exit code {code}"
    return MovieError(f"Expected ffmpeg to write {what}, got: {said}.")


@contextmanager
def encoder(mp4: Path, palette: Path, size: Quality) -> Iterator[Callable[[bytes], None]]:
    """A function that takes raw frames one by one; the film is finished when the block ends, or MovieError is raised."""
    with TemporaryFile() as said:
        process = subprocess.Popen(
            _command(_film_graph(mp4, palette, size)), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said
        )
        stream = cast(IO[bytes], process.stdin)

        def write(frame: bytes) -> None:
            stream.write(frame)

        try:
            yield write
            stream.close()
        except BrokenPipeError:
            pass  # ffmpeg left early: its own words below say why
        except BaseException:
            process.kill()
            raise
        finally:
            with suppress(BrokenPipeError):
                stream.close()
            code = process.wait()
        if code:
            said.seek(0)
            raise _failed("a film", said.read(), code)


def loop(mp4: Path, palette: Path, gif: Path, size: Quality) -> None:
    """Turn a finished film into a GIF that repeats for ever."""
    done = subprocess.run(_command(_gif_graph(mp4, palette, gif, size)), stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode:
        raise _failed("a GIF", done.stderr, done.returncode)
