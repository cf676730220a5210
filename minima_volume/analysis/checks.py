"""What a claim can be checked for, on one study: each function yields a finding for every estimator that has numbers."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd

from minima_volume.analysis import estimates, overtaking, power_law, tables, verdicts
from minima_volume.analysis.changes import (
    ends_of,
    findings,
    findings_of_margins,
    findings_of_pairs,
    pivot,
    share_above_half,
    steps_of,
)
from minima_volume.analysis.estimates import KINDS
from minima_volume.analysis.student import NORMAL_95, limit_95
from minima_volume.analysis.verdicts import AGREES, DISAGREES, IN_PART, UNDECIDED, Finding
from minima_volume.estimators.diagnostics import CONVERGED

Accuracy = Literal["rises", "falls", ""]


@dataclass(frozen=True)
class Check:
    """One test of a claim on one study.

    Attributes:
        kind: What is tested; a key of `FUNCTIONS`, whose functions say it.
        study: Name of the study.
        threshold: Loss threshold, or accuracy between 0 and 1.
        metric: `loss` or `accuracy`.
        partner: The study that it is compared with.
        accuracy: What test accuracy must do along the levels too: `rises`, `falls`, or nothing.
    """

    kind: str
    study: str
    threshold: float = 0.1
    metric: Literal["loss", "accuracy"] = "loss"
    partner: str = ""
    accuracy: Accuracy = ""


def falls(scale: str, check: Check) -> Iterator[Finding]:
    """Yield findings on: volume falls along the levels in the base landscape, from end to end and at each step."""
    for name, frame in estimates.base_estimates(scale, check.study, check.threshold, check.metric).items():
        yield from findings(name, frame, *ends_of(frame), steps_of(frame))


def ends(scale: str, check: Check) -> Iterator[Finding]:
    """Yield findings on: the last level has a smaller volume in the base landscape than the first, whatever lies between."""
    for name, frame in estimates.base_estimates(scale, check.study, check.threshold, check.metric).items():
        yield from findings(name, frame, *ends_of(frame), {})


def larger(scale: str, check: Check) -> Iterator[Finding]:
    """Yield findings on: minima have a larger volume than those of the partner study at the same level, base landscape."""
    ours, theirs = (estimates.base_estimates(scale, name, check.threshold) for name in (check.study, check.partner))
    yield from findings_of_pairs(ours, theirs)


def unbeaten(scale: str, check: Check) -> Iterator[Finding]:
    """Yield findings on: each minimum is larger, in its own landscape, than the partner's of the same samples."""
    ours, theirs = (
        estimates.of_volumes(tables.own_landscape(rows_at(scale, name, check.threshold)))
        for name in (check.study, check.partner)
    )
    for found in findings_of_pairs(ours, theirs):
        # One larger minimum that training passed over is enough.
        yield replace(found, outcome=DISAGREES) if found.wrong else found


def leads(scale: str, check: Check) -> Iterator[Finding]:
    """Yield findings on: in each landscape the minimum trained on exactly its samples is the largest that is measured.

    Minima of fewer samples must have left the threshold there, as their cutoffs say. A landscape in which one of them has
    not cannot be told, because no volume beyond the own samples is measured.
    """
    base = tables.settings(scale, check.study).base
    cut = tables.cutoffs(scale, check.study)
    cut = cut[cut["threshold"] == check.threshold].pivot(index="repeat", columns="level", values="cutoff")
    for name, frame in estimates.of_volumes(rows_at(scale, check.study, check.threshold)).items():
        levels, margins, left_out = sorted(frame["level"].unique()), {}, False
        for own in levels[:-1]:
            here = frame[(frame["landscape"] == own) & (frame["level"] >= own)]
            value, error = pivot(here, "value"), pivot(here, "error")
            # A cutoff that is missing means that the minimum stays below the threshold over all samples.
            alive = (cut.loc[value.index, [level for level in levels if level < own]].fillna(np.inf) > base + own).any(
                axis=1
            )
            left_out |= bool(alive.any())
            value, error = value[~alive].dropna(subset=[own]), error[~alive]
            others = value.drop(columns=own)
            others = others[others.notna().any(axis=1)]
            if len(others):
                best = others.idxmax(axis=1)
                margins[int(own)] = pd.DataFrame({
                    "margin": [value.loc[r, own] - others.loc[r, c] for r, c in best.items()],
                    "error": [math.hypot(error.loc[r, own], error.loc[r, c]) for r, c in best.items()],
                }, index=best.index)  # fmt: skip
        for found in findings_of_margins(name, frame, margins):
            yield replace(found, outcome=IN_PART) if left_out and found.outcome == AGREES else found


