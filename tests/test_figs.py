"""The figures: what they plot equals the tables' rows, and what is no number is shown as such or refused."""

import ast
import csv
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import image
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy.stats import linregress, spearmanr

from minima_volume import results
from minima_volume.errors import ResultsError
from minima_volume.models import build_model
from minima_volume.volume import estimate

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "figs"))
import boundaries  # noqa: E402  (figs is not a package)
import compare  # noqa: E402
import cutoffs  # noqa: E402
import draw  # noqa: E402
import fixed_landscape  # noqa: E402
import generalisation  # noqa: E402
import grokking  # noqa: E402
import marks  # noqa: E402
import methods  # noqa: E402
import power_law  # noqa: E402
import published  # noqa: E402
import radii  # noqa: E402
import rank_stability  # noqa: E402
import rays  # noqa: E402
import slices  # noqa: E402
import tables  # noqa: E402
import varying_landscape  # noqa: E402

import style  # noqa: E402

HELPERS = {"draw", "compare", "marks", "rays", "readme", "style", "tables", "trends"}
N_PARAMS, N_DIRECTIONS, LEVELS, THRESHOLDS, REPEATS = 1000, 40, (0, 30, 280), (0.1, 0.05), 3
SETTINGS = {
    "title": "More data on nothing", "data": "digits", "model": "tiny", "intervention": "data", "base": 20,
    "levels": LEVELS, "level_means": "extra", "landscapes": "nested", "n_directions": N_DIRECTIONS, "model_seed": 0,
    "data_seed": 10, "thresholds": THRESHOLDS, "normalise": True,
    "recipe": {"epochs": 5, "batch_size": None, "sam_rho": None},
}  # fmt: skip
Rows = list[dict[str, Any]]


def row(study: str, repeat: int, level: int, landscape: int, threshold: float, **changed: Any) -> dict[str, Any]:
    """One row of volumes.csv whose volume falls with everything that makes the task harder."""
    volume = N_PARAMS * (3 - 0.2 * math.log(20 + level) - 0.05 * math.log(20 + landscape) + threshold) + 7 * repeat
    return {
        "study": study, "data": "digits 8×8", "model": "tiny", "repeat": repeat, "level": level, "landscape": landscape,
        "threshold": threshold, "metric": "loss", "status": "ok", "n_params": N_PARAMS, "n_directions": N_DIRECTIONS,
        "n_crossed": N_DIRECTIONS, "n_recrossed": 0, "log_volume": volume, "log_volume_se": 5.0,
        "typical_log_volume": volume - 200, "typical_log_volume_se": 2.0, "log_volume_grid": volume + 11,
        "grid_directions": N_DIRECTIONS, "loss_at_zero": 0.001, "train_loss": 0.001,
        "test_loss": 1.2 - level / 300 + repeat / 50,
        "test_accuracy": 0.6 + level / 1000 + repeat / 100, "train_accuracy": 1.0, "unseen_accuracy": None, **changed,
    }  # fmt: skip


def nested(study: str) -> Rows:
    return [
        row(study, repeat, level, landscape, threshold)
        for repeat in range(REPEATS)
        for level in LEVELS
        for landscape in LEVELS
        if landscape <= level
        for threshold in THRESHOLDS
    ]


def ends(study: str, base: int = 20) -> Rows:
    """Rows of cutoffs.csv: the largest level never ends, and repeat 2 of level 30 ends inside its own training set."""
    cut = {(2, 30): base + 25}
    return [
        {"study": study, "data": "digits 8×8", "model": "tiny", "repeat": repeat, "level": level, "threshold": threshold,
         "cutoff": None if level == LEVELS[-1] else cut.get((repeat, level), base + level + 2 + 3 * repeat),
         "n_samples": base + LEVELS[-1], "final_mean_loss": 1.0}
        for repeat in range(REPEATS) for level in LEVELS for threshold in THRESHOLDS
    ]  # fmt: skip


def write(study: str, rows: Rows, *, scale: str = "paper", cut: Rows | None = None, **changed: Any) -> Path:
    """A results folder as the stages leave it; volumes.csv is written cell by cell, so that it may hold anything."""
    folder = results.study_folder(scale, study)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "volumes.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, results.VOLUME_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    results.write_table(folder / "cutoffs.csv", results.CUTOFF_COLUMNS, ends(study) if cut is None else cut)
    (folder / "run.json").write_text(json.dumps({"settings": {**SETTINGS, "name": study, **changed}}))
    return folder


