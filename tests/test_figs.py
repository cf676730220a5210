"""All figures together: registered, drawn once, marked where they are quick."""

import ast
import os
from collections.abc import Callable

import draw
import fixed_landscape
import grokking
import methods
import numpy as np
import power_law
import pytest
import radii
import tables
from conftest import ROOT
from drawing import (
    assert_readable,
    nested,
    sam_rows,
    write,
)
from matplotlib import image
from matplotlib.figure import Figure
from test_layers import FOR_FIGURES

from minima_volume import results

pytestmark = pytest.mark.usefixtures("folders")
HELPERS = {"draw", "compare", "marks", "rays", "readme", "style", "tables", "trends"}


def test_every_figure_is_registered_and_needs_no_torch() -> None:
    scripts = {path.stem for path in (ROOT / "figs").glob("*.py")}
    assert scripts - HELPERS == {module.__name__ for module in draw.FIGURES}
    files = [*(ROOT / "figs").glob("*.py"), *(ROOT / "minima_volume" / f"{name}.py" for name in FOR_FIGURES)]
    for path in files:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import):
                assert not {name.name.split(".")[0] for name in node.names} & {"torch", "torchvision"}, path
            if isinstance(node, ast.ImportFrom) and node.module:
                names = {node.module.split(".")[-1], *(alias.name for alias in node.names)}
                assert node.module != "minima_volume" or {alias.name for alias in node.names} <= FOR_FIGURES, path
                assert not node.module.startswith("minima_volume.") or names & FOR_FIGURES, path


def test_draw_makes_what_it_can_once_and_says_what_it_skipped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two that can be drawn, two that lack something, one that is not for this study: the others take the same path.
    monkeypatch.setattr(draw, "FIGURES", (fixed_landscape, power_law, methods, radii, grokking))
    write("mnist_sam", sam_rows(), scale="quick")
    said = draw.drawn("mnist_sam", "quick")
    made = sorted(path.name for path in (tables.ROOT / "quick").iterdir())
    assert made == sorted(f"mnist_sam{name}{suffix}" for name in ("", "_power_law") for suffix in (".pdf", ".png"))
    skipped = [line for line in said if line.startswith("skipped")]
    assert [line.split()[1] for line in skipped] == ["methods", "radii"]
    assert all("run `make" in line for line in skipped)
    for path in (tables.ROOT / "quick").glob("*.png"):
        ink = image.imread(path)[..., :3].min(axis=2) < 0.9
        assert 0.02 < ink.mean() < 0.6
        assert not np.concatenate([ink[0], ink[:, 0]]).any()  # the quick note touches the lower right corner
    assert draw.drawn("mnist_sam", "quick") == skipped  # nothing is drawn twice
    newer = max(path.stat().st_mtime for path in (tables.ROOT / "quick").iterdir()) + 10
    os.utime(results.study_folder("quick", "mnist_sam") / "volumes.csv", (newer, newer))
    assert draw.drawn("mnist_sam", "quick") == said  # new results wake every figure
    draw.main(["mnist_sam", "cifar_sam"], "paper")
    assert "skipped cifar_sam: no paper results; `make cifar_sam` makes them" in capsys.readouterr().out


def test_quick_results_are_marked_and_paper_results_are_not(picture: Callable[..., Figure]) -> None:
    for scale, marked in (("quick", True), ("paper", False)):
        write("study", nested("study"), scale=scale)
        figure = picture(fixed_landscape, "study", scale)
        assert any("quick run" in text.get_text() for text in figure.texts) == marked
        assert_readable(figure)
