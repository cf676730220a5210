"""The figure and the table of published numbers: worked by hand, and checked against the studies."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from figs import published
from minima_volume.analysis import published as analysis_published
from minima_volume.errors import ResultsError
from minima_volume.storage import layout, tables
from tests.figures.made_up_results import assert_readable, lines, nested, write
from tests.project import ROOT

pytestmark = pytest.mark.usefixtures("folders")


def publish(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two repeats of level 0, one of level 30 that is above the threshold, a training record, and another study."""
    lines_ = [
        "study,repeat_name,level,landscape,threshold,log_volume_grid,loss_at_zero,test_loss,test_accuracy,source",
        "mnist_data,model_0 (a),0,0,0.1,2000,0.01,1.0,0.5,x", "mnist_data,model_1,0,0,0.1,2400,0.04,2.0,,x",
        "mnist_data,model_0 (b),0,,,,,1.0,0.7,x", "mnist_data,model_0 (a),30,0,0.1,-inf,,3.0,,x",
        "mnist_data,model_0 (a),999,0,0.1,5,,3.0,,x", "swiss_sam,model_0,0,0,0.1,1,,1.0,,x",
    ]  # fmt: skip
    path.write_text("\n".join(lines_) + "\n")
    monkeypatch.setattr(analysis_published, "PUBLISHED", path)


def test_comparison_against_rows_worked_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path / "published.csv", monkeypatch)
    with pytest.raises(ResultsError, match="paper results of a published study, got none"):
        analysis_published.main()
    rows = nested("mnist_data")
    write("mnist_data", rows)
    path, _ = analysis_published.main()
    assert path == layout.ROOT / "paper" / "comparison.csv"
    first, second = tables.read_table(path, analysis_published.COLUMNS)
    here = [r for r in rows if (r["level"], r["landscape"], r["threshold"]) == (0, 0, 0.1)]
    ours = np.mean([r["log_volume_grid"] for r in here])
    assert (first["ours_repeats"], first["published_repeats"]) == ("3", "2")
    assert float(first["ours_log_volume_grid"]) == pytest.approx(ours)
    assert float(first["ours_spread"]) == pytest.approx(7)  # volumes of the repeats are 7 apart
    assert float(first["published_log_volume_grid"]) == 2200
    assert float(first["relative_difference"]) == pytest.approx((ours - 2200) / 2200)
    # r = exp(2200/1000) = c √1000, c = (k/99)², so k = 99 √(9.025/31.62) = 52.89.
    index = 99 * np.sqrt(np.exp(ours / 1000) / np.sqrt(1000))
    assert float(first["grid_steps"]) == pytest.approx(index - 52.89, abs=0.01)
    assert float(first["published_loss_at_zero"]) == pytest.approx(0.02)  # √(0.01 · 0.04)
    assert float(first["ours_loss_at_zero"]) == pytest.approx(
        np.exp(np.mean([np.log(r["loss_at_zero"]) for r in here]))
    )
    assert (second["ours_loss_at_zero"] != "", second["published_loss_at_zero"]) == (True, "")
    assert float(first["published_test_loss"]) == 1.5  # model_0 counts once although two folders hold it
    assert float(first["published_test_accuracy"]) == pytest.approx(0.6)
    assert float(first["ours_test_accuracy"]) == pytest.approx(0.61)
    assert (second["level"], second["published_without_volume"], second["relative_difference"]) == ("30", "1", "")


def test_published_grid_step_of_a_stored_volume() -> None:
    # 922,978 nats and k = 32 are a stored MNIST result; its neighbours are 14.7k nats away.
    assert analysis_published.grid_step(922_978, 235_146) == pytest.approx(2 * 235_146 / 32, rel=2e-3)


def test_published_table_names_only_our_studies() -> None:
    rows = tables.read_table(analysis_published.PUBLISHED, analysis_published.PUBLISHED_COLUMNS, recorded=False)
    offered = "".join(path.read_text() for path in ROOT.glob("*/studies.mk"))
    assert {r["study"] for r in rows} <= set(offered.split()) and all(r["source"] for r in rows)
    at = {(r["study"], r["repeat_name"], r["level"]): r["log_volume_grid"] for r in rows if r["landscape"] == "0"}
    assert float(at["mnist_poison", "model_0_data_10", "2000"]) == pytest.approx(461_702, abs=1)
    assert at["swiss_poison_x5", "model_0_data_0", "100"] == "-inf"
    for r in rows:
        assert math.isfinite(float(r["log_volume_grid"] or 0)) or r["log_volume_grid"] == "-inf"


def test_published_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: Callable[..., Figure]) -> None:
    publish(tmp_path / "published.csv", monkeypatch)
    write("mnist_data", nested("mnist_data"))
    figure = picture(published, "mnist_data")
    assert lines(figure.axes[0], "s") == [([0.12, 0.12], [2000, 2400])]
    assert len(lines(figure.axes[0], "x")) == 1  # −∞ is a cross, never a number
    assert_readable(figure)
    write("mnist_data", nested("mnist_data"), scale="quick")
    assert published.draw("mnist_data", "quick") == []  # quick runs are other experiments
