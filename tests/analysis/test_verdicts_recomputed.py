"""Every verdict of the claims page again, from the committed tables, by plain loops that share nothing with the package."""

import csv
import math
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest

from minima_volume.analysis import claims
from minima_volume.analysis.remarks import REMARKS
from minima_volume.storage import layout
from tests.analysis.plain_estimates import (
    PAPER,
    ROOT,
    estimates,
    everywhere,
    hypot,
    in_all_landscapes,
    number,
    read,
    size,
    sure_anywhere,
)
from tests.analysis.plain_rules import along, any_wrong, joint, judged, of_margins, overall, t95


def accuracy(study, threshold, way):
    values = {}
    for row in read(study, "volumes.csv"):
        if row["metric"] == "loss" and float(row["threshold"]) == threshold:
            p = float(row["test_accuracy"])
            q = min(max(p, 0.0005), 0.9995)
            values[int(row["repeat"]), int(row["level"])] = p, math.sqrt(q * (1 - q) / 1000)
    effects, errors, _ = along(values)
    return judged([effect if way == "falls" else -effect for effect in effects], errors, {})


def compare(check, *, order):
    """{estimator: (outcome, converged, repeats)} for claims about the levels of one study."""
    found = {}
    for name, (values, sure) in estimates(check.study, check.threshold, check.metric).items():
        effects, errors, steps = along(values)
        if effects:
            found[name] = judged(effects, errors, steps if order else {}), sure, len(effects)
    return found


def pairs(check, landscape):
    ours, theirs = (estimates(name, check.threshold, landscape=landscape) for name in (check.study, check.partner))
    found = {}
    for name in ours.keys() & theirs.keys():
        (a, sure), (b, other) = ours[name], theirs[name]
        margins = defaultdict(dict)
        for repeat, level in sorted(a.keys() & b.keys()):
            x, y = a[repeat, level], b[repeat, level]
            margins[level][repeat] = x[0] - y[0], hypot(x[1], y[1])
        outcome = of_margins(margins)
        if landscape == "own" and any_wrong(margins):
            outcome = "disagrees"
        found[name] = outcome, sure and other, len({repeat for here in margins.values() for repeat in here})
    return found


def leads(check):
    _, at = everywhere(check)
    ends = {}
    for row in read(check.study, "cutoffs.csv"):
        if float(row["threshold"]) == check.threshold:
            ends[int(row["repeat"]), int(row["level"])] = number(row["cutoff"])
    found = {}
    for name in ("grid", "log_volume", "typical"):
        margins, left = defaultdict(dict), False
        present = sorted({level for here in at.values() if name in here for _, level in here[name][0]})
        for own in present[:-1]:
            values = at[own][name][0] if name in at[own] else {}
            for repeat in sorted({r for r, _ in values}):
                still = [low for low in present if low < own
                         and not ends[repeat, low] <= size(check.study) + own]  # fmt: skip
                if still:
                    left = True
                    continue
                others = [values[repeat, c] for c in present if c > own and (repeat, c) in values]
                if (repeat, own) in values and others:
                    mine, best = values[repeat, own], max(others)
                    margins[own][repeat] = mine[0] - best[0], hypot(mine[1], best[1])
        if margins:
            outcome = of_margins(margins)
            outcome = "agrees in part" if left and outcome == "agrees" else outcome
            found[name] = outcome, sure_anywhere(at, name), len({r for here in margins.values() for r in here})
    return found


def overtakes(check):
    """At its own size a minimum is ahead of the next one of more data, and behind where it last fits."""
    found = {}
    for name, (values, sure) in in_all_landscapes(check).items():
        present = sorted({level for _, level, _ in values})
        own, last = defaultdict(dict), defaultdict(dict)
        for low, high in pairwise(present):
            for repeat in sorted({r for r, *_ in values}):
                both = [place for r, level, place in sorted(values) if (r, level) == (repeat, low)
                        and place >= low and (repeat, high, place) in values]  # fmt: skip
                if low in both and len(both) > 1:
                    for place, sign, into in ((low, -1, own), (max(both), 1, last)):
                        (a, x), (b, y) = values[repeat, low, place], values[repeat, high, place]
                        into[low][repeat] = sign * (b - a), hypot(x, y)
        if own:
            order = ["disagrees", "undecided", "agrees in part", "agrees"]
            outcome = min(of_margins(own), of_margins(last), key=order.index)
            found[name] = outcome, sure, len({r for here in own.values() for r in here})
    return found


