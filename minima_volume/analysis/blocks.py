"""The generated blocks of README.md and docs/: tables that follow from committed results and from studies.mk.

A block stands between the lines ``<!-- NAME: written by `make readme` -->`` and ``<!-- end of NAME -->``.
"""

import re
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from minima_volume.analysis import claim_tables, claims, local, orders, power_law, published, sharpness, tables
from minima_volume.analysis.markdown import MISSING, duration, ratio, signed, table, with_error
from minima_volume.errors import ResultsError
from minima_volume.storage import archives, atomic, layout
from minima_volume.text import prepare_streams

ROOT = Path()


class Inputs:
    """What the blocks are computed from: the repository at `root`, and the comparison with the published numbers."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root

    @cached_property
    def comparison(self) -> tuple[pd.DataFrame, pd.DataFrame] | None:
        """Rows of comparison.csv and comparison_trends.csv, or None if no published study was run at paper scale."""
        try:
            return published.compare_all()
        except ResultsError:
            return None

    @cached_property
    def judged(self) -> list[claims.Judgement]:
        """All claims with their evidence, at paper scale."""
        return claims.judge_all("paper")


def headline(inputs: Inputs) -> str:
    """Return the volumes of `mnist_poison`, level by level."""
    if inputs.comparison is None:
        return MISSING
    volumes, _ = inputs.comparison
    return orders.headline_table(volumes) if orders.HEADLINE in set(volumes["study"]) else MISSING


def studies(inputs: Inputs) -> str:
    """Return every study of every studies.mk with its question, and the cost of its committed repeats."""
    rows = []
    for path in sorted(inputs.root.glob("*/studies.mk")):
        for study, about in re.findall(r"^about\.(\w+) := (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            record = layout.study_folder("paper", study) / layout.RUN_RECORD
            took = cost(archives.read_json(record)) if record.exists() else "not run yet"
            rows.append((f"`{path.parent.name}/`", f"`make {study}`", about, took))
    return table(("folder", "target", "what it asks", "at paper scale"), rows)


def cost(record: Mapping[str, Any]) -> str:
    """Return repeats, directions, time per repeat and machine of a run.json: `3 repeats of 500 directions, 46 min …`."""
    settings, repeats = record["settings"], len(record["seeds"])
    left = len(settings.get("later_levels", ()))
    only = f", first {len(settings['levels'])} of {len(settings['levels']) + left} levels" if left else ""
    each = sum(record["task_seconds"].values()) / repeats
    device = str(record["device"])
    machine = f"one core of {device[5:].split(',')[0]}" if device.startswith("cpu: ") else device
    many = "s" * (repeats > 1)
    return (
        f"{repeats} repeat{many} of {settings['n_directions']:,} directions{only}, {duration(each)} each on {machine}"
    )


def comparison(inputs: Inputs) -> str:
    """Return one row for each published study: how many volumes agree, and the slopes in the base landscape."""
    if inputs.comparison is None:
        return MISSING
    volumes, trends = inputs.comparison
    rows = [
        (f"`{study}`", *_counts(here), ratio(loss_ratio(here)), *_slopes(trends[trends["study"] == study]))
        for study, here in volumes.groupby("study")
    ]
    header = (
        "study", "volumes compared", "within one grid step", "else within two errors", "neither",
        "loss at the minima, ours ÷ published", "base slope, published", "base slope, ours", "direction of volume",
        "direction of test loss",
    )  # fmt: skip
    return table(header, rows)


def exceptions(inputs: Inputs) -> str:
    """Return every compared volume that neither the grid nor the scatter of repeats explains."""
    if inputs.comparison is None:
        return MISSING
    volumes, _ = inputs.comparison
    rows = [
        (
            f"`{row['study']}`", f"{row['level']:,}", f"{row['landscape']:,}", f"{row['threshold']:g}",
            str(row["ours_repeats"]), str(row["published_repeats"]), signed(row["grid_steps"]),
            signed(row["standard_errors"]),
        )
        for row in volumes[volumes["within"] == "neither"].to_dict("records")
    ]  # fmt: skip
    header = (
        "study", "level", "landscape", "threshold", "repeats, ours", "repeats, published", "difference, grid steps",
        "difference, standard errors",
    )  # fmt: skip
    return table(header, rows)


def grid(inputs: Inputs) -> str:
    """Return how many differences between neighbouring levels are smaller than one and three steps of the published grid."""
    studies = layout.studies_with_volumes("paper")
    if not studies:
        return MISSING
    steps = np.concatenate([grid_steps(tables.volumes("paper", study)) for study in studies])
    return (
        f"Of {len(steps)} differences of ln E[rⁿ] between neighbouring levels in the base landscapes, "
        f"{(steps > 1).sum()} are smaller than one grid step, and {(steps > 1 / 3).sum()} are smaller than three."
    )


def grid_steps(volumes: pd.DataFrame) -> NDArray[np.float64]:
    """Return, for every two neighbouring levels of a repeat, a grid step in units of their difference of ln E[rⁿ]."""
    base = volumes[(volumes["landscape"] == 0) & (volumes["metric"] == "loss")].dropna(subset=["log_volume"])
    ratios = []
    for _, here in base.sort_values("level").groupby(["threshold", "repeat"]):
        sizes = zip(here["log_volume_grid"], here["n_params"], strict=True)
        steps = np.array([published.grid_step(grid_volume, n) for grid_volume, n in sizes])
        ratios.append(steps[:-1] / np.abs(np.diff(here["log_volume"])))
    return np.concatenate([np.empty(0), *ratios])


def loss_ratio(volumes: pd.DataFrame) -> float:
    """Return the geometric mean of our losses at the minima over the published ones, or NaN if there are none."""
    return float(np.exp(np.log(volumes["ours_loss_at_zero"] / volumes["published_loss_at_zero"]).mean()))


def _counts(volumes: pd.DataFrame) -> list[str]:
    known = volumes.loc[volumes["within"] != "", "within"]
    return [str(len(known)), *(str((known == name).sum()) for name in ("a grid step", "two errors", "neither"))]


def _slopes(trends: pd.DataFrame) -> tuple[str, str, str, str]:
    """Slopes and directions at the largest threshold of the base landscape, and the direction of the test loss."""
    base = trends[trends["held"] == "landscape 0"].sort_values("threshold").tail(1)
    tests = trends[trends["quantity"] == "test loss"]
    theirs, ours = (
        with_error(float(base[f"{who}_slope"].iloc[0]), float(base[f"{who}_slope_se"].iloc[0])) if len(base) else "—"
        for who in ("published", "ours")
    )
    return theirs, ours, _directions(base), _directions(tests)


def _directions(trend: pd.DataFrame) -> str:
    """`falls in both`, or the direction of each side."""
    if trend.empty:
        return "—"
    theirs, ours = trend["published_direction"].iloc[0], trend["ours_direction"].iloc[0]
    return f"{ours} in both" if ours == theirs else f"{theirs} published, {ours} here"


BLOCKS: dict[str, Callable[[Inputs], str]] = {
    "headline": headline,
    "comparison": comparison,
    "exceptions": exceptions,
    "studies": studies,
    "verdicts": lambda inputs: claim_tables.verdict_table(inputs.judged, links="docs/claims.md"),
    "summary": lambda inputs: claim_tables.verdict_table(inputs.judged, links=""),
    "rules": lambda _: claim_tables.rules(),
    "claims": lambda inputs: claim_tables.sections(inputs.judged, "paper", "../figs/paper"),
    "artifact": lambda inputs: claim_tables.artifact_table(inputs.judged),
    "orders": lambda _: orders.orders_table(),
    "sam": lambda _: orders.sam_table(),
    "local": lambda _: local.local_table(),
    "sharpness": lambda _: sharpness.sharpness_table(),
    "bend": lambda _: power_law.power_law_table(),
    "grid": grid,
}
PAGES = {
    "README.md": ("headline", "verdicts"),
    "docs/reproduction.md": ("comparison", "exceptions", "studies"),
    "docs/claims.md": ("summary", "rules", "claims", "orders", "local", "bend", "sam"),
    "docs/sharpness.md": ("sharpness",),
    "docs/limits.md": ("grid",),
    "docs/artifact.md": ("artifact",),
}


def render(page: str, text: str, inputs: Inputs) -> str:
    """Return the text of a page with its blocks written again.

    Args:
        page: A key of `PAGES`.
        text: The page as it is.
        inputs: What the blocks are computed from.

    Raises:
        ResultsError: The page does not have each pair of marker lines exactly once, or has one that is unknown.
    """
    found = re.findall(r"<!-- (\w+): written by `make readme` -->", text)
    if sorted(found) != sorted(PAGES[page]):
        raise ResultsError(
            f"Expected the blocks {', '.join(PAGES[page])} once each in {page}, got {', '.join(found) or 'none'}: "
            "restore the line that starts each block."
        )
    for name in PAGES[page]:
        begin, end = f"<!-- {name}: written by `make readme` -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        if text.count(end) != 1 or end not in rest:
            raise ResultsError(
                f"Expected the line {end} once in {page}, after {begin}, got {text.count(end)}: restore the line."
            )
        text = f"{before}{begin}\n\n{BLOCKS[name](inputs)}\n\n{end}{rest.partition(end)[2]}"
    return text


def main() -> list[Path]:
    """Bring all pages up to date; return their paths."""
    inputs = Inputs(ROOT)
    for page in PAGES:
        path = ROOT / page
        text = path.read_text(encoding="utf-8")
        new = render(page, text, inputs)
        if new != text:
            with atomic.atomic_write(path) as scratch:
                scratch.write_bytes(new.encode())
    return [ROOT / page for page in PAGES]


if __name__ == "__main__":
    prepare_streams()
    try:
        print("Up to date with the results:", *map(layout.display_path, main()))
    except ResultsError as error:
        sys.exit(f"error: {error}")
