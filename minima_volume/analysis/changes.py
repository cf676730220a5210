"""From estimates of minima to findings: changes along the levels, margins between minima, differences of two studies."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from minima_volume.analysis import verdicts
from minima_volume.analysis.estimates import KINDS
from minima_volume.analysis.student import NORMAL_95
from minima_volume.analysis.verdicts import Finding

Frames = dict[str, pd.DataFrame]
Steps = dict[str, tuple["pd.Series[float]", "pd.Series[float]"]]  # change and error by repeat, by the name of the step


def pivot(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Repeats as rows and levels as columns."""
    return frame.pivot(index="repeat", columns="level", values=column)


def ends_of(frame: pd.DataFrame) -> tuple[list[float], list[float]]:
    """The fall of each repeat from its first to its last level with a value, and the error of it."""
    effects, errors = [], []
    for _, repeat in frame.sort_values("level").groupby("repeat"):
        if len(repeat) > 1:
            first, last = repeat.iloc[0], repeat.iloc[-1]
            effects.append(float(first["value"] - last["value"]))
            errors.append(math.hypot(first["error"], last["error"]))
    return effects, errors


def steps_of(frame: pd.DataFrame) -> Steps:
    """The fall of each repeat at every step of the level that it has."""
    values, errors = pivot(frame, "value"), pivot(frame, "error")
    steps: Steps = {}
    for low, high in pairwise(values.columns):
        fall = (values[low] - values[high]).dropna()
        joint = (errors[low] ** 2 + errors[high] ** 2) ** 0.5
        steps[f"{low:,} → {high:,}"] = fall, joint[fall.index]
    return steps


def findings(
    name: str, frame: pd.DataFrame, effects: Sequence[float], errors: Sequence[float], steps: Steps
) -> Iterator[Finding]:
    """Yield the finding of one estimator from its effect in each repeat and its steps, if there is any."""
    if effects:
        effect, error, limit = verdicts.mean_effect(effects, errors)
        wrong = verdicts.wrong_steps({name: (dict(a), dict(b)) for name, (a, b) in steps.items()})
        outcome = verdicts.outcome_of(effect, error, limit, wrong=bool(wrong))
        converged = bool(frame["converged"].all())
        yield Finding(name, KINDS[name], outcome, converged, effect, error, len(effects), wrong=wrong)


def findings_of_margins(name: str, frame: pd.DataFrame, margins: dict[int, pd.DataFrame]) -> Iterator[Finding]:
    """Yield the finding of one estimator from a margin in each repeat, by level; a repeat's effect is their mean."""
    if margins:
        table = pd.concat(margins, names=["level"])
        effects, errors = (table.groupby("repeat")[column].mean() for column in ("margin", "error"))
        steps = {f"{level:,}": (here["margin"], here["error"]) for level, here in margins.items()}
        yield from findings(name, frame, effects.tolist(), errors.tolist(), steps)


def findings_of_pairs(ours: Frames, theirs: Frames) -> Iterator[Finding]:
    """Yield findings on: ours are larger than theirs at each level of each repeat that both have."""
    for name in ours.keys() & theirs.keys():
        both = ours[name].merge(theirs[name], on=["repeat", "level"], suffixes=("", "_other"))
        both = both.assign(
            margin=both["value"] - both["value_other"],
            error=np.hypot(both["error"], both["error_other"]),
            converged=both["converged"] & both["converged_other"],
        )
        margins = {int(str(level)): here.set_index("repeat") for level, here in both.groupby("level")}
        yield from findings_of_margins(
            name, both, {level: here[["margin", "error"]] for level, here in margins.items()}
        )


def share_above_half(name: str, holds: "pd.Series[bool]", repeats: int) -> Finding:
    """The finding that more than half of some numbers have a property; the limit is that of a binomial share."""
    count, share = len(holds), float(holds.mean())
    error = math.sqrt(0.25 / count)  # the error of a share of one half, which is to be excluded
    outcome = verdicts.outcome_of(share - 0.5, error, NORMAL_95, wrong=False)
    return Finding(name, "outcome", outcome, True, share, error, repeats, f"share of {count:,}")
