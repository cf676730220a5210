"""What pictures say of their numbers: the finding in the title, and a warning where a picture would be wrong.

Each function reads rows of tables; the gallery says of every kind of picture what would be wrong with it.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from minima_volume.analysis import tables, verdicts
from minima_volume.analysis.markdown import MINUS, signed, thousands
from minima_volume.analysis.student import NORMAL_95
from minima_volume.estimators.diagnostics import CONVERGED

# Name of each volume in running text.
NAMES = {"log_volume": "ln E[rⁿ]", "typical_log_volume": "n·E[ln r]", "log_volume_grid": "the published rule"}
_KEY = ["repeat", "level", "landscape"]
# From which probability an order is certain; from how many connected regions of the two classes a boundary is torn although
# the test accuracy is high. Measured on quick minima: 2 or 3 regions with clean labels, 10 with 100 wrong ones, whose
# accuracy is 0.883.
CERTAIN, MOST_REGIONS, HIGH_ACCURACY = 0.95, 12, 0.99


def along_levels(rows: pd.DataFrame, column: str = "log_volume") -> str:
    """Return how a volume changes from the first to the last level, and in how many repeats at every step.

    Args:
        rows: Rows of one landscape and threshold.
        column: The volume.

    Example:
        >>> rows = pd.DataFrame({"repeat": 0, "level": [0, 5, 9], "log_volume": [30e3, 20e3, 25e3]})
        >>> along_levels(rows)
        'ln E[rⁿ] falls from 30k to 25k nats, at every step in 0 of 1 repeats'
    """
    known = rows.dropna(subset=[column])
    means = known.groupby("level")[column].mean()
    if len(means) < 2:
        return f"{NAMES[column]}: fewer than two levels have a volume"
    sign = 1 if means.iloc[-1] > means.iloc[0] else -1
    repeats = [here[column].to_numpy() for _, here in known.sort_values("level").groupby("repeat")]
    steady = sum(len(values) > 1 and bool((sign * np.diff(values) > 0).all()) for values in repeats)
    verb = "rises" if sign > 0 else "falls"
    return (
        f"{NAMES[column]} {verb} from {nats(means.iloc[0])} to {nats(means.iloc[-1])} nats, "
        f"at every step in {steady} of {rows['repeat'].nunique()} repeats"
    )


def crossing_thresholds(rows: pd.DataFrame, column: str = "log_volume") -> list[str]:
    """Return a warning if a volume at a lower threshold exceeds that of the same minimum at a higher one."""
    wide = rows.pivot(index=_KEY, columns="threshold", values=column)
    pairs = combinations(sorted(wide.columns), 2)
    wrong = sorted({
        int(level) for low, high in pairs
        for level in wide.index[wide[low] > wide[high]].get_level_values("level")
    })  # fmt: skip
    return [f"volumes of different thresholds cross at level {_listed(wrong)}"] if wrong else []


def rising_with_data(rows: pd.DataFrame) -> list[str]:
    """Return a warning if the volume of a minimum rises with the size of the landscape by more than its errors.

    Args:
        rows: Rows of one threshold in all landscapes.
    """
    levels = sorted(map(int, rows["level"].unique()))
    wrong = [level for level in levels if verdicts.wrong_steps(dict(_steps(rows[rows["level"] == level])))]
    return [f"the volume rises in larger landscapes at level {_listed(wrong)}"] if wrong else []


def _steps(rows: pd.DataFrame) -> Iterator[tuple[str, tuple[dict[int, float], dict[int, float]]]]:
    """The fall of n·E[ln r] of one minimum from landscape to landscape, with its error, by repeat.

    All rays are the same in each landscape, so ln E[rⁿ] rises only if n·E[ln r] does or if single rays do.
    """
    values, errors = (
        rows.pivot(index="repeat", columns="landscape", values=f"typical_log_volume{end}") for end in ("", "_se")
    )
    for low, high in pairwise(values.columns):
        fall = (values[low] - values[high]).dropna()
        joint = np.hypot(errors[low], errors[high])[fall.index]
        yield f"{low:,} → {high:,}", (dict(fall), dict(joint))


def shrinking(rows: pd.DataFrame, base: int) -> str:
    """Return by how much minima shrink from the base landscape to their own, at one threshold.

    Args:
        rows: Rows of one threshold in all landscapes.
        base: Number of base samples.
    """
    wide = rows.pivot_table(index=["repeat", "level"], columns="landscape", values="log_volume")
    falls = [wide.loc[key, 0] - wide.loc[key, key[1]] for key in wide.index if key[1] > 0 and key[1] in wide.columns]
    known = [fall for fall in falls if np.isfinite(fall)]
    if not known:
        return "No minimum has a volume both in the base landscape and in its own"
    less = sum(fall > 0 for fall in known)
    return (
        f"{less} of {len(known)} minima are smaller in the landscape of their own samples than in that of {base:,}, "
        f"by {nats(float(np.median(known)))} nats in the median"
    )


def correlations(rhos: dict[str, float]) -> tuple[str, list[str]]:
    """Return the rank correlations of test accuracy with two volumes, and a warning if they differ in sign.

    Args:
        rhos: Spearman's ρ by the column of the volume.
    """
    said = ", ".join(f"{NAMES[column]} {signed(rho, 2)}" for column, rho in rhos.items())
    values = [rho for rho in rhos.values() if np.isfinite(rho)]
    differ = ["the two estimators differ in the sign of ρ"] if len({value > 0 for value in values}) > 1 else []
    return f"Rank correlation of volume with test accuracy: {said}", differ


def cutoffs(rows: pd.DataFrame) -> tuple[str, list[str]]:
    """Return at how many times their own size minima leave the threshold, and a warning if many do within it.

    Args:
        rows: Rows of one threshold with `size` and `cutoff`.
    """
    ratio = (rows["cutoff"] / rows["size"]).dropna()
    within = int((ratio <= 1).sum())
    ends = ratio[ratio > 1]
    said = (
        f"{len(ends)} of {len(rows)} minima leave the threshold at {ends.min():.3g} to {ends.max():.3g} times their own size"
        if len(ends)
        else f"No minimum leaves the threshold {rows['threshold'].iloc[0]:g} beyond its own size"
    )
    warned = [f"{within} of {len(rows)} minima leave the threshold within their own training data"]
    return said, warned if 2 * within > len(rows) else []


def capped(n_censored: int, n_rays: int) -> list[str]:
    """Return a warning if rays reach the cap without crossing."""
    return [f"{n_censored:,} of {n_rays:,} rays never cross: their volumes are lower bounds"] if n_censored else []


def drifting(rows: pd.DataFrame) -> list[str]:
    """Return a warning if differences from published volumes grow with the level, beyond the band of one grid step.

    Args:
        rows: Rows with `level` and `grid_steps`.
    """
    known = rows.dropna(subset=["grid_steps"])
    if known["level"].nunique() < 4:
        return []
    rho = float(known["level"].rank().corr(known["grid_steps"].abs().rank()))
    outside = bool((known["grid_steps"].abs() > 1.5).any())
    drifts = outside and rho * np.sqrt(len(known) - 1) > NORMAL_95
    return ["differences from the published volumes grow with the level"] if drifts else []


def uncertain_order(probabilities: dict[str, float]) -> list[str]:
    """Return a warning for each statistic that half of the directions do not order as all of them do.

    Args:
        probabilities: Share of the subsets of half of the directions that give the order of all, by the statistic.
    """
    return [
        f"half of the directions order the minima by {name} as all do in {share:.0%} of draws only"
        for name, share in probabilities.items()
        if share < CERTAIN
    ]


def torn(regions: dict[int, tuple[int, float]]) -> list[str]:
    """Return a warning if a boundary falls into many pieces although the test accuracy is high.

    Args:
        regions: Number of connected regions of either class, and test accuracy, by level.
    """
    wrong = [level for level, (count, accuracy) in regions.items() if count > MOST_REGIONS and accuracy > HIGH_ACCURACY]
    return [f"the boundary is torn and the accuracy high at level {_listed(wrong)}"] if wrong else []


def outside_contours(losses: NDArray[np.float64], thresholds: Sequence[float]) -> bool:
    """Return whether the minimum in the centre of a plane lies outside a contour that the plane shows.

    Args:
        losses: Losses on a square grid with an odd number of points.
        thresholds: Losses with a contour.
    """
    centre = losses[len(losses) // 2, losses.shape[1] // 2]
    return any(losses.min() < threshold < centre for threshold in thresholds)


def lowest_elsewhere(rows: pd.DataFrame) -> list[str]:
    """Return a warning if a training loss is lower at another radius than at the minimum.

    Args:
        rows: Rows with `level`, `repeat`, `direction`, `radius` and `train_loss`.
    """
    rays = rows.sort_values("train_loss").groupby(["level", "repeat", "direction"], as_index=False).first()
    wrong = sorted(map(int, rays.loc[rays["radius"] != 0, "level"].unique()))
    return [f"the training loss is lowest away from radius 0 at level {_listed(wrong)}"] if wrong else []


def far_from_sampler(rays: pd.DataFrame, sampler: pd.DataFrame) -> list[str]:
    """Return a warning if values of rays that converged lie off those of a sampler by more than three joint errors.

    Args:
        rays: Rows with `repeat`, `level`, `sigma`, `value`, `error` and `verdict`.
        sampler: Rows of the same minima with the same columns.
    """
    both = rays.merge(sampler, on=["repeat", "level", "sigma"], suffixes=("", "_sampler"))
    both = both[both["verdict"].isin(CONVERGED) & both["verdict_sampler"].isin(CONVERGED)]
    off = (both["value"] - both["value_sampler"]).abs() > 3 * np.hypot(both["error"], both["error_sampler"])
    return [f"{int(off.sum())} of {len(both)} ray volumes that converged lie off the sampler's"] if off.any() else []


def unlike_methods(recipes: list[dict[str, Any]], paired: pd.DataFrame) -> list[str]:
    """Return warnings if two training methods differ in more than the method.

    Args:
        recipes: The recipes of the method and of its reference.
        paired: Rows of both, those of the reference with the ending `_reference`.
    """
    differ = [
        f"{label} {' and '.join(str(recipe[name] or 'all samples') for recipe in recipes)}"
        for name, label in (("epochs", "epochs"), ("batch_size", "batches of"))
        if recipes[0][name] != recipes[1][name]
    ]
    said = [f"the methods also differ in {', '.join(differ)}"] if differ else []
    near = paired[paired["loss_at_zero"] > paired["threshold"] / 2].dropna(subset=["log_volume"])
    levels = sorted(map(int, near["level"].unique()))
    return said + ([f"a minimum lies above half the threshold at level {_listed(levels)}"] if levels else [])


def at_largest_threshold(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at the largest threshold."""
    return rows[rows["threshold"] == tables.thresholds(rows)[0]]


def nats(value: float) -> str:
    """Return nats as a whole number, as thousands from 10,000 on, or as millions from 1,000,000 on.

    Example:
        >>> nats(8164.2), nats(75_390.0), nats(5_016_000.0)
        ('8,164', '75k', '5.02M')
    """
    if abs(value) >= 1e6:
        return f"{value / 1e6:.2f}M".replace("-", MINUS)
    return thousands(value) if abs(value) >= 10_000 else f"{value:,.0f}".replace("-", MINUS)


def _listed(levels: list[int]) -> str:
    return ", ".join(f"{level:,}" for level in levels)
