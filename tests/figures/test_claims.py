"""Figures of all studies at once: claims against estimators, slopes and volumes beside published ones, re-ranking."""

from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from figs import claim_matrix, forest, reranking
from minima_volume.analysis import claims, published
from minima_volume.drawing import style
from tests.figures.made_up_results import LEVELS, assert_readable, lines, nested, write

pytestmark = pytest.mark.usefixtures("folders")


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn, instead of files."""
    figures: list[Figure] = []
    monkeypatch.setattr(style, "save", lambda figure, path: figures.append(figure) or [path])
    return figures


def test_the_matrix_has_a_dot_for_each_finding_and_fills_those_that_converged(kept: list[Figure]) -> None:
    write("mnist_data", nested("mnist_data"))
    assert claim_matrix.draw("paper")
    axes = kept[0].axes[0]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    found = [one for each in claims.judge_all("paper") for e in each.evidence for one in e.findings]
    assert len(dots) == len(found) > 10
    hollow = sum(dot.get_markerfacecolor() == "white" for dot in dots)
    assert hollow == sum(not one.converged for one in found) > 0
    agreed = sum(dot.get_color() == claim_matrix.COLORS["agrees"] for dot in dots)
    assert agreed == sum(one.outcome == "agrees" for one in found)
    words = [text.get_text() for text in axes.texts]
    assert words == [each.verdict for each in claims.judge_all("paper") if each.evidence]
    assert_readable(kept[0])


def test_no_results_no_matrix(kept: list[Figure]) -> None:
    assert claim_matrix.draw("paper") == [] == reranking.draw("paper") and not kept


def test_the_largest_of_a_landscape_must_lead_in_every_repeat() -> None:
    rows = [(0, 0, 0, 5.0), (0, 10, 0, 4.0), (1, 0, 0, 6.0), (1, 10, 0, 4.0), (0, 10, 10, 3.0), (0, 20, 10, 2.0),
            (1, 10, 10, 1.0), (1, 20, 10, 2.0)]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["repeat", "level", "landscape", "value"])
    assert reranking.largest(frame).to_dict() == {0: 0}  # in landscape 10 the repeats disagree


def test_reranking_draws_each_minimum_and_rings_the_largest(kept: list[Figure]) -> None:
    write("mnist_data", nested("mnist_data"))
    assert reranking.draw("paper")
    axes = kept[0].axes[0]
    curves = [line for line in axes.lines if line.get_marker() == "o" and line.get_linestyle() == "-"]
    assert [list(curve.get_xdata()) for curve in curves] == [[20], [20, 50], [20, 50, 300]]
    (ring,) = [line for line in axes.lines if line.get_markersize() == 8]
    # Volumes fall with the level, so each minimum leads at its own size.
    assert list(ring.get_xdata()) == [20 + level for level in LEVELS]
    ends = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"]
    assert ends == [25, 52]  # medians of three repeats; the last never ends
    assert_readable(kept[0])


def test_forests_draw_every_slope_and_every_difference(kept: list[Figure], monkeypatch: pytest.MonkeyPatch) -> None:
    def trend(study: str, slope: float, **changed: Any) -> dict[str, Any]:
        return {"study": study, "held": "landscape 0", "threshold": 0.1, "values": "20 50 300", "ours_repeats": 3,
                "published_repeats": 1, "ours_slope": slope, "ours_slope_se": 0.01, "published_slope": slope + 0.02,
                "published_slope_se": 0.03, "ours_solved_slope": slope - 0.01, **changed}  # fmt: skip

    trends = pd.DataFrame([trend("a", -0.2), trend("a", -0.9, threshold=0.05), trend("b", -0.3), trend("p", -9.0)])
    steps = [("a", 0.4, "a grid step"), ("a", 3.0, "neither"), ("b", -2.0, "two errors")]
    volumes = pd.DataFrame(steps, columns=["study", "grid_steps", "within"]).assign(level=[0, 10, 0])
    monkeypatch.setattr(published, "compare_all", lambda: (volumes, trends))
    assert forest.draw("quick") == []
    assert len(forest.draw("paper")) == 2
    slopes, differences = kept
    left, right = slopes.axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["b", "a"]  # a at the top
    assert lines(left, "o")[0][0] == [-0.3, -0.2] and lines(right, "o")[0][0] == [-9.0]  # the largest threshold only
    drawn = sorted(x for marker in "oD" for xs, _ in lines(differences.axes[0], marker) for x in xs)
    assert drawn == [-2.0, 0.4, 3.0]
    assert "1 of 3" in differences.get_suptitle()
    for figure in kept:
        assert_readable(figure)