def stored(study: str) -> Rows:
    """The table again, by another reader."""
    with (results.study_folder("paper", study) / "volumes.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(results, "ROOT", tmp_path / "results")
    monkeypatch.setattr(tables, "ROOT", tmp_path / "figs")
    yield
    plt.close("all")


@pytest.fixture
def picture(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType, str, str], Figure]:
    """Draw a figure and return it instead of saving it."""

    def drawn(module: ModuleType, study: str, scale: str = "paper") -> Figure:
        kept: list[Figure] = []
        monkeypatch.setattr(style, "save", lambda figure, path: kept.append(figure) or [path])
        assert module.draw(study, scale), f"{module.__name__} drew nothing"
        return kept[0]

    return drawn


def lines(axes: Axes, marker: str) -> list[tuple[list[float], list[float]]]:
    """Data of the non-empty lines with a marker."""
    found = [line for line in axes.lines if line.get_marker() == marker and len(line.get_xdata())]
    return [(list(map(float, line.get_xdata())), list(map(float, line.get_ydata()))) for line in found]


def caption(figure: Figure) -> str:
    """The sentences below a figure, whose blanks are those that no line is broken at."""
    return " ".join(text.get_text() for text in figure.texts).replace("\N{NO-BREAK SPACE}", " ")


def assert_readable(figure: Figure) -> None:
    """No two texts overlap, none leaves the paper, and every panel holds something."""
    drawn: list[Text] = []
    with pytest.MonkeyPatch.context() as patch:
        # What is drawn, for an axis keeps the labels of ticks beyond its ends.
        patch.setattr(Text, "draw", lambda text, *_: drawn.append(text))
        figure.draw_without_rendering()
    shown = [text for text in set(drawn) if text.get_visible() and text.get_text().strip()]
    # Boxes of slanted texts overlap without harm.
    boxes = [(text, text.get_window_extent()) for text in shown if text.get_rotation() in (0, 90)]
    for text, box in boxes:
        assert figure.bbox.contains(box.x0, box.y0) and figure.bbox.contains(box.x1, box.y1), text
    for (first, a), (second, b) in combinations(boxes, 2):
        shared = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(shared) < 1, f"{first.get_text()!r} overlaps {second.get_text()!r}"
    assert all(axes.lines or axes.patches or axes.images or axes.texts or axes.collections for axes in figure.axes)


# --- tables ------------------------------------------------------------------------------------------------------------
def test_missing_and_empty_tables_are_refused() -> None:
    with pytest.raises(ResultsError, match=r"volumes\.csv"):
        tables.volumes("paper", "absent")
    write("hollow", [], cut=[])
    for reader in (tables.volumes, tables.cutoffs):
        with pytest.raises(ResultsError, match=r"Expected rows .* run `make hollow SCALE=paper`"):
            reader("paper", "hollow")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"log_volume": "much"}, "numbers in column log_volume"),
        ({"level": ""}, "a number in every row of column level"),
        ({"threshold": "nan"}, "a number in every row of column threshold"),
        ({"test_accuracy": "nan"}, "a number in every row of column test_accuracy"),
        ({"test_loss": "-inf"}, "a number in every row of column test_loss"),
        ({"status": "fine"}, "a status among ok, unconverged, censored"),
        ({"repeat": 1}, "every row of .* once"),
    ],
)
def test_damaged_tables_are_refused(changed: dict[str, Any], message: str) -> None:
    rows = nested("damaged")
    write("damaged", [{**rows[0], **changed}, *rows[1:]])
    with pytest.raises(ResultsError, match=message):
        tables.volumes("paper", "damaged")


def test_half_a_line_and_missing_settings_are_refused() -> None:
    folder = write("cut", nested("cut"))
    whole = (folder / "volumes.csv").read_text()
    (folder / "volumes.csv").write_text(whole[: whole.rindex("digits")])
    with pytest.raises(ResultsError, match="Expected"):
        tables.volumes("paper", "cut")
    (folder / "run.json").write_text('{"settings": {"title": "x"}}')
    with pytest.raises(ResultsError, match=r"Expected the settings data, .* in .*run\.json"):
        tables.settings("paper", "cut")