def gains(check):
    _, at = everywhere(check)
    found = {}
    for name in ("grid", "log_volume", "typical"):
        present = sorted({level for here in at.values() if name in here for _, level in here[name][0]})
        margins = defaultdict(dict)
        for own, more in pairwise(present):
            if own == 0 or name not in at[own]:
                continue
            home, base = at[own][name][0], at[0][name][0]
            for r in sorted({repeat for repeat, _ in home}):
                if all((r, level) in table for table in (home, base) for level in (own, more)):
                    cells = home[r, more], home[r, own], base[r, more], base[r, own]
                    change = cells[0][0] - cells[1][0] - cells[2][0] + cells[3][0]
                    margins[own][r] = change, hypot(*(error for _, error in cells))
        if margins:
            found[name] = of_margins(margins), sure_anywhere(at, name), len({r for h in margins.values() for r in h})
    return found


def line(check):
    """A line through each repeat; a parabola with heights of its own for each must not fit better."""
    found = {}
    for name, (values, sure) in estimates(check.study, check.threshold, landscape="own").items():
        n = int(read(check.study, "volumes.csv")[0]["n_params"])
        points = defaultdict(list)
        column = "typical_log_volume_se" if name == "typical" else "log_volume_se"
        directions = {
            (int(row["repeat"]), int(row["level"])): number(row[column]) for row in read(check.study, "volumes.csv")
            if row["landscape"] == row["level"] and row["metric"] == "loss" and float(row["threshold"]) == check.threshold
        }  # fmt: skip
        for (repeat, level), (value, _) in sorted(values.items()):
            points[repeat].append((math.log(size(check.study) + level), value / n, directions[repeat, level] / n))
        points = {r: np.array(here) for r, here in points.items() if len(here) > 2}
        if not points:
            continue
        fits = [np.polyfit(here[:, 0], here[:, 1], 1) for here in points.values()]
        slopes = np.array([fit[0] for fit in fits])
        count = sum(map(len, points.values()))
        if len(slopes) > 1:
            error, freedom = slopes.std(ddof=1) / math.sqrt(len(slopes)), len(slopes) - 1
        else:
            (here,) = points.values()
            left = here[:, 1] - np.polyval(fits[0], here[:, 0])
            error = math.sqrt(left @ left / (count - 2) / ((here[:, 0] - here[:, 0].mean()) ** 2).sum())
            freedom = count - 2
        # The slope of one repeat from its directions, on average: slope = Σ (x − mean) y / Σ (x − mean)².
        apart = [(here[:, 0] - here[:, 0].mean(), here[:, 2]) for here in points.values()]
        shared = np.mean([((x / (x**2).sum() * errors) ** 2).sum() for x, errors in apart]) ** 0.5
        error, limit = joint(error, freedom, shared)
        x = np.concatenate([here[:, 0] for here in points.values()])
        y = np.concatenate([here[:, 1] for here in points.values()])
        which = np.repeat(np.arange(len(points)), [len(here) for here in points.values()])
        design = np.column_stack([(x - x.mean()) ** 2, x - x.mean(), *(which == i for i in range(len(points)))])
        coefficients = np.linalg.pinv(design) @ y
        freedom = count - design.shape[1]
        left = y - design @ coefficients
        bend = coefficients[0] / math.sqrt(left @ left / freedom * np.linalg.pinv(design.T @ design)[0, 0])
        slope = slopes.mean()
        outcome = "agrees" if -slope > limit * error else "disagrees" if slope > limit * error else "undecided"
        found[name] = "disagrees" if abs(bend) > t95(freedom) else outcome, sure, len(points)
    return found


def ranks(values):
    order = sorted(values)
    return [np.mean([i for i, other in enumerate(order) if other == value]) for value in values]


def predicts(check):
    tested = {(int(r["repeat"]), int(r["level"])): float(r["test_accuracy"]) for r in read(check.study, "volumes.csv")}
    found = {}
    for name, (values, sure) in estimates(check.study, check.threshold).items():
        rhos = []
        for repeat in sorted({r for r, _ in values}):
            keys = [key for key in sorted(values) if key[0] == repeat]
            if len(keys) > 3:
                a, b = ranks([values[key][0] for key in keys]), ranks([tested[key] for key in keys])
                rhos.append((np.corrcoef(a, b)[0, 1], len(keys)))
        if rhos:
            error = math.sqrt(sum(1 / (count - 1) for _, count in rhos)) / len(rhos)
            found[name] = judged([np.mean([rho for rho, _ in rhos])], [error], {}), sure, len(rhos)
    return found


