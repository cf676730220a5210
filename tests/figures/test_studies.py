"""Figures of one or two studies: the points that they draw equal the rows of the tables."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy.stats import linregress, spearmanr

from figs import cutoffs, fixed_landscape, generalisation, grokking, methods, power_law, varying_landscape
from minima_volume.analysis import power_law as analysis_power_law
from minima_volume.analysis import tables
from minima_volume.drawing import marks
from minima_volume.errors import ResultsError
from tests.figures.made_up_results import (
    LEVELS,
    N_DIRECTIONS,
    N_PARAMS,
    THRESHOLDS,
    assert_readable,
    caption,
    ends,
    lines,
    nested,
    row,
    sam_rows,
    stored,
    write,
)

pytestmark = pytest.mark.usefixtures("folders")


def test_fixed_landscape_plots_the_rows(picture: Callable[..., Figure]) -> None:
    rows = nested("study")
    for changed in rows:
        if (changed["repeat"], changed["level"], changed["threshold"]) == (1, 280, 0.05):
            changed |= {"status": "unconverged", "log_volume": "", "typical_log_volume": "", "n_crossed": 0}
        if (changed["repeat"], changed["level"], changed["threshold"]) == (2, 30, 0.1):
            changed |= {"status": "censored", "n_crossed": N_DIRECTIONS - 3}
    write("study", rows)
    figure = picture(fixed_landscape, "study")
    left, right = figure.axes
    base = [r for r in stored("study") if r["landscape"] == "0"]
    complete = [r for r in base if float(r["threshold"]) == 0.1]
    means = [np.mean([float(r["log_volume"]) for r in complete if int(r["level"]) == level]) for level in LEVELS]
    middle = 2 * math.log(50 / 20) / math.log(300 / 20)  # places are logarithms of 20, 50 and 300 samples
    aside = marks.beside({0: 0.0, 30: middle, 280: 2.0}, 0, 2)  # two thresholds stand side by side
    assert list(aside.values()) == pytest.approx([-0.035, middle - 0.035, 1.965])
    assert (pytest.approx([*aside.values()]), pytest.approx(means)) in lines(left, "o")
    drawn = sorted(y for line in left.lines if line.get_alpha() == 0.25 for y in line.get_ydata() if not np.isnan(y))
    assert drawn == pytest.approx(sorted(float(r["log_volume"]) for r in base if r["log_volume"]))
    assert [x for x, _ in lines(left, "x")] == [[pytest.approx(2.035)]]
    open_points = [line for line in left.lines if line.get_marker() == "o" and line.get_markerfacecolor() == "white"]
    # At either threshold single repeats where others have no volume, then lower bounds.
    assert [list(line.get_xdata()) for line in open_points] == [
        [], [pytest.approx(middle - 0.035)], [pytest.approx(2.035)] * 3, [],
    ]  # fmt: skip
    at_largest = [r for r in base if r["threshold"] == "0.1"]
    points = {(x, y) for xs, ys in lines(right, "o") for x, y in zip(xs, ys, strict=True)}
    assert points == {(float(r["log_volume"]), float(r["test_accuracy"])) for r in at_largest}
    assert "lower bound" in caption(figure) and "×: no volume" in caption(figure)
    assert_readable(figure)


@pytest.mark.parametrize(("level_means", "marked"), [("extra", 2), ("batch_size", 0)])
def test_only_studies_of_data_mark_the_minimum_of_the_base_data(
    level_means: str, marked: int, picture: Callable[..., Figure]
) -> None:
    write("kind", [row("kind", r, level, 0, t) for r in (0, 1) for level in (10, 50) for t in THRESHOLDS],
          level_means=level_means)  # fmt: skip
    assert len(lines(picture(fixed_landscape, "kind").axes[0], "^")) == marked


def test_varying_landscape_plots_the_rows(picture: Callable[..., Figure]) -> None:
    rows = nested("study")
    for changed in rows:
        if changed["level"] == 280 and changed["landscape"] == 280 and changed["threshold"] == 0.05:
            changed |= {"status": "unconverged", "log_volume": "-inf"}
    write("study", rows)
    figure = picture(varying_landscape, "study")
    upper, lower = figure.axes[:2], figure.axes[2:]
    for axes, threshold in zip(upper, THRESHOLDS, strict=True):
        curves = lines(axes, "o")
        for level in LEVELS:
            here = [r for r in stored("study") if int(r["level"]) == level and float(r["threshold"]) == threshold]
            sizes = sorted({20.0 + int(r["landscape"]) for r in here if math.isfinite(float(r["log_volume"]))})
            means = [
                np.mean([float(r["log_volume"]) for r in here if 20 + int(r["landscape"]) == size]) for size in sizes
            ]
            # Levels stand side by side at a size, so that their bars can be told apart.
            beside = pytest.approx(sizes, rel=0.05)
            assert any(len(x) == len(sizes) and x == beside and y == pytest.approx(means) for x, y in curves)
    assert [x for x, _ in lines(upper[1], "x")] == [[pytest.approx(300.0, rel=0.05)]] and not lines(upper[0], "x")
    own = [x for line in upper[0].lines if line.get_markersize() == 7 for x in np.atleast_1d(line.get_xdata())]
    assert own == pytest.approx([20, 50, 300], rel=0.05) and own != [20, 50, 300]
    table = [r for r in ends("study") if r["threshold"] == 0.1]
    dots = sorted(x for xs, _ in lines(lower[0], "o") for x in xs)
    assert dots == sorted(r["cutoff"] for r in table if r["cutoff"] is not None)
    assert lines(lower[0], ">") == [([300.0], [2.0])]  # never ends: an arrow at the end of the data, no cutoff
    assert_readable(figure)


def test_power_law_points_and_fit(picture: Callable[..., Figure]) -> None:
    write("study", nested("study"))
    frame = tables.volumes("paper", "study")
    rows = analysis_power_law.points(frame[frame["threshold"] == 0.1], 20, "log_volume")
    own = [r for r in stored("study") if r["level"] == r["landscape"] and r["threshold"] == "0.1"]
    assert rows["per_parameter"].tolist() == pytest.approx([float(r["log_volume"]) / N_PARAMS for r in own])
    assert rows["log_size"].tolist() == pytest.approx([math.log(20 + int(r["level"])) for r in own])
    line = analysis_power_law.fit(rows.drop(columns="error"))  # that of the directions
    # ln V/n falls by 0.2 with ln(20 + level) and by 0.05 with ln(20 + landscape), which are the same here.
    assert line is not None and line.slope == pytest.approx(-0.25) and line.n_points == 9
    assert line.error == pytest.approx(0, abs=1e-9) and 0.999 < line.r_squared < 1  # repeats differ in height
    assert_readable(picture(power_law, "study"))


def test_a_bend_is_told_from_noise(picture: Callable[..., Figure]) -> None:
    rng, sizes = np.random.default_rng(3), np.tile(np.log([20.0, 60.0, 200.0, 600.0, 2000.0, 6000.0]), 3)
    heights = np.repeat([0.0, 0.3, -0.2], 6)

    def fitted(bend: float) -> analysis_power_law.Slope:
        y = heights - 0.2 * sizes + bend * (sizes - 6) ** 2 + 0.02 * rng.standard_normal(18)
        frame = {"repeat": np.repeat([0, 1, 2], 6), "log_size": sizes, "status": "ok", "per_parameter": y}
        line = analysis_power_law.fit(pd.DataFrame(frame))
        assert line is not None and line.bend_freedom == 18 - 5
        return line

    # 5 % of 300 straight lines are called bent, give or take 1.3 %.
    assert 0.015 < np.mean([not fitted(0.0).straight for _ in range(300)]) < 0.095
    assert not any(fitted(0.03).straight for _ in range(20)) and fitted(-0.03).bend < -3
    write("study", [row | {"log_volume": -100 * (math.log(20 + row["level"]) - 6) ** 2} for row in nested("study")])
    (legend,) = picture(power_law, "study").legends
    assert "no power law, bend" in legend.get_texts()[0].get_text()


def test_residuals_and_local_exponents_by_hand(picture: Callable[..., Figure]) -> None:
    sizes, y = [0.0, 1.0, 3.0], [0.0, -1.0, -1.0]
    frame = pd.DataFrame({"repeat": 0, "status": "ok", "log_size": sizes, "per_parameter": y})
    local = analysis_power_law.local_exponents(frame)
    assert local["log_size"].tolist() == [0.5, 2.0] and local["exponent"].tolist() == [-1.0, 0.0]
    line = linregress(sizes, y)
    left = [height - line.intercept - line.slope * x for x, height in zip(sizes, y, strict=True)]
    assert analysis_power_law.residuals(frame)["residual"].tolist() == pytest.approx(left)
    assert analysis_power_law.residuals(frame.iloc[:2]).empty
    write("study", nested("study"))
    # ln V/n falls by 0.25 with ln D everywhere.
    drawn = [exponent for _, ys in lines(picture(power_law, "study").axes[4], "o") for exponent in ys]
    assert drawn == pytest.approx([-0.25] * 12)


def test_power_law_error_is_that_of_the_repeats_or_of_least_squares() -> None:
    rng = np.random.default_rng(0)
    sizes = np.log([20.0, 50.0, 300.0, 900.0])
    noisy = pd.DataFrame({
        "repeat": np.repeat([0, 1, 2], 4), "log_size": np.tile(sizes, 3), "status": "ok",
        "per_parameter": -0.3 * np.tile(sizes, 3) + 0.05 * rng.standard_normal(12),
    })  # fmt: skip
    separate = [linregress(part["log_size"], part["per_parameter"]) for _, part in noisy.groupby("repeat")]
    together, alone = analysis_power_law.fit(noisy), analysis_power_law.fit(noisy[noisy["repeat"] == 0])
    assert together is not None and alone is not None
    assert together.slope == pytest.approx(np.mean([line.slope for line in separate]))
    assert together.error == pytest.approx(np.std([line.slope for line in separate], ddof=1) / math.sqrt(3))
    assert (alone.slope, alone.error) == pytest.approx((separate[0].slope, separate[0].stderr))
    bounds = noisy.assign(
        status=["censored", "ok", "ok", "ok"] * 3, per_parameter=noisy["per_parameter"] + [9, 0, 0, 0] * 3
    )
    left = analysis_power_law.fit(bounds)
    assert left is not None and left.n_points == 9 and abs(left.slope) < 1  # lower bounds do not bend the line
    assert analysis_power_law.fit(bounds[bounds["log_size"] < 5]) is None


def test_generalisation_has_one_point_per_minimum(picture: Callable[..., Figure]) -> None:
    rows = nested("study")
    rows[0] |= {"status": "unconverged", "log_volume": "", "typical_log_volume": ""}
    write("study", rows)
    points = generalisation.points(tables.volumes("paper", "study"))
    wanted = [r for r in stored("study") if r["landscape"] == "0" and r["threshold"] == "0.1"]
    assert points["test_loss"].tolist() == pytest.approx([float(r["test_loss"]) for r in wanted])
    kept = [r for r in wanted if r["log_volume"]]
    rho = spearmanr([float(r["log_volume"]) for r in kept], [float(r["test_loss"]) for r in kept]).statistic
    assert generalisation.rank_correlation(points, "log_volume", "test_loss") == pytest.approx(rho)
    figure = picture(generalisation, "study")
    drawn = {(x, y) for xs, ys in lines(figure.axes[0], "o") for x, y in zip(xs, ys, strict=True) if not math.isnan(x)}
    assert drawn == {(float(r["log_volume"]), float(r["test_loss"])) for r in kept}
    assert [y for _, y in lines(figure.axes[0], "x")] == [[float(wanted[0]["test_loss"])]]
    assert_readable(figure)


def test_a_study_without_any_volume_has_no_generalisation() -> None:
    write("none", [{**r, "status": "unconverged", "log_volume": ""} for r in nested("none")])
    with pytest.raises(ResultsError, match=r"minima below the threshold 0\.1, got fewer than two"):
        generalisation.draw("none", "paper")


def test_cutoffs_plot_the_rows(picture: Callable[..., Figure]) -> None:
    write("study", nested("study"))
    frame = cutoffs.beyond_own(tables.cutoffs("paper", "study"), 20)
    assert frame[(frame["level"] == 0) & (frame["threshold"] == 0.1)]["beyond"].tolist() == [2, 5, 8]
    figure = picture(cutoffs, "study")
    sizes = sorted(y for _, ys in lines(figure.axes[0], "o") for y in ys if not math.isnan(y))
    assert sizes == sorted(r["cutoff"] for r in ends("study") if r["cutoff"] is not None)
    new = sorted(y for _, ys in lines(figure.axes[1], "o") for y in ys)
    assert new == [2, 2, 2, 2, 5, 5, 5, 5, 8, 8]
    assert len(lines(figure.axes[1], "x")) == 2  # one row of crosses per threshold: ended inside its own training set
    assert len(lines(figure.axes[1], "^")) == 2
    assert_readable(figure)
    write("endless", nested("endless"), cut=[{**r, "cutoff": None} for r in ends("endless")])
    with pytest.raises(ResultsError, match="that passes a threshold within its data, got none"):
        cutoffs.draw("endless", "paper")


def test_grokking_plots_both_criteria(picture: Callable[..., Figure]) -> None:
    rows = [row("grok", r, level, 0, 0.1, unseen_accuracy=level / 500) for r in range(2) for level in (100, 200, 400)]
    rows += [{**r, "metric": "accuracy", "threshold": 0.95, "log_volume": r["level"]} for r in rows]
    rows[-1] |= {"status": "unconverged", "log_volume": "nan"}
    write("grok", rows, level_means="epochs", levels=[100, 200, 400], landscapes="base")
    figure = picture(grokking, "grok")
    accuracy, loss, kept = figure.axes
    epochs = [100.0, 200.0, 400.0]
    assert (epochs, pytest.approx([0.2, 0.4, 0.8])) in lines(accuracy, "o")
    assert lines(loss, "o")[0] == (epochs, pytest.approx([np.mean([r["log_volume"] for r in rows[:6] if r["level"] == e])
                                                         for e in epochs]))  # fmt: skip
    # One of two repeats has no volume at the last epoch, so there is no mean.
    assert lines(kept, "o")[0] == (epochs, pytest.approx([100, 200, math.nan], nan_ok=True))
    assert [x for x, _ in lines(kept, "x")] == [[400.0]]
    assert_readable(figure)
    write("other", nested("other"))
    assert grokking.draw("other", "paper") == []
    rows[0] |= {"unseen_accuracy": "nan"}
    write("grok", rows, level_means="epochs", levels=[100, 200, 400], landscapes="base")
    with pytest.raises(ResultsError, match="every row of column unseen_accuracy"):
        grokking.draw("grok", "paper")


def test_methods_compares_repeat_by_repeat(picture: Callable[..., Figure]) -> None:
    rows = sam_rows()
    rows[0] |= {"status": "censored"}
    write("mnist_sam", rows, recipe={"epochs": 5, "batch_size": 64, "sam_rho": 0.05})
    with pytest.raises(ResultsError, match=r"run `make mnist_data SCALE=paper`"):
        methods.draw("mnist_sam", "paper")
    write("mnist_data", nested("mnist_data"))
    paired = methods.differences(tables.volumes("paper", "mnist_sam"), tables.volumes("paper", "mnist_data"))
    assert paired["log_volume_difference"].isna().tolist() == [True] + [False] * (len(paired) - 1)
    assert paired["log_volume_difference"].dropna().tolist() == pytest.approx([100 + r["repeat"] for r in rows[1:]])
    assert paired["typical_log_volume_difference"].dropna().abs().max() == pytest.approx(0, abs=1e-6)
    points = 100 * (rows[1]["test_accuracy"] - nested("mnist_data")[1]["test_accuracy"])
    assert paired["test_accuracy_difference"].iloc[1] == pytest.approx(points)
    figure = picture(methods, "mnist_sam")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:2] == ["SAM ρ = 0.05\n5 epochs, batch 64", "AdamW\n5 epochs, full batch"]
    assert [x for x, _ in lines(figure.axes[1], "x")] == [[-0.12], [0.12]]  # level 0 has a repeat that is only a bound
    assert "× in b: a repeat without two exact volumes" in caption(figure)
    said = " ".join(caption(figure).split())  # lines are broken anywhere
    assert "3 repeats, mean ± s.d., 40 directions b, c: repeat by repeat, 3 repeats, mean ± standard error" in said
    assert_readable(figure)
    assert methods.draw("mnist_data", "paper") == []
    write("mnist_data", [row | {"n_directions": 80} for row in nested("mnist_data")], n_directions=80)
    paired = methods.differences(tables.volumes("paper", "mnist_sam"), tables.volumes("paper", "mnist_data"))
    assert (
        paired["log_volume_difference"].isna().all()
        and paired["typical_log_volume_difference"].notna().sum() == len(rows) - 1
    )
    figure = picture(methods, "mnist_sam")
    assert "ln E[$r^n$] along other numbers of directions cannot be compared" in caption(figure)
    said = " ".join(caption(figure).split())
    assert "SAM ρ = 0.05: 3 repeats, mean ± s.d., 40 directions AdamW: 3 repeats, mean ± s.d., 80 directions" in said
    assert_readable(figure)
    write("mnist_data", nested("mnist_data"), data_seed=11)
    with pytest.raises(ResultsError, match="the same data_seed"):
        methods.draw("mnist_sam", "paper")
