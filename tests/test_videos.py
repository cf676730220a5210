"""The videos: losses against plain loops, films that decode frame by frame, exports that read back, honest refusals."""

import importlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from html import unescape
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import imageio.v3 as imageio
import imageio_ffmpeg
import numpy as np
import pytest
import torch
from conftest import ROOT
from torch import Tensor, nn
from torch.func import functional_call

from minima_volume import directions, results
from minima_volume.errors import ResultsError, UserError
from minima_volume.experiment import Repeat
from minima_volume.losses import cross_entropy
from minima_volume.models import initial_parameters, mlp
from minima_volume.parameters import layout_of, parameters_of
from minima_volume.points import Minimum, Samples
from minima_volume.training import evaluate

VIDEOS = ROOT / "videos"
NAMES = sorted(path.stem for path in VIDEOS.glob("*.py"))


def imported() -> dict[str, ModuleType]:
    """The scripts of videos/ as `python videos/SCRIPT.py` would import them; figs/ may have scripts of the same names."""
    others = {name: sys.modules.pop(name) for name in NAMES if name in sys.modules}
    sys.path.insert(0, str(VIDEOS))
    found = {name: importlib.import_module(name) for name in NAMES}
    sys.path.remove(str(VIDEOS))
    sys.path.append(str(VIDEOS))  # for the imports inside functions and for the drawing processes
    sys.modules.update(others)
    return found


V = imported()
boundary, checkpoints, deformation, encoding = V["boundary"], V["checkpoints"], V["deformation"], V["encoding"]
export, grid, grokking_path, growing_volume, make_all = (
    V["export"], V["grid"], V["grokking_path"], V["growing_volume"], V["make_all"],
)  # fmt: skip
meshes, movie, page, planes, random_planes, sources, speed = (
    V["meshes"], V["movie"], V["page"], V["planes"], V["random_planes"], V["sources"], V["speed"],
)  # fmt: skip
studio, surface_3d, surface_contours, trios = V["studio"], V["surface_3d"], V["surface_contours"], V["trios"]

TINY = encoding.Quality("tiny", 192, 108, 10, 18, "veryfast")


class OneHand:
    """Draws in this very process; counts what it hands out."""

    count = 1

    def __init__(self) -> None:
        self.drawn: list[int] = []

    def pictures(self, scene: Any, states: Sequence[int], size: Any) -> Iterator[bytes]:
        for state in states:
            self.drawn.append(state)
            yield movie.picture(scene, state, size.width, size.height)


class Serial:
    """Does tasks one after the other, and stops with an interrupt before task `stop`."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop, self.done = stop, 0

    def each(self, tasks: Sequence[Callable[[], Any]], unit: str) -> list[Any]:
        found = []
        for number, task in enumerate(tasks):
            if number == self.stop:
                raise KeyboardInterrupt
            found.append(task())
            self.done += 1
        return found


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small made-up plane and its file."""
    path = tmp_path_factory.mktemp("plane") / "example_plane.npz"
    return speed.example(path, 12, side=21), path


@pytest.fixture(scope="module")
def hands() -> Iterator[Any]:
    """Two processes that draw, as for real films."""
    with movie.Hands(2) as pair:
        yield pair


@pytest.fixture(scope="module")
def film(example: Any, hands: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A film made by two processes, and its folder."""
    data, path = example
    states = movie.timeline(len(data.sizes), 1.2, TINY.fps, [(5, 0.5)])
    made, folder = movie.Film("short", surface_contours.Contours(path), states, 5, ""), tmp_path_factory.mktemp("films")
    made.make(folder, TINY, hands)
    return made, folder


def frames_of(path: Path) -> np.ndarray:
    """All frames of a film or GIF (n, height, width, 3), decoded by the ffmpeg of imageio-ffmpeg."""
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-fps_mode", "passthrough", "-"]
    done = subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), *raw], capture_output=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, TINY.height, TINY.width, 3)


def described(path: Path) -> str:
    """What ffmpeg says about a file."""
    return subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path)], capture_output=True, text=True).stderr


# --- losses on the plane ---------------------------------------------------------------------------------------------
class Branched(nn.Module):
    """A network that is no plain stack of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.left(x)) * self.right(x)