@pytest.mark.parametrize("cell", ["-inf", "nan", "inf", ""])
def test_what_is_no_number_becomes_none(cell: str) -> None:
    rows = nested("odd")
    write("odd", [{**rows[0], "log_volume": cell}, *rows[1:]])
    frame = tables.volumes("paper", "odd")
    assert np.isnan(frame["log_volume"][0]) and np.isfinite(frame["log_volume"][1:]).all()
    assert marks.caveats(frame) == ["×: 1 row with no number in the table"]


def test_a_volume_of_an_unconverged_minimum_is_none_whatever_the_file_says() -> None:
    write("liar", [row("liar", 0, level, 0, 0.1, status="unconverged", log_volume=0.0) for level in LEVELS])
    assert tables.volumes("paper", "liar")["log_volume"].isna().all()


def test_cutoffs_outside_the_data_are_refused() -> None:
    write("far", nested("far"), cut=[{**ends("far")[0], "cutoff": 301}])
    with pytest.raises(ResultsError, match="cutoffs between 1 and 300 samples in far, got 301"):
        tables.cutoffs("paper", "far")


# --- figures of one table ----------------------------------------------------------------------------------------------
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
    aside = marks.beside({0: 0.0, 30: 1.0, 280: 2.0}, 0, 2)  # two thresholds stand side by side
    assert list(aside.values()) == pytest.approx([-0.035, 0.965, 1.965])
    assert ([*aside.values()], pytest.approx(means)) in lines(left, "o")
    drawn = sorted(y for line in left.lines if line.get_alpha() == 0.25 for y in line.get_ydata() if not np.isnan(y))
    assert drawn == pytest.approx(sorted(float(r["log_volume"]) for r in base if r["log_volume"]))
    assert [x for x, _ in lines(left, "x")] == [[pytest.approx(2.035)]]
    open_points = [line for line in left.lines if line.get_marker() == "o" and line.get_markerfacecolor() == "white"]
    assert [list(line.get_xdata()) for line in open_points] == [[pytest.approx(0.965)], []]
    at_largest = [r for r in base if r["threshold"] == "0.1"]
    points = {(x, y) for xs, ys in lines(right, "o") for x, y in zip(xs, ys, strict=True)}
    assert points == {(float(r["log_volume"]), float(r["test_accuracy"])) for r in at_largest}
    assert "lower bound" in caption(figure) and "×: no volume" in caption(figure)
    assert_readable(figure)


