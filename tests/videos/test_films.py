"""Films: they decode frame by frame, frames are independent, and missing inputs are refused."""

import re
import time
from concurrent.futures import Future
from dataclasses import replace
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest

from minima_volume.errors import ResultsError, UserError, WriteError
from minima_volume.pipeline.study import find_study
from minima_volume.planes import sources
from minima_volume.storage import archives
from tests.project import ROOT
from tests.videos.films import TINY, OneHand, described, frames_of
from videos import build, encode, growing_volume, make_all, render, speed, surface_3d, surface_contours


@pytest.mark.parametrize("name", ["digits_contours", "digits_surface", "digits_export"])
def test_missing_minima_are_refused_with_the_command(name: str, no_results: Path) -> None:
    command = re.escape("`make results/quick/digits_data/repeat_0/minima.json SCALE=quick`")
    with pytest.raises(ResultsError, match=command):
        make_all.ARTIFACTS[name]("quick", no_results, 10)


def test_missing_tables_are_refused_with_the_command(no_results: Path) -> None:
    with pytest.raises(ResultsError, match="`make digits_data SCALE=paper`"):
        growing_volume.film("digits_data", "paper", no_results, 10)


def test_a_study_that_no_config_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Expected a study among .*, got 'mnist_dato'\. Did you mean 'mnist_data'\?"):
        find_study("mnist_dato")


def test_levels_fall_back_to_lowest_middle_highest() -> None:
    study = find_study("digits_data").at_scale("quick")
    assert sources.three_levels(study, (0, 270, 1170)) == (0, 270, 1170)
    assert sources.three_levels(study, (540, 5940, 59940)) == (0, 270, 1170)
    with pytest.raises(ResultsError, match="three levels"):
        sources.three_levels(replace(study, levels=(0, 70)), (0, 1, 2))


def test_every_script_is_made_by_make_all() -> None:
    modules = [import_module(f"videos.{path.stem}") for path in (ROOT / "videos").glob("[!_]*.py")]
    listed = {entry for module in modules for entry in (*getattr(module, "FILMS", ()), *getattr(module, "EXPORTS", ()))}
    assert listed == set(make_all.ARTIFACTS) and len(listed) == 15


