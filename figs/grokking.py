"""Accuracies and volumes along one training run: what happens to the volume when generalisation appears."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from minima_volume.analysis import statements, tables
from minima_volume.drawing import marks, output, style
from minima_volume.errors import ResultsError

CRITERIA = {"loss": "loss threshold", "accuracy": "accuracy kept"}
ACCURACIES = {"train_accuracy": "training set", "test_accuracy": "test set", "unseen_accuracy": "not trained on"}


def accuracies(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per repeat and epoch with the accuracies of its minimum.

    Raises:
        ResultsError: A row lacks one of the accuracies.
    """
    rows = frame.drop_duplicates(["repeat", "level"])
    for column in ACCURACIES:
        if rows[column].notna().any() and not np.isfinite(rows[column]).all():
            raise ResultsError(
                f"Expected a number in every row of column {column}, got empty cells: run the study again."
            )
    return rows


def draw(study: str, scale: str) -> list[Path]:
    """Draw the accuracies, then the volume in the base landscape under each criterion of the study."""
    settings = tables.settings(scale, study)
    if settings.level_means != "epochs":
        return []
    frame = tables.volumes(scale, study)
    criteria = [metric for metric in CRITERIA if metric in set(frame["metric"])]
    style.use()
    figure, panels = plt.subplots(1, 1 + len(criteria), figsize=(style.DOUBLE_COLUMN, 2.8))
    epochs = {level: float(level) for level in sorted(frame["level"].unique())}
    _accuracies(panels[0], accuracies(frame), epochs)
    for axes, metric in zip(panels[1:], criteria, strict=True):
        _volumes(axes, frame[frame["metric"] == metric], epochs, CRITERIA[metric])
    for axes in panels:
        axes.set_xscale("log")
        marks.log_ticks(axes.xaxis)
        axes.set_xlabel("training epochs")
    caption = [marks.repeats(frame), *marks.caveats(frame)]
    said = {
        metric: statements.along_levels(statements.at_largest_threshold(frame[frame["metric"] == metric]))
        for metric in criteria
    }
    return marks.finish(
        figure, panels, frame, settings, scale, "grokking", caption,
        finding="; ".join(f"by {metric}, {text.partition(',')[0]}" for metric, text in said.items()),
    )  # fmt: skip


def _accuracies(axes: Axes, rows: pd.DataFrame, epochs: dict[int, float]) -> None:
    """Draw training and test accuracy, and that on unseen samples if the test set holds training samples."""
    present = {column: label for column, label in ACCURACIES.items() if rows[column].notna().any()}
    if "unseen_accuracy" in present:
        present["test_accuracy"] = "all, training set included"
    for (column, label), color in zip(present.items(), style.SERIES, strict=False):
        marks.series(axes, rows.assign(status="ok"), epochs, column, color=color, label=label)
    axes.set_ylim(-0.03, 1.05)
    axes.set_ylabel("accuracy")
    axes.set_title("generalisation", loc="left")
    axes.legend()


def _volumes(axes: Axes, rows: pd.DataFrame, epochs: dict[int, float], criterion: str) -> None:
    """Draw one curve for each threshold of a criterion."""
    thresholds, absent = tables.thresholds(rows), []
    for threshold, color in zip(thresholds, style.series_colors(len(thresholds)), strict=True):
        here = rows[rows["threshold"] == threshold]
        absent.append((color, marks.series(axes, here, epochs, "log_volume", color=color, label=f"{threshold:g}")))
    marks.crosses((axes, absent))
    axes.set_ylabel(f"{tables.NAMES['log_volume']} (nats)")
    style.nats(axes.yaxis)
    axes.set_title(f"by {criterion.split()[0]}", loc="left")
    axes.legend(title=criterion, title_fontsize=7)


if __name__ == "__main__":
    output.main(draw, __doc__)