@pytest.mark.parametrize(("level_means", "marked"), [("extra", 2), ("batch_size", 0)])
def test_only_data_studies_have_a_natural_minimum(
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
        curves = [(x, y) for x, y in lines(axes, "o") if len(x) > 1 or x == [20.0]][::1]
        for level in LEVELS:
            here = [r for r in stored("study") if int(r["level"]) == level and float(r["threshold"]) == threshold]
            sizes = sorted({20.0 + int(r["landscape"]) for r in here if math.isfinite(float(r["log_volume"]))})
            means = [
                np.mean([float(r["log_volume"]) for r in here if 20 + int(r["landscape"]) == size]) for size in sizes
            ]
            assert any(x == sizes and y == pytest.approx(means) for x, y in curves)
    assert [x for x, _ in lines(upper[1], "x")] == [[300.0]] and not lines(upper[0], "x")
    own = [x for line in upper[0].lines if line.get_markersize() == 7 for x in np.atleast_1d(line.get_xdata())]
    assert own == [20, 50, 300]
    table = [r for r in ends("study") if r["threshold"] == 0.1]
    dots = sorted(x for xs, _ in lines(lower[0], "o") for x in xs)
    assert dots == sorted(r["cutoff"] for r in table if r["cutoff"] is not None)
    assert lines(lower[0], ">") == [([300.0], [2.0])]  # never ends: an arrow at the end of the data, no cutoff
    assert_readable(figure)


def test_power_law_points_and_fit(picture: Callable[..., Figure]) -> None:
    write("study", nested("study"))
    frame = tables.volumes("paper", "study")
    rows = power_law.points(frame[frame["threshold"] == 0.1], 20, "log_volume")
    own = [r for r in stored("study") if r["level"] == r["landscape"] and r["threshold"] == "0.1"]
    assert rows["per_parameter"].tolist() == pytest.approx([float(r["log_volume"]) / N_PARAMS for r in own])
    assert rows["log_size"].tolist() == pytest.approx([math.log(20 + int(r["level"])) for r in own])
    line = power_law.fit(rows)
    # ln V/n falls by 0.2 with ln(20 + level) and by 0.05 with ln(20 + landscape), which are the same here.
    assert line is not None and line.slope == pytest.approx(-0.25) and line.n_points == 9
    assert line.error == pytest.approx(0, abs=1e-9) and 0.999 < line.r_squared < 1  # repeats differ in height
    assert_readable(picture(power_law, "study"))


def test_power_law_error_is_that_of_the_repeats_or_of_least_squares() -> None:
    rng = np.random.default_rng(0)
    sizes = np.log([20.0, 50.0, 300.0, 900.0])
    noisy = pd.DataFrame({
        "repeat": np.repeat([0, 1, 2], 4), "log_size": np.tile(sizes, 3), "status": "ok",
        "per_parameter": -0.3 * np.tile(sizes, 3) + 0.05 * rng.standard_normal(12),
    })  # fmt: skip
    separate = [linregress(part["log_size"], part["per_parameter"]) for _, part in noisy.groupby("repeat")]
    together, alone = power_law.fit(noisy), power_law.fit(noisy[noisy["repeat"] == 0])
    assert together is not None and alone is not None
    assert together.slope == pytest.approx(np.mean([line.slope for line in separate]))
    assert together.error == pytest.approx(np.std([line.slope for line in separate], ddof=1) / math.sqrt(3))
    assert (alone.slope, alone.error) == pytest.approx((separate[0].slope, separate[0].stderr))
    bounds = noisy.assign(
        status=["censored", "ok", "ok", "ok"] * 3, per_parameter=noisy["per_parameter"] + [9, 0, 0, 0] * 3
    )
    left = power_law.fit(bounds)
    assert left is not None and left.n_points == 9 and abs(left.slope) < 1  # lower bounds do not bend the line
    assert power_law.fit(bounds[bounds["log_size"] < 5]) is None


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
    with pytest.raises(ResultsError, match=r"minima below the threshold 0\.1, got none"):
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
    with pytest.raises(ResultsError, match="that ends within its data, got none"):
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
    assert lines(kept, "o")[0] == (epochs, epochs) and [x for x, _ in lines(kept, "x")] == [[400.0]]
    assert_readable(figure)
    write("other", nested("other"))
    assert grokking.draw("other", "paper") == []
    rows[0] |= {"unseen_accuracy": "nan"}
    write("grok", rows, level_means="epochs", levels=[100, 200, 400], landscapes="base")
    with pytest.raises(ResultsError, match="every row of column unseen_accuracy"):
        grokking.draw("grok", "paper")


def sliced(
    study: str, levels: tuple[int, int], damage: Callable[[Rows], Rows] = lambda rows: rows, **changed: Any
) -> None:
    """Planes of two minima whose loss is a paraboloid over the radii, and the table that belongs to them."""
    radius = np.linspace(-8, 8, 5)
    cells = [
        {"repeat": 0, "level": level, "n_train": 20 + level, "radius_1": x, "radius_2": y,
         "seen_loss": 0.003 + (x * x + 4 * y * y) / 2000, "unseen_loss": 0.02}
        for level in levels for y in radius for x in radius
    ]  # fmt: skip
    write(study, [row(study, 0, level, 0, 0.01, unseen_accuracy=level / 1000) for level in levels], thresholds=(0.01, 0.005),
          data="modulo", **changed)  # fmt: skip
    path = results.study_folder("paper", study) / "slices.csv"
    path.write_text(
        "\n".join([",".join(results.SLICE_COLUMNS), *(",".join(map(str, c.values())) for c in damage(cells))])
    )


def test_slices_draw_both_studies_side_by_side(picture: Callable[..., Figure]) -> None:
    sliced("modulo_grokking", (100, 400), level_means="epochs")
    with pytest.raises(ResultsError, match=r"slices of modulo_data, got none: run `make slices SCALE=paper`"):
        slices.draw("modulo_grokking", "paper")
    sliced("modulo_data", (0, 280))
    assert slices.draw("modulo_data", "paper") == []
    figure = picture(slices, "modulo_grokking")
    panels = figure.axes[:8]
    titles = [axes.get_title(loc="left").split("$   ")[1] for axes in panels]
    assert titles[:4] == [
        "20 pairs,\n5 epochs",
        "300 pairs,\n5 epochs",
        "120 pairs,\n100 epochs",
        "420 pairs,\n400 epochs",
    ]
    assert titles[4:] == ["accuracy 0.000", "accuracy 0.280", "accuracy 0.100", "accuracy 0.400"]
    radius = np.linspace(-8, 8, 5)
    x, y = np.meshgrid(radius, radius)
    for axes in panels[:4]:
        assert np.asarray(axes.images[0].get_array()) == pytest.approx(
            0.003 + (x**2 + 4 * y**2) / 2000
        )  # x runs to the right
        assert axes.images[0].get_extent() == [-10, 10, -10, 10]  # pixels of width 4, centred on the radii
        assert len(axes.collections) == 2  # both thresholds are crossed
    assert not any(axes.collections for axes in panels[4:])  # a loss of 0.02 crosses none
    assert "loss 1/97 = 0.0103" in caption(figure)
    assert_readable(figure)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda rows: [{**rows[0], "unseen_loss": ""}, *rows[1:]], "losses above 0 everywhere"),
        (lambda rows: [{**rows[0], "seen_loss": "-inf"}, *rows[1:]], "losses above 0 everywhere"),
        (lambda rows: rows[:-1], "whole planes"),
        (lambda rows: [*rows, rows[0]], "every row of modulo_data once"),
        (lambda rows: [{**rows[0], "radius_1": ""}, *rows[1:]], "a number in every row of column radius_1"),
    ],
)
def test_damaged_slices_are_refused(damage: Callable[[Rows], Rows], message: str) -> None:
    sliced("modulo_data", (0, 280), damage)
    with pytest.raises(ResultsError, match=message):
        tables.slices("paper", "modulo_data")