def test_the_film_decodes(film: Any) -> None:
    made, folder = film
    mp4, gif, png = made.files(folder)
    count = len(made.states)
    assert count == 12 + 5
    assert re.search(r"Duration: 00:00:01\.70,", described(mp4))
    assert re.search(r"Video: h264 .*yuv420p\(tv, bt709, progressive\), 192x108.* 10 fps", described(mp4))
    frames, loop = frames_of(mp4), frames_of(gif)
    assert frames.shape == (count, TINY.height, TINY.width, 3)
    assert loop.shape == (count * encode.GIF_FPS // TINY.fps, TINY.height, TINY.width, 3)
    assert imageio.immeta(gif, plugin="pillow")["loop"] == 0
    for pictures in (frames, loop):
        assert np.abs(pictures[0].astype(int) - pictures[-1]).mean() > 2
    raw = mp4.read_bytes()
    assert raw.index(b"moov") < raw.index(b"mdat")  # plays before it is loaded
    still = imageio.imread(png)
    assert still.shape == (540, 960, 3) and still.tobytes() == render.picture(made.scene, made.poster, 960, 540)
    assert not list(folder.glob(".*"))  # no scratch files


def test_frames_come_in_order(film: Any) -> None:
    made, folder = film
    drawn = {
        s: np.frombuffer(render.picture(made.scene, s, TINY.width, TINY.height), np.uint8) for s in set(made.states)
    }
    for state, frame in zip(made.states, frames_of(made.files(folder)[0]), strict=True):
        distance = {s: np.abs(page_.astype(int) - frame.ravel()).mean() for s, page_ in drawn.items()}
        assert min(distance, key=distance.__getitem__) == state


@pytest.mark.parametrize("scene", [surface_contours.Contours, surface_3d.Surface])
def test_a_frame_does_not_depend_on_the_frames_before(scene: Any, example: Any) -> None:
    page_ = scene(example[1])
    first = render.picture(page_, 3, TINY.width, TINY.height)
    render.picture(page_, 9, TINY.width, TINY.height)
    assert render.picture(page_, 3, TINY.width, TINY.height) == first
    assert len(first) == 3 * TINY.width * TINY.height


def test_few_frames_are_in_memory() -> None:
    """However long the film, at most `limit` frames exist at once."""
    alive = most = 0

    def submit(item: int) -> "Future[int]":
        nonlocal alive, most
        alive, future = alive + 1, Future[int]()
        most = max(most, alive)
        future.set_result(item)
        return future

    taken = []
    for item in render.in_order(submit, range(1000), 4):
        taken.append(item)
        alive -= 1
    assert taken == list(range(1000)) and most == 4


def test_frames_are_drawn_when_the_encoder_asks(example: Any, tmp_path: Path) -> None:
    """A frame is drawn only when the encoder asks for it, and equal neighbours once."""
    hand, ahead = OneHand(), []
    states = (0, 0, 0, 1, 2, 2)
    render.make_film(render.Film("few", surface_contours.Contours(example[1]), states, 1, ""), tmp_path, TINY, hand)
    assert hand.drawn == [0, 1, 2]
    assert len(frames_of(tmp_path / "few.mp4")) == 6
    frames = hand.pictures(surface_contours.Contours(example[1]), states, TINY)
    ahead.append(next(frames))
    assert hand.drawn[3:] == [0] and len(ahead) == 1


def test_a_failing_scene_stops_the_film(film: Any, hands: Any, tmp_path: Path) -> None:
    broken = render.Film("broken", film[0].scene, (0, 1, 999), 0, "")
    with pytest.raises(IndexError):
        render.make_film(broken, tmp_path, TINY, hands)
    assert not list(tmp_path.iterdir())


def test_a_failing_encoder_gives_one_message(example: Any, tmp_path: Path) -> None:
    odd = encode.Quality("odd", 191, 108, 10, 18, "veryfast")  # H.264 in yuv420p takes even sizes only
    broken = render.Film("broken", surface_contours.Contours(example[1]), tuple(range(12)), 0, "")
    with pytest.raises(encode.MovieError, match=r"Expected ffmpeg to write a film, got: .*width not divisible by 2"):
        render.make_film(broken, tmp_path, odd, OneHand())
    assert not list(tmp_path.iterdir())


def test_timeline_spreads_states_and_pauses() -> None:
    states = render.timeline(100, 2.0, 10, [(0, 0.3), (99, 0.5)])
    assert len(states) == 20 + 3 + 5 and list(states) == sorted(states)
    assert states.count(0) == 4 and states.count(99) == 6


def test_quality_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUALITY", raising=False)
    assert build.quality_setting("quick").name == "draft" and build.quality_setting("paper").name == "final"
    monkeypatch.setenv("QUALITY", "best")
    with pytest.raises(UserError, match="Expected QUALITY to be one of draft, final, got 'best'"):
        build.quality_setting("quick")
    assert all(size.width % 2 == size.height % 2 == 0 for size in encode.QUALITIES.values())


def test_a_second_run_makes_nothing(
    example: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[str] = []

    def fake(piece: Any, folder: Path, size: Any, hands_: Any) -> None:
        written.append(size.name)
        for path in piece.files(folder):
            path.write_bytes(b"x")

    def missing(scale: str, folder: Path, fps: int) -> Any:
        raise ResultsError("Expected minima, got none: `make them`.")

    film_ = render.Film("short", surface_contours.Contours(example[1]), (0, 1), 0, "content")
    entries = {"short": lambda scale, folder, fps: film_, "other": missing}
    monkeypatch.setattr(render.Film, "make", fake)
    monkeypatch.setattr(build, "folder_of", lambda scale: tmp_path)
    for wanted, expected in (("draft", 1), ("draft", 1), ("final", 2), ("draft", 2)):  # a final serves as a draft
        monkeypatch.setenv("QUALITY", wanted)
        build.make_all_artifacts(entries, "quick")
        assert len(written) == expected
    said = capsys.readouterr().out
    assert said.count("skipped other: Expected minima, got none: `make them`.") == 4
    assert said.count("nothing to do") == 2 and said.count("made short") == 2
    (tmp_path / "short.gif").unlink()
    build.make_all_artifacts(entries, "quick")
    assert len(written) == 3


def test_the_profile_adds_up(film: Any, hands: Any) -> None:
    started = time.perf_counter()
    found = speed.measure(replace(film[0], states=tuple(range(4))), TINY, hands)
    elapsed = time.perf_counter() - started
    assert found.n_frames == 4 and found.processes == 2
    assert 0 < found.whole < elapsed and found.drawing + found.blank + found.whole <= elapsed
    shares = [float(line.split("%")[0]) for line in found.report().splitlines()[2:]]
    assert sum(shares) == pytest.approx(100, abs=0.3)  # rounded to a tenth each
    assert all(later >= 0 for later in shares) and list(pairwise(shares))


def test_a_plane_that_cannot_be_stored_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(scale: str, folder: Path, fps: int) -> Any:
        archives.write_arrays(folder / "a file" / "plane.npz", {}, {})

    (tmp_path / "a file").touch()
    monkeypatch.setattr(build, "folder_of", lambda scale: tmp_path)
    with pytest.raises(WriteError, match=r"Expected to write .*plane\.npz"):
        build.make_all_artifacts({"other": full}, "quick")