def small_plane(make: Callable[[], nn.Module], dtype: torch.dtype) -> Any:
    """Three random networks and 37 samples."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        models = [make() for _ in range(3)]
        inputs, targets = torch.randn(37, 5, dtype=torch.float64), torch.randint(0, 3, (37,))
    a, b, c = (parameters_of(model.double()) for model in models)
    return planes.Plane(models[0].eval(), (a, b, c), Samples(inputs, targets, cross_entropy), dtype)


@pytest.mark.parametrize("make", [lambda: mlp(5, 7, 3), Branched])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    # Sums over 37 samples in another order: a few hundred roundings of 10⁻¹⁶; float32 losses carry 10⁻⁷ each.
    [(torch.float64, 1e-13), (torch.float32, 2e-6)],
)
def test_mean_losses_equal_a_plain_loop(
    make: Callable[[], nn.Module], dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(planes.TILE_ELEMENTS, "cpu", 150)  # several spans of samples and several calls per row
    plane, x, sizes = small_plane(make, dtype), np.linspace(-0.5, 1.5, 5), np.array([3, 10, 11, 37])
    found = planes.row_sums(plane, x, x[1:4], sizes) / sizes[:, None, None]
    a, b, c = plane.corners
    for j, y in enumerate(x[1:4]):
        for i, at in enumerate(x):
            moved = {name: a[name] + at * (b[name] - a[name]) + y * (c[name] - a[name]) for name in a}
            outputs = functional_call(plane.model, moved, (plane.samples.inputs,))
            losses = nn.functional.cross_entropy(outputs, plane.samples.targets, reduction="none")
            wanted = [losses[:size].mean().item() for size in sizes]
            np.testing.assert_allclose(found[:, j, i], wanted, rtol=tolerance)


def test_corners_are_the_minima_and_the_callers_model_stays() -> None:
    plane, x, sizes = small_plane(lambda: mlp(5, 7, 3), torch.float64), np.linspace(-0.5, 1.5, 5), np.array([20, 37])
    before = parameters_of(plane.model)
    data = grid.Grid({}, x, x, sizes, planes.row_sums(plane, x, x, sizes) / sizes[:, None, None])
    for found, corner in zip(data.at_corners(), plane.corners, strict=True):
        losses = cross_entropy(functional_call(plane.model, corner, (plane.samples.inputs,)), plane.samples.targets)
        np.testing.assert_allclose(found, [losses[:20].mean().item(), losses.mean().item()], rtol=1e-12)
    assert all(torch.equal(before[name], tensor) for name, tensor in plane.model.named_parameters())
    lengths = plane.geometry()
    flat = [torch.cat([tensor.flatten() for tensor in corner.values()]) for corner in plane.corners]
    assert lengths["length_b"] == pytest.approx((flat[1] - flat[0]).norm().item(), rel=1e-12)


def test_a_stopped_survey_goes_on_where_it_was(tmp_path: Path) -> None:
    plane, x, sizes = small_plane(lambda: mlp(5, 7, 3), torch.float32), np.linspace(-0.5, 1.5, 11), np.array([10, 37])
    info = {"fingerprint": "one", "threshold": 0.1}
    whole = planes.surveyed(tmp_path / "whole.npz", plane, x, sizes, info, Serial())
    path, stopped = tmp_path / "parts.npz", Serial(stop=2)
    with pytest.raises(KeyboardInterrupt):
        planes.surveyed(path, plane, x, sizes, info, stopped)
    kept = sorted((tmp_path / "parts.rows").glob("*.npz"))
    times = [block.stat().st_mtime_ns for block in kept]
    assert len(kept) == 2 and not path.exists()
    with pytest.raises(KeyboardInterrupt):
        planes.surveyed(path, plane, x, sizes, info, Serial(stop=2))
    assert [block.stat().st_mtime_ns for block in kept] == times  # found, not computed again
    planes.surveyed(path, plane, x, sizes, info, Serial())
    np.testing.assert_array_equal(grid.read(path).mean_loss, grid.read(whole).mean_loss)
    idle = Serial()
    planes.surveyed(path, plane, x, sizes, info, idle)
    assert idle.done == 0 and not (tmp_path / "parts.rows").exists()
    planes.surveyed(path, plane, x, sizes, info | {"fingerprint": "other"}, idle)
    assert idle.done == 3


def test_data_sizes_rise_by_percentages_and_hold_all_marks() -> None:
    sizes = planes.data_sizes([600, 6000, 60_000], 401)
    assert {600, 6000, 60_000} <= set(sizes) and len(sizes) == 401
    assert (np.diff(sizes) > 0).all() and (sizes[1:] / sizes[:-1]).max() < 1.02


def test_colours_span_decades_around_the_threshold() -> None:
    x = np.array([0.0, 1.0])
    losses = np.array([[[2e-3, 0.5], [3.0, np.inf]], [[1e-9, 0.5], [3e4, np.nan]]])
    narrow = grid.Grid(
        {"threshold": 0.1}, x, x, np.array([1, 2]), np.where(np.isfinite(losses[[0, 0]]), losses[[0, 0]], 4)
    )
    assert (narrow.floor, narrow.ceiling) == (1e-3, 10.0)
    wide = grid.Grid({"threshold": 0.1}, x, x, np.array([1, 2]), losses)
    assert (wide.floor, wide.ceiling) == (1e-4, 100.0)
    np.testing.assert_allclose(wide.drawn(1), [[-4, np.log10(0.5)], [2, 2]])
    names = list(wide.decades().values())
    assert names[0].startswith("≤") and names[-1].startswith("≥") and len(names) == 7
    assert not any("≤" in name or "≥" in name for name in narrow.decades().values())
    holed = replace(narrow, mean_loss=np.where(losses == 3.0, np.nan, narrow.mean_loss))
    assert list(holed.decades().values())[-1].startswith("≥")  # what is no number is drawn at the top and said to be


# --- planes of random directions -------------------------------------------------------------------------------------
def some_minima(repeat: Repeat) -> dict[int, Minimum]:
    """Untrained networks in the place of a repeat's minima."""
    found = [initial_parameters(repeat.study.model, seed) for seed in range(len(repeat.study.levels))]
    return {level: Minimum.of(p, layout_of(p)) for level, p in zip(repeat.study.levels, found, strict=True)}


