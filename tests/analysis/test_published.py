"""Published numbers beside ours, worked by hand, and the README's tables in step with the results that are committed."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress, ttest_ind

from minima_volume.analysis import published as analysis_published
from minima_volume.analysis import readme, trends
from minima_volume.analysis import tables as analysis_tables
from minima_volume.errors import ResultsError
from minima_volume.storage import layout
from minima_volume.storage import tables as storage_tables
from tests.project import ROOT

N_PARAMS, BASE, LEVELS = 1000, 20, (0, 30, 80, 180)
SETTINGS = analysis_tables.Settings(
    **dict.fromkeys(analysis_tables.Settings.__dataclass_fields__) | {"base": BASE, "level_means": "extra"}
)


def ours(slopes: tuple[float, ...], *, noise: float = 0.0, landscapes: bool = False, **changed: Any) -> pd.DataFrame:
    """Rows of volumes.csv: ln V/n = 5 + slope·ln D of each repeat, and what noise adds; test loss 2/D."""
    rng = np.random.default_rng(0)
    return pd.DataFrame([
        {"study": "mnist_data", "repeat": repeat, "level": level, "landscape": landscape, "threshold": 0.1, "metric": "loss",
         "status": "ok", "n_params": N_PARAMS, "loss_at_zero": 1e-4 * (1 + repeat),
         "test_loss": 2 / (BASE + level), "test_accuracy": 0.9,
         "log_volume_grid": N_PARAMS * (5 + slope * math.log(BASE + level) - 0.1 * math.log(BASE + landscape)
                                        + noise * rng.standard_normal()),
         "log_volume": N_PARAMS * (4 + 2 * slope * math.log(BASE + level))}
        for repeat, slope in enumerate(slopes) for level in LEVELS for landscape in (LEVELS if landscapes else (0,))
        if landscape <= level
    ]).assign(**changed)  # fmt: skip


def theirs(slopes: tuple[float, ...], **options: Any) -> pd.DataFrame:
    frame = ours(slopes, **options)
    return frame.assign(repeat_name="model_" + frame["repeat"].astype(str) + "_data (a)").drop(
        columns=["repeat", "metric"]
    )


# --- how large a difference is ------------------------------------------------------------------------------------------


def test_combined_error_is_that_of_students_test() -> None:
    a, b = pd.Series([1.0, 4.0, 2.5, np.nan]), pd.Series([3.0, 7.0, -np.inf])
    expected = (a[:3].mean() - b[:2].mean()) / ttest_ind(a[:3], b[:2]).statistic
    assert analysis_published.combined_error(a, b) == pytest.approx(expected, rel=1e-12)


def test_combined_error_of_too_few() -> None:
    one, two = pd.Series([1.0]), pd.Series([1.0, 4.0])
    for pair in ((one, one), (two, two[:0]), (pd.concat([one, one]), one)):
        assert math.isnan(analysis_published.combined_error(*pair))
    # A single published repeat is taken to spread as ours do: 3/√2 · √(1/2 + 1).
    assert analysis_published.combined_error(two, one) == pytest.approx(3 / math.sqrt(2) * math.sqrt(1.5))


def test_repeats_on_one_grid_point_do_not_agree_exactly() -> None:
    same = pd.Series([5.0, 5.0])
    # Rounding spreads by step/√12 = 2, and two means of two leave √(1/2 + 1/2) of it.
    assert analysis_published.combined_error(same, same, rounding=2.0) == pytest.approx(2.0)


@pytest.mark.parametrize(("shift", "within"), [(0.5, "a grid step"), (1.4, "two errors"), (8, "neither")])
def test_a_difference_has_its_reason(shift: float, within: str) -> None:
    mine, published = ours((-0.2, -0.2, -0.2)), theirs((-0.2, -0.2))
    step = analysis_published.grid_step(mine.loc[0, "log_volume_grid"], N_PARAMS)
    spread = mine["repeat"].map({0: -step, 1: 0.0, 2: step})
    mine["log_volume_grid"] += shift * step + spread
    row = analysis_published.compare_study(mine, published).iloc[0]
    # Pooled over 2 + 1 degrees of freedom: √(2 step²/3), times √(1/3 + 1/2).
    assert row["grid_steps"] == pytest.approx(shift, rel=1e-6)
    assert row["standard_errors"] == pytest.approx(shift / math.sqrt(2 / 3 * (1 / 3 + 1 / 2)), rel=1e-6)
    assert row["within"] == within


def test_losses_of_the_minima_themselves() -> None:
    mine = ours((-0.2, -0.2)).assign(level=0)  # 1e-4 and 2e-4
    frame = analysis_published.compare_study(mine, theirs((-0.2,)))
    assert frame["ours_loss_at_zero"].iloc[0] == pytest.approx(1e-4 * math.sqrt(2))
    assert frame["published_loss_at_zero"].iloc[0] == pytest.approx(1e-4)
    assert readme._losses(frame) == "1.4"
    assert readme._losses(frame.assign(published_loss_at_zero=math.nan)) == "—"


# --- which way it goes --------------------------------------------------------------------------------------------------


def test_slopes_against_linregress() -> None:
    mine, published = ours((-0.2, -0.3), noise=0.01), theirs((-0.1,), noise=0.02)
    found = trends.trends(mine, published, SETTINGS)
    volume = found[(found["quantity"] == "log volume") & (found["held"] == "landscape 0")].iloc[0]
    x = np.log(BASE + np.array(LEVELS))
    each = [linregress(x, mine.loc[mine["repeat"] == r, "log_volume_grid"] / N_PARAMS).slope for r in (0, 1)]
    line = linregress(x, published["log_volume_grid"] / N_PARAMS)
    error = abs(each[0] - each[1]) / 2  # standard error of the mean of two
    assert volume["ours_slope"] == pytest.approx(np.mean(each)) and volume["ours_slope_se"] == pytest.approx(error)
    assert volume["published_slope"] == pytest.approx(line.slope)
    assert volume["published_slope_se"] == pytest.approx(line.stderr)
    apart = (np.mean(each) - line.slope) / math.hypot(error, line.stderr)
    assert volume["standard_errors"] == pytest.approx(apart)
    assert volume["ours_solved_slope"] == pytest.approx(-0.5)  # twice the mean of the repeats' slopes
    assert (volume["against"], volume["values"]) == ("training samples", "20 50 100 200")
    loss = found[found["quantity"] == "test loss"].iloc[0]
    assert loss["ours_slope"] == pytest.approx(-1) and loss["published_slope"] == pytest.approx(-1)


@pytest.mark.parametrize(
    ("published", "noise", "ways", "direction"),
    [
        ((-0.1, -0.12), 0.0, ("falls", "falls"), "same"),
        ((0.1, 0.12), 0.0, ("falls", "rises"), "opposite"),
        ((-0.01, 0.012), 0.0, ("falls", "unclear"), "unclear"),
    ],
)
def test_directions(published: tuple[float, ...], noise: float, ways: tuple[str, str], direction: str) -> None:
    row = trends.trends(ours((-0.2, -0.21)), theirs(published, noise=noise), SETTINGS).iloc[0]
    assert (row["ours_direction"], row["published_direction"]) == ways and row["direction"] == direction


def test_every_line_through_the_table_is_a_trend() -> None:
    frame = trends.trends(ours((-0.2, -0.21), landscapes=True), theirs((-0.2, -0.22), landscapes=True), SETTINGS)
    at = {held: row for held, row in frame.set_index("held").iterrows() if held}
    # Three values or more: the landscapes of 0 and 30 extras, each minimum's own, and the minima with three landscapes.
    assert set(at) == {"landscape 0", "landscape 30", "own landscape", "minimum 80", "minimum 180"}
    assert at["own landscape"]["ours_slope"] == pytest.approx(-0.205 - 0.1)
    assert at["minimum 180"]["ours_slope"] == pytest.approx(-0.1)


def test_only_values_that_both_have_are_fitted() -> None:
    mine, published = ours((-0.2, -0.2)), theirs((-0.2, -0.2))
    mine.loc[mine["level"] == 0, "log_volume_grid"] += 500  # a point that only we have
    published.loc[published["level"] == 0, "log_volume_grid"] = -np.inf  # above the threshold
    row = trends.trends(mine, published, SETTINGS).iloc[0]
    assert row["values"] == "50 100 200" and row["ours_slope"] == pytest.approx(-0.2)
    published.loc[published["level"] == 30, "log_volume_grid"] = -np.inf
    assert "log volume" not in set(trends.trends(mine, published, SETTINGS)["quantity"])


# --- the README ---------------------------------------------------------------------------------------------------------


def test_readme_is_in_step_with_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "ROOT", ROOT / "results")
    text = (ROOT / "README.md").read_text()
    assert readme.render(text) == text, "run `make readme`"


def test_comparison_tables_are_in_step_with_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "ROOT", ROOT / "results")
    for name, frame in zip(("comparison.csv", "comparison_trends.csv"), analysis_published.compare_all(), strict=True):
        stored = storage_tables.read_table(ROOT / "results" / "paper" / name, list(frame.columns))
        assert len(stored) == len(frame), f"{name}: run `make compare`"
        for row, (_, wanted) in zip(stored, frame.iterrows(), strict=True):
            for column, value in wanted.items():
                if isinstance(value, float):
                    # Eight digits are stored; slopes come from another machine's linear algebra.
                    found = float(row[str(column)] or "nan")
                    assert found == pytest.approx(value, rel=1e-6, abs=1e-9, nan_ok=True), f"{name}: run `make compare`"
                else:
                    assert row[str(column)] == str(value), f"{name}: run `make compare`"


def test_studies_that_ran_show_what_they_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "ROOT", tmp_path / "results")
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "studies.mk").write_text(
        "made_STUDIES := one two\nabout.one := asks this\nabout.two := asks that\n"
    )
    record = {
        "seeds": {"0": {}, "1": {}},
        "task_seconds": {"training": 100.0, "rays": 500.0},
        "device": "cpu: Zeus 9, 2 cores",
        "settings": {"n_directions": 70},
    }
    (tmp_path / "results" / "paper" / "two").mkdir(parents=True)
    (tmp_path / "results" / "paper" / "two" / "run.json").write_text(json.dumps(record))
    header, _, one, two = readme.studies(tmp_path).splitlines()
    assert header.startswith("| folder | target |")
    assert one == "| `made/` | `make one` | asks this | not run yet |"
    assert (
        two == "| `made/` | `make two` | asks that | 2 repeats of 70 directions, 5.0 min each on one core of Zeus 9 |"
    )
    record |= {"seeds": {"0": {}}, "device": "GPU 7"}
    assert readme.cost(record) == "1 repeat of 70 directions, 10 min each on GPU 7"
    part = record | {"settings": {"n_directions": 70, "levels": [0, 9, 99], "later_levels": [999]}}
    assert readme.cost(part) == "1 repeat of 70 directions, first 3 of 4 levels, 10 min each on GPU 7"


def test_markers_must_be_there_once(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    marker = "<!-- end of studies -->"
    for broken in (text.replace(marker, ""), text + marker):
        with pytest.raises(ResultsError, match=r"Expected the lines .*studies.* once"):
            readme.render(broken)
    # Whatever stands between the markers goes; the rest is never touched.
    begin = text.index("<!-- studies: written by `make readme` -->") + len("<!-- studies: written by `make readme` -->")
    garbled = text[:begin] + "old" + text[text.index(marker) :]
    assert readme.render(garbled) == readme.render(text)
