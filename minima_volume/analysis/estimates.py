"""Every estimate of the minima of one study in its base landscape, in one form, with what has converged."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from minima_volume.analysis import tables
from minima_volume.analysis.published import grid_step
from minima_volume.analysis.verdicts import Kind
from minima_volume.estimators.diagnostics import CONVERGED

# Estimators by name, in the order of tables and figures, with what a reader is shown and what each estimates.
NAMES = {
    "grid": "published rule",
    "log_volume": "ln E[rⁿ], solved",
    "typical": "n·E[ln r]",
    "gamma": "ln γ, rays",
    "gold": "ln γ, tethered chain",
    "own": "ln γ, subset, own norms",
    "first": "ln γ, subset, common norms",
}
KINDS: dict[str, Kind] = {
    "grid": "volume",
    "log_volume": "volume",
    "typical": "typical direction",
    "gamma": "typical direction",
    "gold": "volume",
    "own": "volume",
    "first": "volume",
}
COLUMNS = ("repeat", "level", "value", "error", "converged")
Frame = pd.DataFrame


def of_volumes(frame: Frame) -> dict[str, Frame]:
    """Return the estimates that rows of volumes.csv hold: published rule, ln E[rⁿ] and n·E[ln r].

    A row without a volume, because its minimum lies above the threshold, is left out. The first two have converged if the
    verdict of their row says so, n·E[ln r] if every ray crosses. The published rule has the error of ln E[rⁿ], whose
    directions it shares, and that of its rounding, a step of the grid over √12.

    Args:
        frame: Rows of one landscape at one threshold.

    Returns:
        Rows with the columns `COLUMNS` and `landscape`, by the name of the estimator.
    """
    known = frame.dropna(subset=["log_volume", "typical_log_volume", "log_volume_grid"])
    believed, crossed = known["verdict"].isin(CONVERGED), known["status"] == "ok"
    steps = [grid_step(value, n) for value, n in zip(known["log_volume_grid"], known["n_params"], strict=True)]
    rounding = pd.Series(steps, index=known.index, dtype=float) / np.sqrt(12)
    parts = {
        "grid": (known["log_volume_grid"], np.hypot(rounding, known["log_volume_se"]), believed),
        "log_volume": (known["log_volume"], known["log_volume_se"], believed),
        "typical": (known["typical_log_volume"], known["typical_log_volume_se"], crossed),
    }
    same = known[["repeat", "level", "landscape"]]
    return {
        name: same.assign(value=value, error=error, converged=converged)
        for name, (value, error, converged) in parts.items()
    }


def base_estimates(scale: str, study: str, threshold: float, metric: str = "loss") -> dict[str, Frame]:
    """Return all estimates of a study's minima in its base landscape.

    ln γ is taken at one width: that with the most values that converged, the widest of those that tie. A width at which
    some value did not converge keeps that mark, so that minima which are hard to measure are not left out unseen.

    Args:
        scale: `quick` or `paper`.
        study: Name of the study.
        threshold: Loss threshold, or accuracy between 0 and 1.
        metric: `loss` or `accuracy`.

    Returns:
        Rows with the columns `COLUMNS` by the name of the estimator; estimators without rows are missing.
    """
    volumes = tables.volumes(scale, study)
    base = volumes[(volumes["threshold"] == threshold) & (volumes["metric"] == metric) & (volumes["landscape"] == 0)]
    found = of_volumes(base)
    if metric == "loss":
        found |= dict(_widths(scale, study, threshold, int(base["n_directions"].max()) if len(base) else 1))
    return {name: frame for name, frame in found.items() if len(frame)}


def _widths(scale: str, study: str, threshold: float, n_directions: int) -> Iterator[tuple[str, Frame]]:
    """Yield ln γ of each estimator at its best width."""
    rays = tables.orderings(scale, study)
    if rays is not None:
        rays = rays[rays["threshold"] == threshold].assign(converged=rays["verdict"].isin(CONVERGED))
        # N rays without a loss only say that ln γ is above −3/N.
        rays = rays.assign(error=np.fmax(rays["error"], 1.5 / n_directions))
        for name in ("gamma", "gold"):
            yield name, _best_width(rays[rays["estimator"] == name])
    for name, rows in of_samples(scale, study, threshold).items():
        here = rows[rows["landscape"] == 0]
        if here["level"].nunique() > 1:
            yield name, _best_width(here)


def of_samples(scale: str, study: str, threshold: float) -> dict[str, Frame]:
    """Return ln γ by subset simulation at all widths in all landscapes, in own and in common units of length.

    Args:
        scale: `quick` or `paper`.
        study: Name of the study.
        threshold: Loss threshold.

    Returns:
        Rows with the columns `COLUMNS`, `landscape` and `sigma` by the name of the estimator; nothing without the table.
    """
    sampled = tables.local_volumes(scale, study)
    if sampled is None:
        return {}
    rows = sampled[sampled["threshold"] == threshold]
    # A run of N evaluations without a loss only says that ln γ is above −3/N.
    rows = rows.assign(
        value=rows["log_gamma"],
        error=np.fmax(rows["error"], 1.5 / rows["evaluations"]),
        converged=rows["status"].isin(CONVERGED),
    )
    # The first level has the same unit in both.
    own, first = rows["norms"] == "own", rows["level"] == rows["level"].min()
    parts = {"own": rows[own], "first": pd.concat([rows[own & first], rows[~own]])}
    return {name: here[[*COLUMNS, "landscape", "sigma"]] for name, here in parts.items()}


def _best_width(rows: Frame) -> Frame:
    """Return the rows at the width with most converged values."""
    if rows.empty:
        return pd.DataFrame(columns=[*COLUMNS])
    counts = rows[rows["converged"]].groupby("sigma")["level"].count()
    width = counts[counts == counts.max()].index.max() if len(counts) else rows["sigma"].min()
    chosen = rows[rows["sigma"] == width]
    complete = len(chosen) == len(rows.drop_duplicates(["repeat", "level"]))
    return chosen[[*COLUMNS]].assign(converged=chosen["converged"] & complete)