def test_random_planes_equal_a_plain_loop() -> None:
    repeat = Repeat(sources.study_of("modulo_grokking", "quick"), 0)
    samples, minimum = checkpoints.ordered_samples(repeat).part(0, 50), some_minima(repeat)[200]
    x = np.linspace(-8, 8, 3)
    seen, unseen = random_planes.two_losses(random_planes.plane_at(repeat, minimum, samples), x, 30, Serial())
    first, second = directions.directions(repeat.study.direction_seed, [0, 1], minimum.layout.n_params)
    at_minimum = minimum.layout.flatten(minimum.parameters)
    for j, i in np.ndindex(3, 3):
        step = x[i] * first / first.norm() + x[j] * second / second.norm()
        moved = minimum.layout.split(at_minimum + minimum.scales * step)
        outputs = functional_call(repeat.model, moved, (samples.inputs,))
        losses = (outputs - nn.functional.one_hot(samples.targets, 97)).square().mean(dim=1)
        # float32 with weights that were subtracted and added again
        assert (seen[j, i], unseen[j, i]) == pytest.approx(
            (losses[:30].mean().item(), losses[30:].mean().item()), rel=1e-4
        )


def test_slices_hold_the_loss_of_the_minima(no_results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ResultsError, match=r"`make results/quick/modulo_data/repeat_0/minima\.json SCALE=quick`"):
        random_planes.slices_of("modulo_data", "quick")
    monkeypatch.setitem(random_planes.SIDE, "quick", 3)
    monkeypatch.setattr(random_planes.stage.Run, "each", lambda self, tasks, unit: [task() for task in tasks])
    for name, levels in (("modulo_data", (0, 2634)), ("modulo_grokking", (200, 400))):
        repeat = Repeat(sources.study_of(name, "quick"), 0)
        minima = some_minima(repeat)
        stored = {level: ({}, minimum) for level, minimum in minima.items()}
        monkeypatch.setattr(sources, "trained", lambda *_, found=(repeat, stored): found)
        rows = results.read_table(random_planes.slices_of(name, "quick"), results.SLICE_COLUMNS)
        assert len(rows) == 18
        centres = [row for row in rows if float(row["radius_1"]) == float(row["radius_2"]) == 0]
        assert tuple(int(row["level"]) for row in centres) == levels
        for row in centres:
            n_train, parameters = int(row["n_train"]), minima[int(row["level"])].parameters
            assert n_train == repeat.study.n_train(int(row["level"]))
            samples = checkpoints.ordered_samples(repeat)
            losses, _ = evaluate(repeat.model, parameters, samples.inputs, samples.targets, samples.criterion)
            assert float(row["seen_loss"]) == pytest.approx(losses[:n_train].mean().item(), rel=1e-4)  # five digits
            assert float(row["unseen_loss"]) == pytest.approx(losses[n_train:].mean().item(), rel=1e-4)


# --- what is missing is refused with the command that makes it -------------------------------------------------------
@pytest.fixture
def no_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(results, "ROOT", tmp_path / "results")
    return tmp_path


@pytest.mark.parametrize("name", ["digits_contours", "digits_surface", "digits_export"])
def test_missing_minima_are_refused_with_the_command(name: str, no_results: Path) -> None:
    command = re.escape("`make results/quick/digits_data/repeat_0/minima.json SCALE=quick`")
    with pytest.raises(ResultsError, match=command):
        make_all.PIECES[name]("quick", no_results, 10)


def test_missing_tables_are_refused_with_the_command(no_results: Path) -> None:
    with pytest.raises(ResultsError, match="`make digits_data SCALE=paper`"):
        growing_volume.film("digits_data", "paper", no_results, 10)


