"""Two training methods on the same data: volumes, and differences of volumes and of test accuracies."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from minima_volume.analysis import statements, tables
from minima_volume.analysis.study_settings import StudySettings
from minima_volume.drawing import marks, output, style
from minima_volume.errors import ResultsError

PAIRS = {"mnist_sam": "mnist_data", "swiss_sam": "swiss_data_x5", "cifar_sam": "cifar_data"}  # method: its reference
Row = tuple[str, str, str, float, str]  # column, colour, marker, shift from the level, name
VOLUMES: tuple[Row, ...] = (
    ("log_volume", style.BLACK, "D", -0.12, "ln E[$r^n$]"),
    ("typical_log_volume", style.GREEN, "v", 0.12, "typical"),
)
ACCURACY: tuple[Row, ...] = (("test_accuracy", style.BLACK, "o", 0.0, "test accuracy"),)
_SAME = ("data", "model", "intervention", "base", "model_seed", "data_seed")
_KEY = ["repeat", "level", "landscape", "threshold", "metric"]


def name(recipe: dict[str, Any]) -> str:
    """Return a recipe in a few words."""
    method = f"SAM ρ = {recipe['sam_rho']:g}" if recipe["sam_rho"] is not None else "AdamW"
    batch = "full batch" if recipe["batch_size"] is None else f"batch {recipe['batch_size']:,}"
    return f"{method}\n{recipe['epochs']} epochs, {batch}"


def differences(ours: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that both studies have, with differences of volumes and of test accuracies.

    Args:
        ours: Rows of volumes.csv of the method.
        reference: Rows of volumes.csv of the reference.

    Returns:
        Rows with `log_volume_difference` and `typical_log_volume_difference` in nats, NaN unless both volumes are exact,
        and `test_accuracy_difference` in percentage points. ln E[rⁿ] grows with the number of directions, so its
        difference is also NaN unless both have the same number.
    """
    both = ours.merge(reference, on=_KEY, suffixes=("", "_reference"))
    exact = (both["status"] == "ok") & (both["status_reference"] == "ok")
    same_number = both["n_directions"] == both["n_directions_reference"]
    for column, known in (("log_volume", exact & same_number), ("typical_log_volume", exact)):
        both[f"{column}_difference"] = (both[column] - both[f"{column}_reference"]).where(known)
    both["test_accuracy_difference"] = 100 * (both["test_accuracy"] - both["test_accuracy_reference"])
    return both


def draw(study: str, scale: str) -> list[Path]:
    """Draw the volumes of both methods in the base landscape, and the differences repeat by repeat."""
    if study not in PAIRS:
        return []
    if PAIRS[study] not in tables.studies(scale):
        raise ResultsError(
            f"Expected results of {PAIRS[study]} to compare with: run `make {PAIRS[study]} SCALE={scale}`."
        )
    both = [tables.settings(scale, name) for name in (study, PAIRS[study])]
    for key in _SAME:
        if getattr(both[0], key) != getattr(both[1], key):
            raise ResultsError(
                f"Expected {study} and {PAIRS[study]} to have the same {key}, got two: change one of the studies."
            )
    frames = [tables.base_landscape(tables.volumes(scale, name)) for name in (study, PAIRS[study])]
    shared = sorted(set(frames[0]["threshold"]) & set(frames[1]["threshold"]))
    paired = differences(*frames)
    if paired.empty:
        raise ResultsError(
            f"Expected {study} and {PAIRS[study]} to share a level and a threshold, "
            "got none: run both studies with the same levels."
        )
    frames = [frame[frame["threshold"] == shared[-1]] for frame in frames]
    return _figure(study, scale, both, frames, paired[paired["threshold"] == shared[-1]])


