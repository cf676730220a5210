"""The comparison with published numbers: differences, their reasons and directions, worked by hand."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress, ttest_ind

from minima_volume.analysis import blocks, trends
from minima_volume.analysis import published as analysis_published
from minima_volume.analysis.power_law import Slope, fit
from minima_volume.analysis.student import limit_95
from minima_volume.analysis.study_settings import StudySettings
from minima_volume.storage import layout
from minima_volume.storage import tables as storage_tables
from tests.project import ROOT

N_PARAMS, BASE, LEVELS = 1000, 20, (0, 30, 80, 180)
SETTINGS = StudySettings(**dict.fromkeys(StudySettings.__dataclass_fields__) | {"base": BASE, "level_means": "extra"})


def ours(slopes: tuple[float, ...], *, noise: float = 0.0, landscapes: bool = False, **changed: Any) -> pd.DataFrame:
    """Rows of volumes.csv: ln V/n = 5 + slope·ln D plus noise in each repeat, and test loss 2/D."""
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


def test_one_grid_point_is_one_step_in_both_directions() -> None:
    # r = c √n and c = (k/99)²: the volumes of k = 24, 25 and 26. With steps of 2n/25 nats they would be 0.98 and 1.02 apart.
    n = 235_146
    low, middle, high = (n * math.log((k / 99) ** 2 * math.sqrt(n)) for k in (24, 25, 26))
    index = [analysis_published.grid_index(volume, n) for volume in (low, middle, high)]
    assert index == pytest.approx([24, 25, 26], abs=1e-9)


@pytest.mark.parametrize(
    ("grid_steps", "standard_errors", "freedom", "expected"),
    [
        (0.96, math.nan, 0, "a grid step"),
        (-1.02, math.nan, 0, "a grid step"),
        (1.49, 9.0, 4, "a grid step"),
        (-1.51, 2.7, 4, "two errors"),  # the limit for 4 degrees of freedom is 2.78
        (-1.51, -2.8, 4, "neither"),
        (2.0, 12.0, 1, "two errors"),  # 12.71 for 1
        (2.0, 13.0, 1, "neither"),
        (2.0, math.nan, 0, "neither"),  # one repeat against one
        (math.nan, math.nan, 0, ""),
    ],
)
def test_reasons(grid_steps: float, standard_errors: float, freedom: int, expected: str) -> None:
    assert analysis_published.reason(grid_steps, standard_errors, freedom) == expected


def test_limits_against_closed_forms() -> None:
    # The quantile of Student's t is tan(π(p − ½)) for 1 degree of freedom and (2p − 1)/√(2p(1 − p)) for 2.
    p = 0.975
    assert limit_95(1) == pytest.approx(math.tan(math.pi * (p - 0.5)))
    assert limit_95(2) == pytest.approx((2 * p - 1) / math.sqrt(2 * p * (1 - p)))
    assert limit_95(10**7) == pytest.approx(1.959964, rel=1e-6)
    assert math.isnan(limit_95(0))


@pytest.mark.parametrize(("shift", "within"), [(0.5, "a grid step"), (1.8, "two errors"), (8, "neither")])
def test_a_difference_has_its_reason(shift: float, within: str) -> None:
    mine, published = ours((-0.2, -0.2, -0.2)), theirs((-0.2, -0.2))
    volume = mine.loc[0, "log_volume_grid"]
    step, k = analysis_published.grid_step(volume, N_PARAMS), analysis_published.grid_index(volume, N_PARAMS)
    assert step == pytest.approx(2 * N_PARAMS / k)
    spread = mine["repeat"].map({0: -step, 1: 0.0, 2: step})
    mine["log_volume_grid"] += shift * step + spread
    row = analysis_published.compare_study(mine, published).iloc[0]
    # Pooled over 2 + 1 degrees of freedom: √(2 step²/3), times √(1/3 + 1/2). The index grows as exp(ln V / 2n).
    assert row["grid_steps"] == pytest.approx(k * math.expm1(shift / k), rel=1e-6)
    assert row["standard_errors"] == pytest.approx(shift / math.sqrt(2 / 3 * (1 / 3 + 1 / 2)), rel=1e-6)
    assert row["within"] == within


def test_losses_of_the_minima_themselves() -> None:
    mine = ours((-0.2, -0.2)).assign(level=0)  # 1e-4 and 2e-4
    frame = analysis_published.compare_study(mine, theirs((-0.2,)))
    assert frame["ours_loss_at_zero"].iloc[0] == pytest.approx(1e-4 * math.sqrt(2))
    assert frame["published_loss_at_zero"].iloc[0] == pytest.approx(1e-4)
    assert blocks.loss_ratio(frame) == pytest.approx(math.sqrt(2))
    assert math.isnan(blocks.loss_ratio(frame.assign(published_loss_at_zero=math.nan)))


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
        ((-0.1, -0.11), 0.0, ("falls", "falls"), "same"),
        ((0.1, 0.11), 0.0, ("falls", "rises"), "opposite"),
        ((-0.1, -0.12), 0.0, ("falls", "unclear"), "unclear"),  # 11 errors from none, but of two repeats
    ],
)
def test_directions(published: tuple[float, ...], noise: float, ways: tuple[str, str], direction: str) -> None:
    row = trends.trends(ours((-0.2, -0.21)), theirs(published, noise=noise), SETTINGS).iloc[0]
    assert (row["ours_direction"], row["published_direction"]) == ways and row["direction"] == direction


@pytest.mark.parametrize(
    ("slope", "freedom", "expected"),
    [(10.0, 1, "unclear"), (13.0, 1, "rises"), (-4.2, 2, "unclear"), (-4.4, 2, "falls"), (-2.2, 10, "unclear")],
)
def test_a_direction_takes_the_limit_of_its_repeats(slope: float, freedom: int, expected: str) -> None:
    limit = limit_95(freedom)
    assert trends.direction(Slope(slope, 1.0, 0.0, 1.0, 9, limit, 0.0, 0)) == expected
    assert trends.direction(Slope(slope, 0.0, 0.0, 1.0, 9, limit, 0.0, 0)) == ("rises" if slope > 0 else "falls")


def test_the_limit_of_a_slope() -> None:
    x = np.log(BASE + np.array(LEVELS))
    rows = [
        {"repeat": repeat, "status": "ok", "log_size": size, "per_parameter": -size + 0.1 * ((i + repeat) % 3)}
        for repeat in range(3) for i, size in enumerate(x)
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    several, single = fit(frame), fit(frame[frame["repeat"] == 0])
    assert several is not None and single is not None
    assert (several.limit, several.n_points) == (limit_95(2), 12)  # three repeats
    assert (single.limit, single.n_points) == (limit_95(2), 4)  # four points on one line
    assert single.error == pytest.approx(linregress(x, frame["per_parameter"][:4]).stderr)
    # The directions add what a weighted fit with known errors has, and repeats do not average it out.
    errors = np.array([0.1, 0.2, 0.05, 0.3])
    known = np.sqrt((((x - x.mean()) / ((x - x.mean()) ** 2).sum() * errors) ** 2).sum())
    joint = fit(frame.assign(error=np.tile(errors, 3)))
    assert joint is not None and joint.slope == several.slope
    assert joint.error == pytest.approx(math.hypot(several.error, known))
    assert 1.96 < joint.limit < limit_95(2)


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
