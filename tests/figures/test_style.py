"""The two styles of pictures: sizes on paper and on slides, and that a slide shows the same picture larger."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
from matplotlib import pyplot as plt

from minima_volume.drawing import marks, output, style
from minima_volume.errors import UserError


def draw(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Path:
    """Draw the same figure in a style; return its path without a suffix."""
    monkeypatch.setenv("STYLE", name)
    style.use()
    figure, axes = plt.subplots(figsize=(style.DOUBLE_COLUMN, 2.0))
    axes.plot([0, 1], [0, 1], "o-", label="a line")
    axes.set_xlabel("some label")
    axes.legend()
    path = folder / name
    style.save(figure, path)
    return path


def page(path: Path) -> tuple[float, float]:
    """Return the width and height of a PDF's page in inches."""
    found = re.search(rb"/MediaBox \[ 0 0 ([0-9.]+) ([0-9.]+) \]", path.with_suffix(".pdf").read_bytes())
    assert found
    return float(found[1]) / 72, float(found[2]) / 72


def test_sizes_of_pages_and_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paper, talk = (draw(tmp_path, monkeypatch, name) for name in ("paper", "talk"))
    assert page(paper)[0] == pytest.approx(5.5) and page(talk)[0] == pytest.approx(13.3)
    assert plt.rcParams["axes.labelsize"] * style.STYLES["talk"] == 18
    # Everything on the page of the slide is enlarged by one matrix, ahead of all drawing.
    assert (
        image.imread(talk.with_suffix(".png")).shape[1] == 2660
        and image.imread(paper.with_suffix(".png")).shape[1] == 1100
    )


def test_a_slide_is_the_same_picture_enlarged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    talk = image.imread(draw(tmp_path, monkeypatch, "talk").with_suffix(".png"))[..., :3].min(axis=2)
    paper = image.imread(draw(tmp_path, monkeypatch, "paper").with_suffix(".png"))[..., :3].min(axis=2)
    # Letters and lines grow with the page, so the share of ink differs by the small change of the page's width only; at
    # letters of 8 points on the larger page it would be a fifth.
    assert np.mean(talk < 0.5) == pytest.approx(np.mean(paper < 0.5), rel=0.2)


def test_slides_have_a_folder_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STYLE", raising=False)
    assert output.figure_path("paper", "study", "cutoffs") == output.ROOT / "paper" / "study_cutoffs"
    monkeypatch.setenv("STYLE", "talk")
    assert output.figure_path("paper", "study") == output.ROOT / "paper" / "talk" / "study"


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(UserError, match="Expected STYLE to be paper or talk, got 'poster'"):
        style.chosen({"STYLE": "poster"})


@pytest.mark.parametrize("columns", [1, 2, 4])
@pytest.mark.parametrize("high", [35, 150, 1000, 100_000])
def test_numbers_on_logarithmic_axes_do_not_touch(columns: int, high: int) -> None:
    style.use()
    figure, grid = plt.subplots(1, columns, figsize=(4.4, 2.0), squeeze=False, sharey=True)  # room for a legend
    for axes in grid.flat:
        axes.set_xscale("log")
        axes.set_xlim(20 * 0.9, high * 1.1)
        marks.log_ticks(axes.xaxis)
    style.lay_out(figure)
    figure.draw_without_rendering()
    for axes in grid.flat:
        labels = [label for label in axes.get_xticklabels() if label.get_text()]
        boxes = [label.get_window_extent() for label in labels if 18 <= label.get_position()[0] <= high * 1.1]
        assert boxes and all(a.x1 < b.x0 for a, b in pairwise(boxes))
