"""Which minimum is the largest in landscapes between and beyond the training sets, and which is overtaken while it fits."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from minima_volume.analysis import estimates, tables, verdicts

Confidence = Literal["told", "agreed", "differ", "alone"]


class Leader(NamedTuple):
    """The largest minimum of one landscape.

    Attributes:
        level: Its level; −1 if it differs between repeats.
        confidence: `told`: it is the largest in every repeat, and its distance from the next exceeds the 95 % limit of the
            rules of verdicts. `agreed`: the largest in every repeat, by less. `differ`: not the same in every repeat.
            `alone`: no other minimum fits the landscape.
        margin: Mean distance from the next largest, in nats; NaN if there is none.
        error: Standard error of the margin.
    """

    level: int
    confidence: Confidence
    margin: float
    error: float


def estimates_everywhere(scale: str, study: str, threshold: float) -> dict[str, pd.DataFrame]:
    """Return all estimates of a study's minima in all its landscapes.

    Args:
        scale: `quick` or `paper`.
        study: Name of the study.
        threshold: Loss threshold.

    Returns:
        Rows with the columns `estimates.COLUMNS` and `landscape` by the name of the estimator. Minima that do not fit a
        landscape have no row there.
    """
    volumes = tables.volumes(scale, study)
    found = estimates.of_volumes(volumes[(volumes["threshold"] == threshold) & (volumes["metric"] == "loss")])
    # Studies of this kind are sampled at one width.
    found |= estimates.of_samples(scale, study, threshold)
    return {name: frame for name, frame in found.items() if len(frame)}


def overtaken(frame: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame, pd.DataFrame]]:
    """Yield how far the next minimum of more data is ahead of each minimum, at its own size and where it last fits.

    Args:
        frame: Rows of one estimator.

    Yields:
        Level, and two tables with `margin` and `error` for each repeat: at the size of its own training set, and in the
        largest landscape beyond it that the minimum still fits. Repeats without such a landscape are missing.
    """
    for level, more in pairwise(sorted(frame["level"].unique())):
        pair = frame[frame["level"].isin((level, more)) & (frame["landscape"] >= level)]
        own, last = {}, {}
        for repeat, rows in pair.groupby("repeat"):
            values, errors = (
                rows.pivot(index="landscape", columns="level", values=v).reindex(columns=[level, more]).dropna()
                for v in ("value", "error")
            )
            if level in values.index and len(values) > 1:
                ahead, joint = values[more] - values[level], np.hypot(errors[level], errors[more])
                own[repeat] = ahead.loc[level], joint.loc[level]
                last[repeat] = ahead.iloc[-1], joint.iloc[-1]
        if own:
            yield int(level), _margins(own), _margins(last)


def leaders(frame: pd.DataFrame) -> dict[int, Leader]:
    """Return the largest minimum of each landscape.

    Args:
        frame: Rows of one estimator.

    Example:
        >>> rows = [(repeat, level, 0, -10.0 * level + repeat, 1.0) for repeat in (0, 1) for level in (0, 5)]
        >>> frame = pd.DataFrame(rows, columns=["repeat", "level", "landscape", "value", "error"])
        >>> leaders(frame)[0].level, leaders(frame)[0].confidence
        (0, 'told')
    """
    return {
        int(landscape): _leader(frame[frame["landscape"] == landscape]) for landscape in frame["landscape"].unique()
    }


def _leader(here: pd.DataFrame) -> Leader:
    """Return the largest minimum of one landscape."""
    firsts, margins, errors = set(), [], []
    for _, rows in here.sort_values("value", ascending=False).groupby("repeat"):
        firsts.add(int(rows["level"].iloc[0]))
        if len(rows) > 1:
            margins.append(float(rows["value"].iloc[0] - rows["value"].iloc[1]))
            errors.append(float(np.hypot(rows["error"].iloc[0], rows["error"].iloc[1])))
    margin, error, limit = verdicts.mean_effect(margins, errors) if margins else (np.nan, np.nan, np.nan)
    if len(firsts) > 1:
        return Leader(-1, "differ", margin, error)
    confidence: Confidence = "alone" if not margins else "told" if margin > limit * error else "agreed"
    return Leader(firsts.pop(), confidence, margin, error)


def _margins(found: dict[object, tuple[float, float]]) -> pd.DataFrame:
    """Return margins and errors as a table with a row for each repeat."""
    return pd.DataFrame(found.values(), columns=["margin", "error"], index=pd.Index(found.keys(), name="repeat"))
