"""The order of minima along each study's levels, counted in every repeat, estimator by estimator."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from minima_volume.analysis import tables
from minima_volume.analysis.markdown import MISSING, ratio, signed, table, thousands
from minima_volume.storage import layout

ESTIMATORS = {
    "log_volume_grid": "published rule",
    "log_volume": "ln E[rⁿ], solved",
    "typical_log_volume": "n·E[ln r], solved",
}
HEADLINE = "mnist_poison"
HEADLINE_THRESHOLD = 0.1
SAM = {"mnist_sam": "mnist_data", "cifar_sam": "cifar_data"}  # and the same levels trained with AdamW
SAM_THRESHOLD = 0.1


@dataclass(frozen=True)
class Order:
    """Volume falls with the level of one study, at one loss or accuracy threshold.

    Attributes:
        more: What there is more of at a higher level.
        study: Name of the study.
        threshold: Loss threshold, or accuracy between 0 and 1.
        metric: `loss` or `accuracy`.
    """

    more: str
    study: str
    threshold: float
    metric: str = "loss"


DATA, POISON, GROKKING, BATCHES = "More data", "More mislabelled data", "Later in a grokking run", "Larger batches"
ORDERS = (
    Order(DATA, "mnist_data", 0.1),
    Order(DATA, "mnist_data_large", 0.1),
    Order(DATA, "mnist_cnn_data", 0.1),
    Order(DATA, "cifar_data", 0.1),
    Order(DATA, "cifar_cnn_data", 0.1),
    Order(DATA, "modulo_data", 0.01),
    Order(DATA, "swiss_data_x5", 0.1),
    Order(DATA, "swiss_data_x6", 0.1),
    Order(POISON, "mnist_poison", 0.1),
    Order(POISON, "cifar_poison", 0.1),
    Order(POISON, "swiss_poison_x5", 0.1),
    Order(POISON, "swiss_poison_x6", 0.1),
    Order(GROKKING, "modulo_grokking", 0.01),
    Order(GROKKING, "modulo_grokking", 0.005),
    Order(GROKKING, "modulo_grokking", 0.95, metric="accuracy"),
    Order(BATCHES, "mnist_batch_size", 0.01),
)


def strict_falls(rows: pd.DataFrame, column: str) -> tuple[int, int]:
    """Return in how many repeats a volume falls at every step of the level, and the number of repeats.

    Levels without a volume are skipped. A repeat with fewer than two volumes does not count as falling.
    """
    repeats = [repeat[column].dropna().to_numpy() for _, repeat in rows.sort_values("level").groupby("repeat")]
    return sum(len(values) > 1 and bool((np.diff(values) < 0).all()) for values in repeats), len(repeats)


def certain_rises(rows: pd.DataFrame) -> list[tuple[int, int]]:
    """Return the steps (level, next level) at which n·E[ln r] rises by more than two of its errors in every repeat."""
    known = rows.dropna(subset=["typical_log_volume"])
    values = known.pivot(index="level", columns="repeat", values="typical_log_volume")
    errors = known.pivot(index="level", columns="repeat", values="typical_log_volume_se")
    steps = values.diff().iloc[1:]
    certain = (steps > 2 * ((errors**2 + errors.shift() ** 2) ** 0.5).iloc[1:]).all(axis=1)
    return [step for step, holds in zip(pairwise(map(int, values.index)), certain, strict=True) if holds]


def orders_table() -> str:
    """Return a row for each order whose study was run, with the steps at which the typical volume certainly rises."""
    rows = []
    for order in ORDERS:
        if _is_run(order.study):
            here = _base(order.study, order.threshold, order.metric)
            counts = ["{} of {}".format(*strict_falls(here, column)) for column in ESTIMATORS]
            steps = ", ".join(f"{low:,} → {high:,}" for low, high in certain_rises(here)) or "none"
            rows.append((order.more, f"`{order.study}`", f"{order.metric} {order.threshold:g}", *counts, steps))
    header = (
        "smaller minima with", "study", "threshold", *ESTIMATORS.values(), "steps at which n·E[ln r] rises",
    )  # fmt: skip
    return table(header, rows) if rows else MISSING


def headline_table(comparison: pd.DataFrame) -> str:
    """Return volumes and test accuracies of `mnist_poison`, ours and published, level by level.

    Args:
        comparison: Rows of comparison.csv.
    """
    published = comparison[(comparison["study"] == HEADLINE) & (comparison["threshold"] == HEADLINE_THRESHOLD)]
    published = published[published["landscape"] == 0].set_index("level")
    rows = []
    for level, here in _base(HEADLINE, HEADLINE_THRESHOLD).groupby("level"):
        ours, theirs = here.mean(numeric_only=True), published.loc[[level]].iloc[0]
        rows.append((
            f"{level:,}",
            thousands(ours["log_volume_grid"]),
            thousands(theirs["published_log_volume_grid"]),
            f"{thousands(ours['log_volume'])} ± {thousands(ours['log_volume_se'])}",
            f"{thousands(ours['typical_log_volume'], 1)} ± {thousands(ours['typical_log_volume_se'], 1)}",
            f"{ours['test_accuracy']:.3f}",
            f"{theirs['published_test_accuracy']:.3f}",
        ))  # fmt: skip
    _, solved, typical = ESTIMATORS.values()
    header = (
        "mislabelled samples", "published rule, ours", "published", solved, typical, "test accuracy, ours", "published",
    )  # fmt: skip
    return table(header, rows)


def sam_table() -> str:
    """Return the differences between minima of SAM and of AdamW, level by level."""
    rows = []
    for study, plain in SAM.items():
        if not (_is_run(study) and _is_run(plain)):
            continue
        pairs = _base(study, SAM_THRESHOLD).merge(
            _base(plain, SAM_THRESHOLD), on=["repeat", "level"], suffixes=("", "_plain")
        )
        for level, here in pairs.groupby("level"):
            losses = here["loss_at_zero"] / here["loss_at_zero_plain"]
            ends = dict.fromkeys((ratio(losses.min()), ratio(losses.max())))
            accuracy = 100 * (here["test_accuracy"] - here["test_accuracy_plain"]).mean()
            larger = [_larger(here[name] - here[f"{name}_plain"]) for name in ("typical_log_volume", "log_volume")]
            rows.append((f"`{study}`", f"{level:,}", " to ".join(ends), *larger, signed(accuracy)))
    header = (
        "study", "level", "loss at the minimum, SAM ÷ AdamW", "n·E[ln r], SAM − AdamW", "ln E[rⁿ], SAM − AdamW",
        "test accuracy, points",
    )  # fmt: skip
    return table(header, rows) if rows else MISSING


def _is_run(study: str) -> bool:
    return (layout.study_folder("paper", study) / layout.VOLUMES).exists()


def _base(study: str, threshold: float, metric: str = "loss") -> pd.DataFrame:
    """Rows of a study in the base landscape at one threshold."""
    rows = tables.volumes("paper", study)
    return rows[(rows["threshold"] == threshold) & (rows["metric"] == metric) & (rows["landscape"] == 0)]


def _larger(differences: "pd.Series[float]") -> str:
    """The mean difference and in how many repeats it is positive."""
    return f"{thousands(float(differences.mean()))} ({int((differences > 0).sum())} of {len(differences)} larger)"
