"""What pictures say of their numbers, on made-up rows whose answer is known."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from minima_volume.analysis import statements


def rows(values: dict[tuple[int, int, float], float], repeats: int = 2, error: float = 100.0) -> pd.DataFrame:
    """Rows by (level, landscape, threshold), the same in every repeat."""
    return pd.DataFrame([
        {"repeat": repeat, "level": level, "landscape": landscape, "threshold": threshold, "log_volume": value,
         "typical_log_volume": value, "typical_log_volume_se": error}
        for repeat in range(repeats) for (level, landscape, threshold), value in values.items()
    ])  # fmt: skip


def test_a_fall_at_every_step_is_told_from_one_with_a_rise() -> None:
    steady = rows({(0, 0, 0.1): 50e3, (5, 0, 0.1): 40e3, (9, 0, 0.1): 20e3})
    assert statements.along_levels(steady) == "ln E[rⁿ] falls from 50k to 20k nats, at every step in 2 of 2 repeats"
    steady.loc[1, "log_volume"] = 60e3
    assert statements.along_levels(steady).endswith("in 1 of 2 repeats")
    assert "rises from 20k to 50k" in statements.along_levels(steady.assign(level=-steady["level"]))


def test_a_volume_that_is_missing_does_not_count() -> None:
    one = rows({(0, 0, 0.1): 50e3, (5, 0, 0.1): np.nan})
    assert statements.along_levels(one) == "ln E[rⁿ]: fewer than two levels have a volume"


@pytest.mark.parametrize(("low", "warned"), [(40e3, []), (60e3, ["volumes of different thresholds cross at level 5"])])
def test_thresholds_that_cross_are_warned_of(low: float, warned: list[str]) -> None:
    table = rows({(0, 0, 0.1): 50e3, (0, 0, 0.05): 45e3, (5, 0, 0.1): 50e3, (5, 0, 0.05): low})
    assert statements.crossing_thresholds(table) == warned


@pytest.mark.parametrize(("last", "warned"), [(50_100.0, False), (50_500.0, True)])
def test_a_rise_in_larger_landscapes_counts_beyond_two_errors(last: float, warned: bool) -> None:
    table = rows({(9, 0, 0.1): 51e3, (9, 5, 0.1): 50e3, (9, 9, 0.1): last})
    assert bool(statements.rising_with_data(table)) == warned
    assert statements.shrinking(table, 60).startswith("2 of 2 minima are smaller")


def test_estimators_that_differ_in_sign_are_warned_of() -> None:
    said, warned = statements.correlations({"log_volume": -0.9, "typical_log_volume": 0.4})
    assert "ln E[rⁿ] −0.90, n·E[ln r] +0.40" in said and warned
    assert not statements.correlations({"log_volume": -0.9, "typical_log_volume": float("nan")})[1]


def test_minima_that_end_within_their_own_data_are_warned_of_if_they_are_many() -> None:
    table = pd.DataFrame({"size": [10, 10, 10], "cutoff": [9, 10, np.nan], "threshold": 0.1})
    assert statements.cutoffs(table) == (
        "No minimum leaves the threshold 0.1 beyond its own size",
        ["2 of 3 minima leave the threshold within their own training data"],
    )
    said, warned = statements.cutoffs(table.assign(cutoff=[11, 12, 9]))
    assert said == "2 of 3 minima leave the threshold at 1.1 to 1.2 times their own size" and not warned


def test_drift_out_of_the_band_needs_a_trend_and_a_difference_beyond_it() -> None:
    table = pd.DataFrame({"level": np.arange(8), "grid_steps": np.linspace(0, 4, 8)})
    assert statements.drifting(table)
    assert not statements.drifting(table.assign(grid_steps=table["grid_steps"] / 4))  # inside the band
    assert not statements.drifting(table.assign(grid_steps=[4, 0] * 4))  # no trend


def test_rays_that_converged_must_agree_with_the_sampler() -> None:
    rays = pd.DataFrame({"repeat": 0, "level": [0, 5], "sigma": 0.1, "value": [-1.0, -9.0], "error": 0.1,
                         "verdict": ["converged", "max-dominated"]})  # fmt: skip
    chain = rays.assign(value=[-1.1, -2.0], verdict="ok")
    assert not statements.far_from_sampler(rays, chain)  # the second has not converged
    assert statements.far_from_sampler(rays, chain.assign(value=[-2.0, -2.0])) == [
        "1 of 1 ray volumes that converged lie off the sampler's"
    ]


def test_methods_that_differ_in_more_than_the_method_are_warned_of() -> None:
    recipes: list[dict[str, Any]] = [{"epochs": 1500, "batch_size": None}, {"epochs": 500, "batch_size": None}]
    paired = pd.DataFrame({"level": [0, 50_000], "loss_at_zero": [0.01, 0.09], "threshold": 0.1, "log_volume": 1.0})
    assert statements.unlike_methods(recipes, paired) == [
        "the methods also differ in epochs 1500 and 500", "a minimum lies above half the threshold at level 50,000",
    ]  # fmt: skip
    assert not statements.unlike_methods([recipes[0]] * 2, paired.head(1))


def test_rays_at_the_cap_are_counted() -> None:
    assert statements.capped(0, 100) == []
    assert statements.capped(3, 1000) == ["3 of 1,000 rays never cross: their volumes are lower bounds"]


def test_an_order_that_half_of_the_directions_do_not_give_is_warned_of() -> None:
    warned = statements.uncertain_order({"largest radius": 0.4, "typical volume": 0.96})
    assert warned == ["half of the directions order the minima by largest radius as all do in 40% of draws only"]


def test_a_torn_boundary_is_warned_of_if_the_accuracy_is_high() -> None:
    regions = {0: (4, 1.0), 5: (30, 0.7), 20: (30, 0.999)}
    assert statements.torn(regions) == ["the boundary is torn and the accuracy high at level 20"]


def test_a_minimum_outside_its_contours_is_seen() -> None:
    bowl = np.add.outer(np.arange(-3, 4.0) ** 2, np.arange(-3, 4.0) ** 2)
    assert not statements.outside_contours(bowl, [0.5, 4.0])
    assert statements.outside_contours(np.roll(bowl, 1, axis=0), [0.5, 4.0])
    assert not statements.outside_contours(np.roll(bowl, 1, axis=0), [4.0]), "the only contour holds the centre"


def test_a_ray_whose_loss_is_lowest_elsewhere_is_warned_of() -> None:
    rows = pd.DataFrame({"level": 7, "repeat": 0, "direction": [0, 0, 1, 1], "radius": [0, 1, 0, 1]})
    assert statements.lowest_elsewhere(rows.assign(train_loss=[1, 2, 1, 3])) == []
    warned = ["the training loss is lowest away from radius 0 at level 7"]
    assert statements.lowest_elsewhere(rows.assign(train_loss=[1, 2, 3, 1])) == warned