def _figure(
    study: str, scale: str, both: list[StudySettings], frames: list[pd.DataFrame], paired: pd.DataFrame
) -> list[Path]:
    """Draw the three panels and write the figure."""
    style.use()
    figure, panels = plt.subplots(1, 3, figsize=(style.DOUBLE_COLUMN, 3.7))
    steps = marks.places(pd.concat(frames)["level"], both[0])
    labels = [name(settings.recipe) for settings in both]
    absent = []
    for number, (frame, color, label) in enumerate(zip(frames, (style.VERMILION, style.BLUE), labels, strict=True)):
        beside, look = marks.beside(steps, number, 2), {"color": color, "label": label, "marker": "os"[number]}
        absent.append((color, marks.series(panels[0], frame, beside, "log_volume", **look)))
    marks.crosses((panels[0], absent))
    _differences(panels[1], paired, steps, VOLUMES)
    _differences(panels[2], paired, steps, ACCURACY)
    threshold, less = paired["threshold"].iloc[0], "{} − {}".format(*(label.split()[0] for label in labels))
    for axes, title, label in zip(
        panels,
        (f"threshold {threshold:g}", less, less),
        (
            f"{tables.NAMES['log_volume']} (nats)",
            "difference of log volumes (nats)",
            "test accuracy (points of %)",
        ),
        strict=True,
    ):
        marks.level_ticks(axes, steps, both[0], crowded=True)
        axes.set_title(title, loc="left")
        axes.set_xlabel(both[0].level_axis)
        axes.set_ylabel(label)
    for axes in panels[:2]:
        style.nats(axes.yaxis)
    (handles, names), (more, others) = (axes.get_legend_handles_labels() for axes in panels[:2])
    figure.legend(handles + more, names + others, loc="outside lower left", ncols=4, columnspacing=1.2)
    efforts = [
        f"{marks.repeats(frame)}, {settings.n_directions:,} directions"
        for frame, settings in zip(frames, both, strict=True)
    ]
    if efforts[0] != efforts[1]:
        efforts = [f"{label.splitlines()[0]}: {effort}" for label, effort in zip(labels, efforts, strict=True)]
    without = []
    if not (paired["n_directions"] == paired["n_directions_reference"]).all():
        without = ["ln E[$r^n$] along other numbers of directions cannot be compared"]
    elif paired["log_volume_difference"].isna().any():
        without = ["× in b: a repeat without two exact volumes"]
    caption = [
        *dict.fromkeys(efforts),
        f"b, c: repeat by repeat, {marks.count_repeats(paired)}, mean ± standard error",
        *without,
        *marks.caveats(pd.concat(frames)),
    ]
    typical = paired["typical_log_volume_difference"].dropna()
    return marks.finish(
        figure, panels, frames[0], both[0], scale, "methods", caption,
        finding=f"{int((typical > 0).sum())} of {len(typical)} minima of {less.split()[0]} reach farther in typical "
        f"directions than those of {less.split()[-1]}",
        warnings=statements.unlike_methods([settings.recipe for settings in both], paired),
    )  # fmt: skip


def _differences(axes: Axes, paired: pd.DataFrame, steps: dict[int, float], rows: tuple[Row, ...]) -> None:
    """Draw method minus reference for each repeat, and the mean with its standard error."""
    axes.axhline(0, color=style.GREY, lw=0.6)
    absent = []
    for column, color, marker, shift, label in rows:
        values = paired.dropna(subset=f"{column}_difference")
        if values.empty:
            continue  # the caption says why
        without = sorted({*paired.loc[paired[f"{column}_difference"].isna(), "level"]})
        absent.append((color, [steps[level] + shift for level in without]))
        groups = values.groupby("level")[f"{column}_difference"]
        at = np.array([steps[level] for level in groups.mean().index]) + shift
        axes.plot(values["level"].map(steps) + shift, values[f"{column}_difference"], ".", color=color, alpha=0.3, ms=3)
        axes.errorbar(at, groups.mean(), groups.sem(), color=color, marker=marker, ls="none", capsize=2, label=label)
    marks.crosses((axes, absent))


if __name__ == "__main__":
    output.main(draw, __doc__)