def overtakes(scale: str, check: Check) -> Iterator[Finding]:
    """Yield findings on: each minimum is larger than the next of more data at its own size, and smaller where it last fits.

    The effect is how far the next one is ahead in the largest landscape that the minimum fits, in nats.
    """
    for name, frame in overtaking.estimates_everywhere(scale, check.study, check.threshold).items():
        own, last = {}, {}
        for level, there, here in overtaking.overtaken(frame):
            own[level], last[level] = there.assign(margin=-there["margin"]), here
        for first, found in zip(
            findings_of_margins(name, frame, own), findings_of_margins(name, frame, last), strict=True
        ):
            yield replace(found, outcome=min(first.outcome, found.outcome, key=verdicts.OUTCOMES.index))


def gains(scale: str, check: Check) -> Iterator[Finding]:
    """Yield findings on: from the base landscape to that of a minimum, the next minimum of more data gains on it."""
    for name, frame in estimates.of_volumes(rows_at(scale, check.study, check.threshold)).items():
        margins = {}
        for own, more in pairwise(sorted(frame["level"].unique())):
            pair = frame[frame["level"].isin((own, more))]
            value, error = (
                pair.pivot(index="repeat", columns=["landscape", "level"], values=v) for v in ("value", "error")
            )
            four = [(own, more), (own, own), (0, more), (0, own)]
            if own > 0 and set(four) <= set(value.columns):
                value, error = value[four].dropna(), error[four]
                change = value.to_numpy() @ np.array([1.0, -1.0, -1.0, 1.0])
                joint = np.sqrt((error.loc[value.index].to_numpy() ** 2).sum(axis=1))
                margins[int(own)] = pd.DataFrame({"margin": change, "error": joint}, index=value.index)
        yield from findings_of_margins(name, frame, {own: found for own, found in margins.items() if len(found)})


def line(scale: str, check: Check) -> Iterator[Finding]:
    """Yield findings on: ln V / n of minima in their own landscapes falls along a straight line in ln D."""
    frame = rows_at(scale, check.study, check.threshold)
    base = tables.settings(scale, check.study).base
    columns = {"grid": "log_volume_grid", "log_volume": "log_volume", "typical": "typical_log_volume"}
    believed = {name: rows for name, rows in estimates.of_volumes(tables.own_landscape(frame)).items() if len(rows)}
    for name, column in columns.items():
        fitted = power_law.fit(power_law.points(frame, base, column))
        if fitted is None or name not in believed:
            continue
        effect = -fitted.slope
        outcome = verdicts.outcome_of(effect, fitted.error, fitted.limit, wrong=not fitted.straight)
        outcome = DISAGREES if not fitted.straight else outcome if fitted.bend_freedom else UNDECIDED
        wrong = () if fitted.straight else (f"bend {fitted.bend:+.1f} (limit {limit_95(fitted.bend_freedom):.1f})",)
        yield Finding(name, KINDS[name], outcome, bool(believed[name]["converged"].all()), effect, fitted.error,
                      believed[name]["repeat"].nunique(), "nats per parameter and e-fold", wrong)  # fmt: skip


