"""All figures together: each is registered and drawn once, and quick ones are marked."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
from matplotlib.figure import Figure

from figs import draw, fixed_landscape, grokking, methods, power_law, radii
from minima_volume import analysis
from minima_volume.drawing import output
from minima_volume.errors import WriteError
from minima_volume.pipeline import chain
from minima_volume.storage import layout
from tests.figures.made_up_results import assert_readable, nested, sam_rows, write
from tests.project import ROOT

pytestmark = pytest.mark.usefixtures("folders")


def test_every_figure_is_registered() -> None:
    scripts = {path.stem for path in (ROOT / "figs").glob("*.py")}
    assert scripts - {"__init__", "draw"} == {draw.name_of(module) for module in (*draw.FIGURES, *draw.OVERVIEWS)}


def test_figures_are_drawn_once_and_missing_results_are_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Two that can be drawn, two that lack something, one that is not for this study: the others take the same path.
    monkeypatch.setattr(draw, "FIGURES", (fixed_landscape, power_law, methods, radii, grokking))
    write("mnist_sam", sam_rows(), scale="quick")
    said, left = draw.draw_study("mnist_sam", "quick")
    assert said == [f"drew {output.ROOT}/quick/mnist_sam{name}.{{pdf,png}}" for name in ("", "_power_law")]
    made = sorted(path.name for path in (output.ROOT / "quick").iterdir())
    assert made == sorted(f"mnist_sam{name}{suffix}" for name in ("", "_power_law") for suffix in (".pdf", ".png"))
    assert [(figure, study) for figure, study, _ in left] == [("methods", "mnist_sam"), ("radii", "mnist_sam")]
    assert all("run `make" in reason for *_, reason in left)
    for path in (output.ROOT / "quick").glob("*.png"):
        ink = image.imread(path)[..., :3].min(axis=2) < 0.9
        assert 0.02 < ink.mean() < 0.6
        assert not np.concatenate([ink[0], ink[:, 0]]).any()  # the quick note touches the lower right corner
    assert draw.draw_study("mnist_sam", "quick") == ([], left)  # nothing is drawn twice
    newer = max(path.stat().st_mtime for path in (output.ROOT / "quick").iterdir()) + 10
    os.utime(layout.study_folder("quick", "mnist_sam") / "volumes.csv", (newer, newer))
    assert draw.draw_study("mnist_sam", "quick") == (said, left)  # new results wake every figure
    for picture in (output.ROOT / "quick").iterdir():
        os.utime(picture, (newer, newer))
    monkeypatch.setattr(analysis, "__file__", str(tmp_path / "__init__.py"))
    (tmp_path / "trends.py").touch()
    os.utime(tmp_path / "trends.py", (newer + 10, newer + 10))
    assert draw.draw_study("mnist_sam", "quick") == (said, left)  # so does new code of what a figure shows
    draw.main(["mnist_sam", "cifar_sam"], "paper")
    said = "skipped all figures of cifar_sam, mnist_sam: no paper results; `make <study>` makes them"
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("drawn", ["before the results came", "in the future"])
def test_a_picture_with_a_doubtful_time_is_drawn_again(drawn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw, "FIGURES", (fixed_landscape,))
    write("mnist_sam", sam_rows(), scale="quick")
    said, _ = draw.draw_study("mnist_sam", "quick")
    table, picture = layout.study_folder("quick", "mnist_sam") / "volumes.csv", output.figure_path("quick", "mnist_sam")
    for path in [path for path in table.parent.rglob("*") if path.is_file()]:
        os.utime(path, (1e9, 1e9))  # as `cp -p` and `rsync -t` leave them
    later = table.stat().st_ctime - 1 if drawn == "before the results came" else time.time() + 1e6
    for suffix in (".pdf", ".png"):
        os.utime(picture.with_suffix(suffix), (later, later))
    assert draw.draw_study("mnist_sam", "quick")[0] == said
    os.utime(picture.with_suffix(".pdf"), (later, later))
    chain.expire_picture(table, picture.with_suffix(".pdf"))
    assert picture.with_suffix(".pdf").stat().st_mtime == 0  # so that make draws it, too
    draw.draw_study("mnist_sam", "quick")
    chain.expire_picture(table, picture.with_suffix(".pdf"))
    assert picture.with_suffix(".pdf").stat().st_mtime > 0


def test_a_picture_that_cannot_be_written_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw, "FIGURES", (fixed_landscape,))
    write("mnist_sam", sam_rows(), scale="quick")
    output.ROOT.parent.mkdir(exist_ok=True)
    output.ROOT.write_text("a file where the folder belongs")
    with pytest.raises(WriteError, match=r"Expected to write .*mnist_sam\.pdf"):
        draw.draw_study("mnist_sam", "quick")


def test_what_is_skipped_is_said_once_for_each_reason() -> None:
    rays = "Expected the rays of repeat {}, got only tables: run `make {} SCALE=paper`."
    skipped = [
        ("radii", "a", rays.format(0, "a")), ("boundaries", "a", "other"), ("radii", "b", rays.format(2, "b")),
        ("trust", "b", rays.format(2, "b")), ("overview", "", "damaged"),
    ]  # fmt: skip
    assert draw.summary(skipped) == [
        f"skipped radii of a, radii, trust of b: {rays.replace('repeat {}', 'a repeat').format('<study>')}",
        "skipped boundaries of a: other",
        "skipped overview: damaged",
    ]


def test_no_committed_picture_has_cut_labels() -> None:
    pictures = [sorted((ROOT / folder).glob("*.png")) for folder in ("figs/paper", "toy_models/out")]
    assert all(pictures)
    for path in [path for folder in pictures for path in folder]:
        ink = image.imread(path)[..., :3].min(axis=2) < 0.9
        assert not np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]]).any(), path.name


def test_quick_results_are_marked_and_paper_results_are_not(picture: Callable[..., Figure]) -> None:
    for scale, marked in (("quick", True), ("paper", False)):
        write("study", nested("study"), scale=scale)
        figure = picture(fixed_landscape, "study", scale)
        assert any("quick run" in text.get_text() for text in figure.texts) == marked
        assert_readable(figure)