def viable(check):
    levels = sorted({int(row["level"]) for row in read(check.study, "volumes.csv")})
    a, b, c = levels[1], levels[len(levels) // 2], levels[-1]
    few, full = {}, {}
    for row in read(check.study, "volumes.csv"):
        if int(row["landscape"]) == a and float(row["threshold"]) == check.threshold and row["metric"] == "loss":
            few[row["repeat"], int(row["level"])] = float(row["loss_at_zero"])
    for row in read(check.study, "cutoffs.csv"):
        full[row["repeat"], int(row["level"])] = float(row["final_mean_loss"])
    margins = []
    for repeat in sorted({r for r, _ in few}):
        fit = [few[repeat, a], few[repeat, b], few[repeat, c], full[repeat, c]]
        misfit = [full[repeat, a], full[repeat, b]]
        margins.append(
            min(*(-math.log(x / check.threshold) for x in fit), *(math.log(x / check.threshold) for x in misfit))
        )
    return {"loss": (judged(margins, [0.0] * len(margins), {}), True, len(margins))}


def unconverged(_):
    rows = [
        row for path in sorted(PAPER.glob("*/volumes.csv")) for row in csv.DictReader(path.read_text().splitlines())
    ]
    known = [row["verdict"] == "converged" for row in rows if row["log_volume"] and row["status"] != "unconverged"]
    share = 1 - sum(known) / len(known)
    return {"log_volume": (judged([share - 0.5], [0.5 / math.sqrt(len(known))], {}), True, 2)}


def below(check):
    rays, chain = {}, {}
    for row in read(check.study, "orderings.csv"):
        key = row["repeat"], row["level"], float(row["sigma"] or 0)
        if row["estimator"] == "gamma" and row["verdict"] != "converged":
            rays[key] = float(row["value"])
        if row["estimator"] == "gold" and row["verdict"] == "ok":
            chain[key] = float(row["value"]), float(row["error"])
    widest = {}
    for repeat, level, sigma in rays.keys() & chain.keys():
        widest[repeat, level] = max(sigma, widest.get((repeat, level), 0))
    lower = [chain[*key, s][0] - rays[*key, s] > 2 * chain[*key, s][1] for key, s in widest.items()]
    return {"gamma": (judged([np.mean(lower) - 0.5], [0.5 / math.sqrt(len(lower))], {}), True, 3)}


KINDS = {
    "falls": lambda check: compare(check, order=True), "ends": lambda check: compare(check, order=False),
    "larger": lambda check: pairs(check, 0), "unbeaten": lambda check: pairs(check, "own"), "leads": leads, "gains": gains,
    "overtakes": overtakes,
    "line": line, "predicts": predicts, "viable": viable, "unconverged": unconverged, "below": below,
}  # fmt: skip

VOLUMES = {"grid", "log_volume", "gold", "own", "first"}

ONLY_BASE = {"falls", "ends", "larger", "predicts"}


def near(check):
    if check.kind in ("line", "viable", "unconverged", "below") or check.metric == "accuracy":
        return False
    rows = [row for study in (check.study, check.partner) if study for row in read(study, "volumes.csv")]
    return any(
        row["metric"] == "loss" and float(row["threshold"]) == check.threshold and row["log_volume"]
        and row["status"] != "unconverged" and float(row["loss_at_zero"]) > check.threshold / 2
        and (row["landscape"] == "0" or check.kind not in ONLY_BASE)
        for row in rows
    )  # fmt: skip


def verdict(check):
    found = KINDS[check.kind](check)
    if check.accuracy:
        scale = ["disagrees", "undecided", "agrees in part", "agrees"]
        other = accuracy(check.study, check.threshold, check.accuracy)
        found = {name: (min(o, other, key=scale.index), sure, count) for name, (o, sure, count) in found.items()}
    found = {name: (o, count) for name, (o, sure, count) in found.items() if sure}
    upper = {n: v for n, v in found.items() if n in VOLUMES or check.kind in ("viable", "unconverged", "below")}
    outcomes = {outcome for outcome, _ in (upper or found).values()}
    support = "agrees" in outcomes or "agrees in part" in outcomes
    if "disagrees" in outcomes:
        return "cannot be told" if support else "fails"
    if not support:
        return "cannot be told"
    best = upper and outcomes == {"agrees"} and all(count > 1 for _, count in upper.values()) and not near(check)
    return "holds" if best and all(outcome != "disagrees" for outcome, _ in found.values()) else "holds weakly"


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: str(claim.number))
def test_every_verdict_is_recomputed(claim: claims.Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "ROOT", ROOT / "results")
    got = claims.judge("paper", claim)
    words = {each.check: verdict(each.check) for each in got.evidence}
    assert words == {each.check: each.verdict for each in got.evidence}
    assert got.verdict == overall(list(words.values()), claim.quantifier)
    assert REMARKS[claim.number].verdict == got.verdict, "read the evidence and rewrite the remark"