def predicts(scale: str, check: Check) -> Iterator[Finding]:
    """Yield findings on: a larger volume goes with a higher test accuracy, by Spearman's rank correlation over levels."""
    rows = rows_at(scale, check.study, check.threshold).drop_duplicates(["repeat", "level"])
    for name, frame in estimates.base_estimates(scale, check.study, check.threshold).items():
        both = frame.merge(rows[["repeat", "level", "test_accuracy"]], on=["repeat", "level"])
        found = [
            (float(here["value"].rank().corr(here["test_accuracy"].rank())), len(here))
            for _, here in both.groupby("repeat")
            if len(here) > 3
        ]
        if not found:
            continue
        # Without any relation, the rank correlation of n pairs has the variance 1/(n − 1).
        effect = float(np.mean([rho for rho, _ in found]))
        error = math.sqrt(sum(1 / (count - 1) for _, count in found)) / len(found)
        outcome = verdicts.outcome_of(effect, error, NORMAL_95, wrong=False)
        converged = bool(frame["converged"].all())
        yield Finding(name, KINDS[name], outcome, converged, effect, error, len(found), "rank correlation")


def viable(scale: str, check: Check) -> Iterator[Finding]:
    """Yield one finding on: three minima are below the threshold in the landscape of the least data, one with all data.

    The minima are those of the second, the middle and the last level. The effect is the smallest distance of a loss from the
    threshold, |ln(loss/τ)|, negative if a loss lies on the wrong side. No volume enters.
    """
    rows = rows_at(scale, check.study, check.threshold)
    cut = tables.cutoffs(scale, check.study)
    last = cut[cut["threshold"] == check.threshold].pivot(index="repeat", columns="level", values="final_mean_loss")
    levels = sorted(rows["level"].unique())
    three = [levels[1], levels[len(levels) // 2], levels[-1]]
    small = rows[(rows["landscape"] == three[0]) & rows["level"].isin(three)]
    first = small.pivot(index="repeat", columns="level", values="loss_at_zero")
    below = pd.concat([first, last[[three[2]]].set_axis(["all"], axis=1)], axis=1).dropna()
    above = last.loc[below.index, three[:2]]
    margins = pd.concat([-np.log(below / check.threshold), np.log(above / check.threshold)], axis=1).min(axis=1)
    effect, error, limit = verdicts.mean_effect(margins, np.zeros(len(margins)))
    outcome = verdicts.outcome_of(effect, error, limit, wrong=False)
    yield Finding("loss", "outcome", outcome, True, effect, error, len(margins), "e-folds of the loss")


def unconverged(scale: str, check: Check) -> Iterator[Finding]:
    """Yield one finding on: more than half of all values of ln E[rⁿ], of all studies, have not converged."""
    words = pd.concat([tables.volumes(scale, study).dropna(subset=["log_volume"]) for study in tables.studies(scale)])
    yield share_above_half("log_volume", ~words["verdict"].isin(CONVERGED), words["study"].nunique())


def below(scale: str, check: Check) -> Iterator[Finding]:
    """Yield one finding on: for most minima, ln γ from rays that have not converged lies below the sampler's value.

    Below means by more than two errors of the sampler, at the widest width of each minimum that both have. The error of such
    rays means nothing and does not count.
    """
    rows = tables.orderings(scale, check.study)
    if rows is None or rows.empty:
        return
    rays, chain = (rows[rows["estimator"] == name] for name in ("gamma", "gold"))
    both = rays.merge(chain, on=["repeat", "level", "sigma", "threshold"], suffixes=("", "_gold"))
    both = both[~both["verdict"].isin(CONVERGED) & both["verdict_gold"].isin(CONVERGED)]
    widest = both.sort_values("sigma").groupby(["repeat", "level"]).tail(1)
    if len(widest):
        lower = widest["value_gold"] - widest["value"] > 2 * widest["error_gold"]
        yield share_above_half("gamma", lower, widest["repeat"].nunique())


def rows_at(scale: str, study: str, threshold: float) -> pd.DataFrame:
    """Rows of the loss criterion at one threshold, in all landscapes."""
    rows = tables.volumes(scale, study)
    return rows[(rows["threshold"] == threshold) & (rows["metric"] == "loss")]


FUNCTIONS: dict[str, Callable[[str, Check], Iterator[Finding]]] = {
    kind.__name__: kind
    for kind in (falls, ends, larger, unbeaten, leads, overtakes, gains, line, predicts, viable, unconverged, below)
}
