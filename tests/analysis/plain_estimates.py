"""Estimates of minima from the committed tables, by plain loops that share nothing with the package."""

import csv
import json
import math
from collections import defaultdict
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PAPER = ROOT / "results" / "paper"


@cache
def read(study, name):
    path = PAPER / study / name
    return list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []


def number(cell):
    return float(cell) if cell else math.nan


def size(study):
    return json.loads((PAPER / study / "run.json").read_text())["settings"]["base"]


def hypot(*errors):
    return math.sqrt(sum(error**2 for error in errors))


def estimates(study, threshold, metric="loss", landscape=0):
    """{estimator: ({(repeat, level): (value, error)}, converged)} in one landscape, or in each own one."""
    found = {name: ({}, []) for name in ("grid", "log_volume", "typical")}
    for row in read(study, "volumes.csv"):
        where = row["level"] if landscape == "own" else str(landscape)
        if row["metric"] != metric or float(row["threshold"]) != threshold or row["landscape"] != where:
            continue
        if row["status"] == "unconverged" or not row["log_volume"]:
            continue
        n, key = int(row["n_params"]), (int(row["repeat"]), int(row["level"]))
        grid = number(row["log_volume_grid"])
        index = 99 * math.exp(grid / n / 2) / n**0.25
        believed = row["verdict"] == "converged"
        for name, value, error, sure in (
            ("grid", grid, hypot(number(row["log_volume_se"]), 2 * n / index / math.sqrt(12)), believed),
            ("log_volume", number(row["log_volume"]), number(row["log_volume_se"]), believed),
            ("typical", number(row["typical_log_volume"]), number(row["typical_log_volume_se"]), row["status"] == "ok"),
        ):
            found[name][0][key] = value, error
            found[name][1].append(sure)
    if metric == "loss" and landscape == 0:
        found |= widths(study, threshold)
    return {name: (values, all(sure)) for name, (values, sure) in found.items() if values}


def estimates_at(check, landscape):
    return {k: v for k, v in estimates(check.study, check.threshold, landscape=landscape).items()
            if k in ("grid", "log_volume", "typical")}  # fmt: skip


def everywhere(check):
    levels = sorted({int(row["level"]) for row in read(check.study, "volumes.csv")})
    return levels, {level: estimates_at(check, level) for level in levels}


def sure_anywhere(by_landscape, name):
    return all(found[name][1] for found in by_landscape.values() if name in found)


def in_all_landscapes(check):
    """{estimator: ({(repeat, level, landscape): (value, error)}, converged)}."""
    found = {name: ({}, []) for name in ("grid", "log_volume", "typical", "own", "first")}
    for landscape in sorted({int(row["landscape"]) for row in read(check.study, "volumes.csv")}):
        for name, (values, sure) in estimates_at(check, landscape).items():
            for (repeat, level), pair in values.items():
                found[name][0][repeat, level, landscape] = pair
            found[name][1].append(sure)
    rows = [row for row in read(check.study, "local_volumes.csv") if row["log_gamma"]]
    lowest = min((int(row["level"]) for row in rows), default=0)
    for row in rows:
        key = int(row["repeat"]), int(row["level"]), int(row["landscape"])
        errors = [number(row["log_gamma_se"]), number(row["log_gamma_within_se"]), 1.5 / float(row["evaluations"])]
        pair = number(row["log_gamma"]), max(error for error in errors if not math.isnan(error))
        for name in ("own", "first"):
            if row["norms"] == name or (name == "first" and int(row["level"]) == lowest):
                found[name][0][key] = pair
                found[name][1].append(row["status"] in ("ok", "converged"))
    return {name: (values, all(sure)) for name, (values, sure) in found.items() if values}


def widths(study, threshold):
    """ln γ of rays, tethered chain and subset simulation, each at the width with most converged values."""
    directions = max((int(row["n_directions"]) for row in read(study, "volumes.csv")), default=1)
    rows = defaultdict(list)
    for row in read(study, "orderings.csv"):
        if row["estimator"] in ("gamma", "gold") and float(row["threshold"]) == threshold:
            sure = row["verdict"] in ("converged", "ok")
            rows[row["estimator"]].append((row, number(row["value"]), number(row["error"]), 1.5 / directions, sure))
    local = [
        r for r in read(study, "local_volumes.csv") if float(r["threshold"]) == threshold and r["landscape"] == "0"
    ]
    local = [row for row in local if row["log_gamma"]]
    lowest = min((int(row["level"]) for row in local if row["norms"] == "own"), default=0)
    for row in local:
        se, within = number(row["log_gamma_se"]), number(row["log_gamma_within_se"])
        error = max(x for x in (se, within) if not math.isnan(x))
        entry = (
            row,
            number(row["log_gamma"]),
            error,
            1.5 / float(row["evaluations"]),
            row["status"] in ("ok", "converged"),
        )
        if row["norms"] == "own":
            rows["own"].append(entry)
        if row["norms"] == "first" or int(row["level"]) == lowest:
            rows["first"].append(entry)
    found = {}
    for name, here in rows.items():
        if name in ("own", "first") and len({row["level"] for row, *_ in here}) < 2:
            continue
        count = defaultdict(int)
        for row, *_, sure in here:
            count[float(row["sigma"])] += sure
        width = max(count, key=lambda sigma: (count[sigma], sigma))
        if not count[width]:
            width = min(count)
        minima = {(int(row["repeat"]), int(row["level"])) for row, *_ in here}
        values, sures = {}, []
        for row, value, error, floor, sure in here:
            if float(row["sigma"]) == width:
                values[int(row["repeat"]), int(row["level"])] = value, max(error, floor)
                sures.append(sure)
        found[name] = values, [*sures, set(values) == minima]
    return found