def test_a_study_that_no_config_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"Expected a study mnist_dato .* got none"):
        sources.study_of("mnist_dato", "quick")


def test_levels_fall_back_to_lowest_middle_highest() -> None:
    study = sources.study_of("digits_data", "quick")
    assert sources.three_levels(study, (0, 270, 1170)) == (0, 270, 1170)
    assert sources.three_levels(study, (540, 5940, 59940)) == (0, 270, 1170)
    with pytest.raises(ResultsError, match="three levels"):
        sources.three_levels(replace(study, levels=(0, 70)), (0, 1, 2))


def test_every_script_is_made_by_make_all() -> None:
    listed = {
        entry for module in V.values() for entry in (*getattr(module, "FILMS", ()), *getattr(module, "EXPORTS", ()))
    }
    assert listed == set(make_all.PIECES) and len(listed) == 14


# --- films -----------------------------------------------------------------------------------------------------------
def test_the_film_decodes(film: Any) -> None:
    made, folder = film
    mp4, gif, png = made.files(folder)
    count = len(made.states)
    assert count == 12 + 5
    assert re.search(r"Duration: 00:00:01\.70,", described(mp4))
    assert re.search(r"Video: h264 .*yuv420p\(tv, bt709, progressive\), 192x108.* 10 fps", described(mp4))
    frames, loop = frames_of(mp4), frames_of(gif)
    assert frames.shape == (count, TINY.height, TINY.width, 3)
    assert loop.shape == (count * encoding.GIF_FPS // TINY.fps, TINY.height, TINY.width, 3)
    assert imageio.immeta(gif, plugin="pillow")["loop"] == 0
    for pictures in (frames, loop):
        assert np.abs(pictures[0].astype(int) - pictures[-1]).mean() > 2
    raw = mp4.read_bytes()
    assert raw.index(b"moov") < raw.index(b"mdat")  # plays before it is loaded
    still = imageio.imread(png)
    assert still.shape == (540, 960, 3) and still.tobytes() == movie.picture(made.scene, made.poster, 960, 540)
    assert not list(folder.glob(".*"))  # no scratch files


def test_frames_come_in_order(film: Any) -> None:
    made, folder = film
    drawn = {
        s: np.frombuffer(movie.picture(made.scene, s, TINY.width, TINY.height), np.uint8) for s in set(made.states)
    }
    for state, frame in zip(made.states, frames_of(made.files(folder)[0]), strict=True):
        distance = {s: np.abs(page_.astype(int) - frame.ravel()).mean() for s, page_ in drawn.items()}
        assert min(distance, key=distance.__getitem__) == state


@pytest.mark.parametrize("scene", [surface_contours.Contours, surface_3d.Surface])
def test_a_frame_does_not_depend_on_the_frames_before(scene: Any, example: Any) -> None:
    page_ = scene(example[1])
    first = movie.picture(page_, 3, TINY.width, TINY.height)
    movie.picture(page_, 9, TINY.width, TINY.height)
    assert movie.picture(page_, 3, TINY.width, TINY.height) == first
    assert len(first) == 3 * TINY.width * TINY.height


def test_few_frames_are_in_flight() -> None:
    """However long the film, at most `limit` frames exist at once."""
    alive = most = 0

    def submit(item: int) -> "Future[int]":
        nonlocal alive, most
        alive, future = alive + 1, Future[int]()
        most = max(most, alive)
        future.set_result(item)
        return future

    taken = []
    for item in movie.in_order(submit, range(1000), 4):
        taken.append(item)
        alive -= 1
    assert taken == list(range(1000)) and most == 4


def test_what_is_drawn_waits_for_the_encoder(example: Any, tmp_path: Path) -> None:
    """The whole chain draws a frame only when the encoder asks for it, and equal neighbours once."""
    hand, ahead = OneHand(), []
    states = (0, 0, 0, 1, 2, 2)
    movie.shoot(movie.Film("few", surface_contours.Contours(example[1]), states, 1, ""), tmp_path, TINY, hand)
    assert hand.drawn == [0, 1, 2]
    assert len(frames_of(tmp_path / "few.mp4")) == 6
    frames = hand.pictures(surface_contours.Contours(example[1]), states, TINY)
    ahead.append(next(frames))
    assert hand.drawn[3:] == [0] and len(ahead) == 1


def test_a_failing_scene_stops_the_film(film: Any, hands: Any, tmp_path: Path) -> None:
    broken = movie.Film("broken", film[0].scene, (0, 1, 999), 0, "")
    with pytest.raises(IndexError):
        movie.shoot(broken, tmp_path, TINY, hands)
    assert not list(tmp_path.iterdir())


def test_a_failing_encoder_is_a_sentence(example: Any, tmp_path: Path) -> None:
    odd = encoding.Quality("odd", 191, 108, 10, 18, "veryfast")  # H.264 in yuv420p takes even sizes only
    broken = movie.Film("broken", surface_contours.Contours(example[1]), tuple(range(12)), 0, "")
    with pytest.raises(encoding.MovieError, match=r"Expected ffmpeg to write a film, got: .*width not divisible by 2"):
        movie.shoot(broken, tmp_path, odd, OneHand())
    assert not list(tmp_path.iterdir())


def test_timeline_spreads_and_stops() -> None:
    states = movie.timeline(100, 2.0, 10, [(0, 0.3), (99, 0.5)])
    assert len(states) == 20 + 3 + 5 and list(states) == sorted(states)
    assert states.count(0) == 4 and states.count(99) == 6


def test_quality_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUALITY", raising=False)
    assert studio.asked_quality("quick").name == "draft" and studio.asked_quality("paper").name == "final"
    monkeypatch.setenv("QUALITY", "best")
    with pytest.raises(UserError, match="Expected QUALITY to be one of draft, final, got 'best'"):
        studio.asked_quality("quick")
    assert all(size.width % 2 == size.height % 2 == 0 for size in encoding.QUALITIES.values())


def test_the_second_time_nothing_is_made(
    example: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written: list[str] = []

    def fake(piece: Any, folder: Path, size: Any, hands_: Any) -> None:
        written.append(size.name)
        for path in piece.files(folder):
            path.write_bytes(b"x")

    def missing(scale: str, folder: Path, fps: int) -> Any:
        raise ResultsError("Expected minima, got none: `make them`.")

    film_ = movie.Film("short", surface_contours.Contours(example[1]), (0, 1), 0, "content")
    entries = {"short": lambda scale, folder, fps: film_, "other": missing}
    monkeypatch.setattr(movie.Film, "make", fake)
    monkeypatch.setattr(studio, "folder_of", lambda scale: tmp_path)
    for wanted, expected in (("draft", 1), ("draft", 1), ("final", 2), ("draft", 2)):  # a final serves as a draft
        monkeypatch.setenv("QUALITY", wanted)
        studio.produce_all(entries, "quick")
        assert len(written) == expected
    said = capsys.readouterr().out
    assert said.count("skipped other: Expected minima, got none: `make them`.") == 4
    assert said.count("nothing to do") == 2 and said.count("made short") == 2
    (tmp_path / "short.gif").unlink()
    studio.produce_all(entries, "quick")
    assert len(written) == 3


# --- other films -----------------------------------------------------------------------------------------------------
ROWS = [
    # level, landscape, repeat, status, log volume, typical log volume
    (0, 0, 0, "ok", 10.0, 5.0), (0, 0, 1, "ok", 14.0, 7.0),
    (90, 0, 0, "ok", 8.0, 4.0), (90, 0, 1, "ok", 6.0, 2.0),
    (90, 90, 0, "ok", 5.0, 1.0), (90, 90, 1, "unconverged", float("-inf"), float("nan")),
]  # fmt: skip


def write_volumes(folder: Path, rows: Sequence[tuple[Any, ...]]) -> None:
    keys = ("level", "landscape", "repeat", "status", "log_volume", "typical_log_volume")
    common = {"data": "toys", "model": "net", "metric": "loss"}
    full = [{**common, **dict(zip(keys, row, strict=True)), "threshold": t} for row in rows for t in (0.1, 0.05)]
    results.write_table(folder / "volumes.csv", growing_volume.COLUMNS, full)
    results.write_json(folder / "run.json", {"settings": {"base": 10}})


def test_curves_are_the_rows_of_the_table(no_results: Path) -> None:
    folder = results.study_folder("quick", "toys")
    write_volumes(folder, ROWS)
    table = growing_volume.Table.read(folder)
    assert (table.threshold, table.base, table.absent) == (0.1, 10, 1) and "1 values not drawn" in table.words()
    small, large = table.curves("log_volume")
    assert (small.n_train, small.means.tolist(), small.spreads.tolist()) == (10, [12.0], [2.0])
    assert (large.sizes.tolist(), large.means.tolist(), large.spreads.tolist()) == ([10, 100], [7.0, 5.0], [1.0, 0.0])
    sizes, means, _ = large.until(10 * np.sqrt(10))  # half way on the logarithmic axis
    assert sizes[-1] == pytest.approx(31.6228, abs=1e-4) and means.tolist() == [7.0, pytest.approx(6.0)]
    assert large.until(1000)[1].tolist() == [7.0, 5.0]
    made = growing_volume.film("toys", "quick", no_results, 10)
    first, last = (movie.picture(made.scene, state, TINY.width, TINY.height) for state in (0, made.states[-1]))
    assert first != last


@pytest.mark.parametrize("cell", ["", "-inf", "nan"])
def test_what_is_no_number_is_counted_and_not_drawn(cell: str, no_results: Path) -> None:
    folder = results.study_folder("quick", "toys")
    write_volumes(folder, ROWS[:5])
    path = folder / "volumes.csv"
    path.write_text(path.read_text().replace("90,0.1,loss,ok,5,1", f"90,0.1,loss,ok,{cell},1"))
    table = growing_volume.Table.read(folder)
    assert table.absent == 1 and table.curves("log_volume")[1].sizes.tolist() == [10]
    assert not table.curves("log_volume")[1].reaches_own(1000)  # no dot where the volume is not known


def test_a_table_without_volumes_is_refused(no_results: Path) -> None:
    folder = results.study_folder("quick", "toys")
    for rows in ((), ROWS[-1:]):
        write_volumes(folder, rows)
        with pytest.raises(ResultsError, match="got none that is a number"):
            growing_volume.film("toys", "quick", no_results, 10)


def test_a_boundary_deforms_up_to_the_threshold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deformation, "STEPS", 5)
    monkeypatch.setattr(deformation, "SIDE", 9)
    inputs = torch.tensor([[x, y] for x in (-2.0, -1.0, 1.0, 2.0) for y in (-1.0, 1.0)])
    model = nn.Sequential(nn.Linear(2, 1))
    weights = {"0.weight": torch.tensor([[3.0, 0.0]]), "0.bias": torch.zeros(1)}
    minimum = Minimum.of(weights, layout_of(weights))
    samples = Samples(inputs, (inputs[:, 0] > 0).long(), loss_of_logits)
    number, arrays = deformation.deformed(model, minimum, samples, threshold=0.3, seed=0)
    assert arrays["losses"][0] < 0.3
    assert arrays["losses"][-1] == pytest.approx(0.3, rel=1e-4)  # float32 logits along a ray solved to 10⁻⁶
    assert (arrays["losses"][:-1] < 0.3).all()
    assert arrays["radii"][0] == 0 and np.allclose(np.diff(arrays["radii"], n=2), 0)
    np.testing.assert_allclose(
        arrays["logits"][0], 3 * np.broadcast_to(arrays["side"], (9, 9)), rtol=1e-3
    )  # x along rows
    assert not arrays["wrong"][0].any()
    info = {"scale": "quick", "data": "toys", "model": "net", "n_train": 8, "threshold": 0.3, "direction": number}
    results.write_arrays(tmp_path / "boundary.npz", info, arrays)
    scene = boundary.Boundary(tmp_path / "boundary.npz")
    assert len({movie.picture(scene, state, TINY.width, TINY.height) for state in (0, 2, 4)}) == 3
    with pytest.raises(ResultsError, match="Expected a direction among 20"):
        deformation.deformed(model, minimum, samples, threshold=1e9, seed=0)


def loss_of_logits(outputs: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of logits (…, N, 1), by torch's own function."""
    logits = outputs.squeeze(-1)
    return nn.functional.binary_cross_entropy_with_logits(
        logits, targets.to(logits).expand_as(logits), reduction="none"
    )


def test_checkpoints_are_projected_on_their_plane() -> None:
    plane = small_plane(lambda: mlp(5, 7, 3), torch.float64)
    a, b, c = plane.corners
    inside = {name: a[name] + 0.3 * (b[name] - a[name]) - 0.2 * (c[name] - a[name]) for name in a}
    place = checkpoints.projected(plane, Minimum.of(inside, plane.layout))
    assert place == {"x": pytest.approx(0.3), "y": pytest.approx(-0.2), "distance": pytest.approx(0, abs=1e-12)}
    rows = [
        {"epoch": e, "train_accuracy": t} for e, t in ((100, 0.5), (200, 0.9), (400, 0.995), (800, 1.0), (1600, 1.0))
    ]
    assert checkpoints.corners_of(rows) == (100, 400, 1600)
    assert checkpoints.corners_of(rows[:3]) == (100, 200, 400)
    with pytest.raises(ResultsError, match="three checkpoints"):
        checkpoints.corners_of(rows[:2])


def test_unseen_pairs_follow_the_seen_ones(example: Any, tmp_path: Path) -> None:
    repeat = Repeat(sources.study_of("modulo_grokking", "quick"), 0)
    samples, base = checkpoints.ordered_samples(repeat), repeat.study.base
    torch.testing.assert_close(samples.inputs[:base], repeat.samples.inputs[:base])
    numbers = samples.inputs.reshape(-1, 2, 97).argmax(-1)
    assert len(torch.unique(numbers, dim=0)) == len(samples) == 97 * 97
    data = replace(example[0], sizes=np.array([10, 40]), mean_loss=example[0].mean_loss[[0, 1]])
    train, unseen = (10**heights for heights in grokking_path._two_landscapes(data))
    drawn = np.maximum(train, unseen) < data.ceiling
    assert drawn.mean() > 0.5
    np.testing.assert_allclose(((10 * train + 30 * unseen) / 40)[drawn], data.mean_loss[1][drawn], rtol=1e-9)


def test_grokking_is_drawn(example: Any, tmp_path: Path) -> None:
    data = example[0]
    track = [{"epoch": e, "x": x, "y": y, "distance": 0.0, "train_accuracy": 1.0, "unseen_accuracy": u}
             for e, x, y, u in ((100, 0, 0, 0.0), (400, 1, 0, 0.1), (1600, 0, 1, 0.9))]  # fmt: skip
    two = replace(
        data, info=data.info | {"checkpoints": track}, sizes=np.array([10, 40]), mean_loss=data.mean_loss[[0, 1]]
    )
    grid.write(tmp_path / "plane.npz", two)
    scene = grokking_path.Grokking(tmp_path / "plane.npz")
    states = (0, grokking_path.STEPS // 2, grokking_path.STEPS - 1)
    assert len({movie.picture(scene, state, TINY.width, TINY.height) for state in states}) == 3
    moments = grokking_path._Track(track)
    middle = grokking_path.STEPS // 2
    assert moments.epochs[middle] == pytest.approx(400) and moments.of("x")[middle] == pytest.approx(1)


# --- exports ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def exported(example: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All exports of the example."""
    folder = tmp_path_factory.mktemp("exports")
    piece = export.Export("example", example[1], "")
    piece.make(folder, TINY, OneHand())
    return example[0], dict(zip(("csv", "html", "vtp", "A", "B", "C"), piece.files(folder), strict=True))


def test_the_table_reads_back(exported: Any) -> None:
    data, files = exported
    header, rows = files["csv"].read_text().split("\n", 1)
    assert header == "training_samples,from_a_to_b,from_a_to_c,mean_loss"
    numbers = np.array([[float(cell) for cell in row.split(",")] for row in rows.splitlines()])
    shape = (len(data.few_sizes()), len(data.y), len(data.x))
    assert len(numbers) == np.prod(shape)
    # Cells carry eight digits.
    np.testing.assert_allclose(numbers[:, 3].reshape(shape), data.mean_loss[data.few_sizes()], rtol=1e-7)
    np.testing.assert_array_equal(numbers[:, 0].reshape(shape)[:, 0, 0], data.sizes[data.few_sizes()])
    np.testing.assert_allclose(numbers[:, 1].reshape(shape)[0, 0], data.x, atol=1e-7)
    np.testing.assert_allclose(numbers[:, 2].reshape(shape)[0, :, 0], data.y, atol=1e-7)


def test_the_wavefront_mesh_is_the_surface(exported: Any) -> None:
    data, files = exported
    for letter, corner in zip("ABC", data.info["corners"], strict=True):
        lines = files[letter].read_text(encoding="utf-8").splitlines()
        nodes = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
        faces = np.array([line.split()[1:] for line in lines if line.startswith("f ")], int) - 1
        assert nodes.shape == (21 * 21, 3) and faces.shape == (2 * 20 * 20, 3)
        assert f"; {corner['n_train']} training samples" in lines[0] and "quick run" in lines[0]
        # Heights are written with six digits.
        np.testing.assert_allclose(nodes[:, 2], data.drawn(data.size_index(corner["n_train"])).ravel(), atol=1e-5)
        a, b, c = (nodes[faces[:, i]] for i in range(3))
        area = np.cross(b - a, c - a)[:, 2]
        assert (area > 0).all() and area.sum() / 2 == pytest.approx(4.0)  # every face up, the whole plane once


def test_the_vtk_mesh_is_the_surface(exported: Any) -> None:
    data, files = exported
    piece = ElementTree.parse(files["vtp"]).getroot().find("PolyData/Piece")
    assert piece is not None
    arrays = {array.get("Name"): np.array((array.text or "").split(), float) for array in piece.iter("DataArray")}
    n_points, n_faces = int(piece.get("NumberOfPoints", 0)), int(piece.get("NumberOfPolys", 0))
    assert (n_points, n_faces) == (21 * 21, 2 * 20 * 20)
    assert arrays["points"].size == 3 * n_points and arrays["connectivity"].size == 3 * n_faces
    assert arrays["connectivity"].max() == n_points - 1 and arrays["offsets"].tolist() == list(
        range(3, 3 * n_faces + 1, 3)
    )
    fields = [name for name in arrays if name and name.startswith("log10_loss_")]
    assert fields == [f"log10_loss_{data.sizes[i]:06d}" for i in data.few_sizes()]
    np.testing.assert_allclose(arrays[fields[0]], data.drawn(0).ravel(), atol=1e-5)
    np.testing.assert_allclose(arrays["points"][2::3], arrays[fields[-1]])


def test_the_page_has_a_frame_for_every_size_and_needs_no_network(exported: Any) -> None:
    data, files = exported
    sizes = [str(data.sizes[i]) for i in data.few_sizes()]
    figure = page.page(data)
    assert [frame.name for frame in figure.frames] == sizes
    assert [step.args[0] for step in figure.layout.sliders[0].steps] == [(size,) for size in sizes]
    for frame, index in zip(figure.frames, data.few_sizes(), strict=True):
        np.testing.assert_array_equal(frame.data[0].z, data.drawn(index).astype(np.float32))
    text = files["html"].read_text(encoding="utf-8")
    frames = text[text.index("Plotly.addFrames(") :]
    assert re.findall(r'"name":\s*"(\d+)"', frames) == sizes
    assert not re.search(r"<(script|link)[^>]+(src|href)=", text)
    assert "quick run, not paper scale" in text and "A → B (1 = distance 1.0)" in json.loads(f'"{_scene_names(text)}"')


def _scene_names(text: str) -> str:
    found = re.search(r'"xaxis":\s*\{"title":\s*\{"text":\s*"([^"]+)"', text)
    assert found is not None
    return found[1]


WATCH = """<script>requestAnimationFrame = f => setTimeout(() => f(performance.now()), 16);  // no screen, no frames
window.told = []; console.error = (...words) => told.push(words.join(' '));
addEventListener('error', event => told.push(event.message));
addEventListener('unhandledrejection', event => told.push(String(event.reason)));</script>"""
DRIVE = """<script>addEventListener('load', async () => {
const pause = time => new Promise(go => setTimeout(go, time)), plot = document.getElementById('surface'), seen = {};
const look = () => ({heights: Array.from(plot._fullData[0].z, row => Array.from(row)),
  slider: plot.querySelector('.slider-label').textContent, title: plot.querySelector('.gtitle').textContent,
  webgl: plot.querySelectorAll('canvas').length});
try {
  for (let i = 0; i < 50 && !plot.querySelector('.slider-rail-touch-rect'); i++) await pause(50);
  seen.before = look();
  const rail = plot.querySelector('.slider-rail-touch-rect'), box = rail.getBoundingClientRect();
  const end = {clientX: box.right - 1, clientY: box.top + box.height / 2, bubbles: true, view: window};
  rail.dispatchEvent(new MouseEvent('mousedown', end)); await pause(100);
  rail.dispatchEvent(new MouseEvent('mouseup', end)); await pause(600);
  seen.after = look();
} catch (error) { told.push(String(error)); }
seen.told = told;
document.body.innerHTML = ''; document.body.appendChild(document.createElement('pre')).textContent = JSON.stringify(seen);
});</script>"""


def test_the_slider_moves_the_surface_in_a_browser(exported: Any, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs chromium on the PATH (apt-get install chromium)")
    data, files = exported
    text = files["html"].read_text(encoding="utf-8")
    driven = tmp_path / "driven.html"
    driven.write_text(
        text.replace("<head>", f"<head>{WATCH}", 1).replace("</body>", f"{DRIVE}</body>", 1), encoding="utf-8"
    )
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
             f"--user-data-dir={tmp_path / 'profile'}", "--window-size=640,480", "--virtual-time-budget=3000",
             "--dump-dom", driven.as_uri()]  # fmt: skip
    done = subprocess.run([browser, *flags], capture_output=True, text=True, timeout=100)
    found = re.search(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    seen = json.loads(unescape(found[1]))
    assert seen["told"] == []
    first, last = data.few_sizes()[0], data.few_sizes()[-1]
    for look, index in ((seen["before"], first), (seen["after"], last)):
        np.testing.assert_allclose(look["heights"], data.drawn(index), atol=1e-6)
        assert (
            look["slider"].endswith(f": {data.sizes[index]:,}") and f"{data.sizes[index]:,} training" in look["title"]
        )
        assert look["webgl"] > 0


# --- speed -----------------------------------------------------------------------------------------------------------
def test_the_profile_adds_up(film: Any, hands: Any) -> None:
    started = time.perf_counter()
    found = speed.measure(replace(film[0], states=tuple(range(4))), TINY, hands)
    elapsed = time.perf_counter() - started
    assert found.n_frames == 4 and found.processes == 2
    assert 0 < found.whole < elapsed and found.drawing + found.blank + found.whole <= elapsed
    shares = [float(line.split("%")[0]) for line in found.report().splitlines()[2:]]
    assert sum(shares) == pytest.approx(100, abs=0.3)  # rounded to a tenth each
    assert all(later >= 0 for later in shares) and list(pairwise(shares))