# --- figures of two tables ---------------------------------------------------------------------------------------------
def sam_rows() -> Rows:
    return [{**r, "log_volume": r["log_volume"] + 100 + r["repeat"]} for r in nested("mnist_sam")]


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
    figure = picture(methods, "mnist_sam")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:2] == ["SAM ρ = 0.05\n5 epochs, batch 64", "AdamW\n5 epochs, full batch"]
    assert [x for x, _ in lines(figure.axes[1], "x")] == [[-0.12], [0.12]]  # level 0 has a repeat that is only a bound
    assert "× in b: a repeat without two exact volumes" in caption(figure)
    assert_readable(figure)
    assert methods.draw("mnist_data", "paper") == []
    write("mnist_data", nested("mnist_data"), data_seed=11)
    with pytest.raises(ResultsError, match="the same data_seed"):
        methods.draw("mnist_sam", "paper")


# --- published numbers -------------------------------------------------------------------------------------------------
def publish(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two repeats of level 0, one of level 30 that is above the threshold, a training record, and another study."""
    lines_ = [
        "study,repeat_name,level,landscape,threshold,log_volume_grid,test_loss,test_accuracy,source",
        "mnist_data,model_0 (a),0,0,0.1,2000,1.0,0.5,x", "mnist_data,model_1,0,0,0.1,2400,2.0,,x",
        "mnist_data,model_0 (b),0,,,,1.0,0.7,x", "mnist_data,model_0 (a),30,0,0.1,-inf,3.0,,x",
        "mnist_data,model_0 (a),999,0,0.1,5,3.0,,x", "swiss_sam,model_0,0,0,0.1,1,1.0,,x",
    ]  # fmt: skip
    path.write_text("\n".join(lines_) + "\n")
    monkeypatch.setattr(compare, "PUBLISHED", path)


def test_comparison_against_rows_worked_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path / "published.csv", monkeypatch)
    with pytest.raises(ResultsError, match="paper results of a published study, got none"):
        compare.main()
    rows = nested("mnist_data")
    write("mnist_data", rows)
    path, _ = compare.main()
    assert path == results.ROOT / "paper" / "comparison.csv"
    first, second = results.read_table(path, compare.COLUMNS)
    here = [r for r in rows if (r["level"], r["landscape"], r["threshold"]) == (0, 0, 0.1)]
    ours = np.mean([r["log_volume_grid"] for r in here])
    assert (first["ours_repeats"], first["published_repeats"]) == ("3", "2")
    assert float(first["ours_log_volume_grid"]) == pytest.approx(ours)
    assert float(first["ours_spread"]) == pytest.approx(7)  # volumes of the repeats are 7 apart
    assert float(first["published_log_volume_grid"]) == 2200
    assert float(first["relative_difference"]) == pytest.approx((ours - 2200) / 2200)
    # r = exp(2200/1000) = c √1000, c = (k/99)², so k = 99 √(9.025/31.62) = 52.89 and a step is 2·1000/k = 37.8 nats.
    assert float(first["grid_steps"]) == pytest.approx((ours - 2200) / 37.82, rel=1e-3)
    assert float(first["published_test_loss"]) == 1.5  # model_0 counts once although two folders hold it
    assert float(first["published_test_accuracy"]) == pytest.approx(0.6)
    assert float(first["ours_test_accuracy"]) == pytest.approx(0.61)
    assert (second["level"], second["published_without_volume"], second["relative_difference"]) == ("30", "1", "")


def test_published_grid_step_of_a_stored_volume() -> None:
    # 922,978 nats and k = 32 are a stored MNIST result; its neighbours are 14.7k nats away.
    assert compare.grid_step(922_978, 235_146) == pytest.approx(2 * 235_146 / 32, rel=2e-3)


def test_published_table_is_facts_about_our_studies() -> None:
    rows = results.read_table(compare.PUBLISHED, compare.PUBLISHED_COLUMNS)
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


# --- figures of stored rays and minima ---------------------------------------------------------------------------------
def with_rays(study: str, coefficients: dict[int, np.ndarray], **changed: Any) -> None:
    """Ray blocks of one repeat and the table that belongs to them; coefficients are (directions, thresholds)."""
    norms = np.linspace(30.0, 33.0, N_DIRECTIONS)
    rows = []
    for level, c in coefficients.items():
        for column, threshold in enumerate(THRESHOLDS):
            found = estimate(c[:, column], norms, N_PARAMS, recrossed=np.zeros(N_DIRECTIONS, dtype=bool))
            rows.append(row(study, 0, level, 0, threshold, **vars(found)))
    write(study, rows, levels=list(coefficients), landscapes="base", **changed)
    for start, stop in ((0, 25), (25, N_DIRECTIONS)):
        arrays = {f"level_{level}.coefficients": c[start:stop] for level, c in coefficients.items()}
        path = results.block_path(results.repeat_folder("paper", study, 0), start, stop)
        results.write_arrays(path, {}, {**arrays, "norms": norms[start:stop]})


def some_rays() -> dict[int, np.ndarray]:
    """Level 0 has three rays that never cross at the first threshold; level 30 is above the second."""
    rng = np.random.default_rng(1)
    first, second, third = (np.sort(scale * rng.uniform(0.5, 1, (N_DIRECTIONS, 2))) for scale in (0.4, 0.2, 0.1))
    first[:3, 0] = np.nan
    second[:, 1] = 0
    return {0: first, 30: second, 280: third}


def test_radii_are_those_of_the_rays(picture: Callable[..., Figure]) -> None:
    with_rays("study", some_rays())
    found = rays.radii("paper", "study", 0, tables.volumes("paper", "study"))
    norms = np.linspace(30.0, 33.0, N_DIRECTIONS)
    assert np.exp(found[280, 0.05].logs) == pytest.approx(some_rays()[280][:, 1] * norms)
    assert np.exp(found[0, 0.1].logs[:3]) == pytest.approx(norms[:3]) and found[0, 0.1].censored.sum() == 3
    assert not found[30, 0.05].inside
    folder = results.repeat_folder("paper", "study", 0)
    results.write_arrays(results.block_path(folder, N_DIRECTIONS, N_DIRECTIONS + 25), {}, {})  # left by a longer run
    assert rays.radii("paper", "study", 0, tables.volumes("paper", "study")).keys() == found.keys()
    heights, beyond = radii.counts(found[0, 0.1], np.array([0.0, 1e9]))
    assert (heights.tolist(), beyond) == ([N_DIRECTIONS - 3], 3)
    figure = picture(radii, "study")
    said = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert sorted(said) == ["3 never cross", "above the threshold"]
    assert_readable(figure)


def test_rays_that_are_missing_or_of_another_run_are_refused() -> None:
    write("bare", nested("bare"))
    for module in (radii, rank_stability):
        with pytest.raises(ResultsError, match=r"the rays of repeat 0, got only tables: run `make bare SCALE=paper`"):
            module.draw("bare", "paper")
    with_rays("study", some_rays())
    other = some_rays()
    other[0][5, 0] = np.nan
    kept = (results.study_folder("paper", "study") / "volumes.csv").read_bytes()
    with_rays("study", other)
    (results.study_folder("paper", "study") / "volumes.csv").write_bytes(kept)
    with pytest.raises(ResultsError, match="the rays of study to be those of its table"):
        radii.draw("study", "paper")


def test_rank_stability_of_a_known_case(picture: Callable[..., Figure]) -> None:
    n = 40
    # Only the last direction makes the first minimum the larger one, so k directions agree with probability k/n.
    logs = np.stack([np.r_[np.zeros(n - 1), 60.0], np.ones(n)])
    for statistic in rank_stability.STATISTICS.values():
        for size in (1, 10, 20):
            error = math.sqrt(size / n * (1 - size / n) / rank_stability.SUBSETS)
            assert rank_stability.probability(logs, size, statistic) == pytest.approx(size / n, abs=4 * error)
        assert rank_stability.probability(logs, n, statistic) == 1
        shifted = np.stack([logs[0], logs[0] - 1, logs[0] - 2])
        assert rank_stability.probability(shifted, 1, statistic) == 1
    assert rank_stability.same_order(np.array([[1.0, 2, 2], [1, 2, 3]]), np.array([0.0, 5, 5])).tolist() == [
        True,
        False,
    ]
    with_rays("study", some_rays())
    assert_readable(picture(rank_stability, "study"))


def swiss(study: str, damage: bool = False, levels: tuple[int, ...] = LEVELS) -> torch.nn.Sequential:
    model = build_model("swiss_x5")
    tensors = {f"parameters.{name}": value.detach() for name, value in model.state_dict().items()}
    if damage:
        tensors["parameters.1.bias"] = torch.full_like(tensors["parameters.1.bias"], float("nan"))
    for level in levels:
        path = results.minimum_path(results.repeat_folder("paper", study, 0), level)
        results.write_minimum(path, {}, {**tensors, "indices": torch.arange(3), "targets": torch.zeros(3)})
    write(study, [row(study, 0, level, 0, 0.1) for level in levels], data="swiss_roll", intervention="poison")
    return model


def test_boundaries_are_the_networks_own(picture: Callable[..., Figure]) -> None:
    model = swiss("spirals")
    path = results.minimum_path(results.repeat_folder("paper", "spirals", 0), 0)
    points = np.random.default_rng(0).uniform(-13, 13, (50, 2))
    with torch.no_grad():
        expected = model.double()(torch.from_numpy(points))[:, 0].numpy()
    assert boundaries.logits(boundaries.weights(path), points) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    figure = picture(boundaries, "spirals")
    assert "20 points + 280 mislabelled" in figure.axes[2].get_title(loc="left")
    assert_readable(figure)
    swiss("five", levels=(0, 10, 20, 50, 100))  # the second line of panels is not full
    assert_readable(picture(boundaries, "five"))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ResultsError, match="the weights of a network"):
        boundaries.draw("spirals", "paper")
    path.unlink()
    with pytest.raises(ResultsError, match="the minima of repeat 0, got only tables"):
        boundaries.draw("spirals", "paper")
    swiss("spirals", damage=True)
    with pytest.raises(ResultsError, match="finite weights"):
        boundaries.draw("spirals", "paper")
    write("digits", nested("digits"))
    assert boundaries.draw("digits", "paper") == []


# --- all of them -------------------------------------------------------------------------------------------------------
def test_every_figure_is_registered_and_needs_no_torch() -> None:
    scripts = {path.stem for path in (ROOT / "figs").glob("*.py")}
    assert scripts - HELPERS == {module.__name__ for module in draw.FIGURES}
    allowed = {"errors", "geometry", "results", "volume"}
    files = [*(ROOT / "figs").glob("*.py"), *(ROOT / "minima_volume" / f"{name}.py" for name in allowed)]
    for path in files:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import):
                assert not {name.name.split(".")[0] for name in node.names} & {"torch", "torchvision"}, path
            if isinstance(node, ast.ImportFrom) and node.module:
                names = {node.module.split(".")[-1], *(alias.name for alias in node.names)}
                assert node.module != "minima_volume" or {alias.name for alias in node.names} <= allowed, path
                assert not node.module.startswith("minima_volume.") or names & allowed, path


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
