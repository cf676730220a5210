"""Made-up results in the form that the stages write, and helpers that read a drawn figure."""

import csv
import json
import math
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from minima_volume.drawing import style
from minima_volume.estimators.volume import estimate_volume
from minima_volume.storage import archives, layout, tables

N_PARAMS, N_DIRECTIONS, LEVELS, THRESHOLDS, REPEATS = 1000, 40, (0, 30, 280), (0.1, 0.05), 3
SETTINGS = {
    "title": "More data on nothing", "data": "digits", "model": "tiny", "intervention": "data", "base": 20,
    "levels": LEVELS, "level_means": "extra", "landscapes": "nested", "n_directions": N_DIRECTIONS, "model_seed": 0,
    "data_seed": 10, "thresholds": THRESHOLDS, "normalise": True,
    "recipe": {"epochs": 5, "batch_size": None, "sam_rho": None},
}  # fmt: skip
Rows = list[dict[str, Any]]


def row(study: str, repeat: int, level: int, landscape: int, threshold: float, **changed: Any) -> dict[str, Any]:
    """One row of volumes.csv. Its volume falls with level and landscape and rises with the threshold."""
    volume = N_PARAMS * (3 - 0.2 * math.log(20 + level) - 0.05 * math.log(20 + landscape) + threshold) + 7 * repeat
    return {
        "study": study, "data": "digits 8×8", "model": "tiny", "repeat": repeat, "level": level, "landscape": landscape,
        "threshold": threshold, "metric": "loss", "status": "ok", "n_params": N_PARAMS, "n_directions": N_DIRECTIONS,
        "n_crossed": N_DIRECTIONS, "n_recrossed": 0, "log_volume": volume, "log_volume_se": 5.0,
        "typical_log_volume": volume - 200, "typical_log_volume_se": 2.0, "log_volume_grid": volume + 11,
        "grid_directions": N_DIRECTIONS, "loss_at_zero": 0.001, "train_loss": 0.001,
        "test_loss": 1.2 - level / 300 + repeat / 50,
        "test_accuracy": 0.6 + level / 1000 + repeat / 100, "train_accuracy": 1.0, "unseen_accuracy": None, **changed,
    }  # fmt: skip


def nested(study: str) -> Rows:
    return [
        row(study, repeat, level, landscape, threshold)
        for repeat in range(REPEATS)
        for level in LEVELS
        for landscape in LEVELS
        if landscape <= level
        for threshold in THRESHOLDS
    ]


def ends(study: str, base: int = 20) -> Rows:
    """Rows of cutoffs.csv: the largest level never ends, and repeat 2 of level 30 ends inside its own training set."""
    cut = {(2, 30): base + 25}
    return [
        {"study": study, "data": "digits 8×8", "model": "tiny", "repeat": repeat, "level": level, "threshold": threshold,
         "cutoff": None if level == LEVELS[-1] else cut.get((repeat, level), base + level + 2 + 3 * repeat),
         "n_samples": base + LEVELS[-1], "final_mean_loss": 1.0}
        for repeat in range(REPEATS) for level in LEVELS for threshold in THRESHOLDS
    ]  # fmt: skip


def write(study: str, rows: Rows, *, scale: str = "paper", cut: Rows | None = None, **changed: Any) -> Path:
    """Write a results folder. volumes.csv is written cell by cell, so that it may hold damaged values."""
    folder = layout.study_folder(scale, study)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "volumes.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, layout.VOLUME_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    tables.write_table(folder / "cutoffs.csv", layout.CUTOFF_COLUMNS, ends(study) if cut is None else cut)
    record(folder, {**SETTINGS, "name": study, **changed})
    return folder


def record(folder: Path, settings: dict[str, Any]) -> None:
    """Write run.json with the checksums of both tables as they are now."""
    sums = {name: sha256((folder / name).read_bytes()).hexdigest() for name in ("volumes.csv", "cutoffs.csv")}
    (folder / "run.json").write_text(json.dumps({"settings": settings, "tables": sums}))


def stored(study: str) -> Rows:
    """Read a table with the csv module."""
    with (layout.study_folder("paper", study) / "volumes.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def lines(axes: Axes, marker: str) -> list[tuple[list[float], list[float]]]:
    """Data of the non-empty lines with a marker."""
    found = [line for line in axes.lines if line.get_marker() == marker and len(line.get_xdata())]
    return [(list(map(float, line.get_xdata())), list(map(float, line.get_ydata()))) for line in found]


def caption(figure: Figure) -> str:
    """Return the sentences below a figure, with their non-breaking blanks as blanks."""
    return " ".join(text.get_text() for text in figure.texts).replace("\N{NO-BREAK SPACE}", " ")


def assert_readable(figure: Figure) -> None:
    """Assert that no two texts overlap, that all are inside the page, and that no panel is empty."""
    style.lay_out(figure)
    drawn: list[Text] = []
    with pytest.MonkeyPatch.context() as patch:
        # What is drawn, for an axis keeps the labels of ticks beyond its ends.
        patch.setattr(Text, "draw", lambda text, *_: drawn.append(text))
        figure.draw_without_rendering()
    shown = [text for text in set(drawn) if text.get_visible() and text.get_text().strip()]
    # Boxes of slanted texts overlap without harm.
    boxes = [(text, text.get_window_extent()) for text in shown if text.get_rotation() in (0, 90)]
    for text, box in boxes:
        assert figure.bbox.contains(box.x0, box.y0) and figure.bbox.contains(box.x1, box.y1), text
    for (first, a), (second, b) in combinations(boxes, 2):
        shared = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(shared) < 1, f"{first.get_text()!r} overlaps {second.get_text()!r}"
    assert all(axes.lines or axes.patches or axes.images or axes.texts or axes.collections for axes in figure.axes)


def sam_rows() -> Rows:
    return [{**r, "log_volume": r["log_volume"] + 100 + r["repeat"]} for r in nested("mnist_sam")]


def with_rays(study: str, coefficients: dict[int, np.ndarray], **changed: Any) -> None:
    """Ray blocks of one repeat and the table that belongs to them; coefficients are (directions, thresholds)."""
    norms = np.linspace(30.0, 33.0, N_DIRECTIONS)
    rows = []
    for level, c in coefficients.items():
        for column, threshold in enumerate(THRESHOLDS):
            found = estimate_volume(c[:, column], norms, N_PARAMS, recrossed=np.zeros(N_DIRECTIONS, dtype=bool))
            rows.append(row(study, 0, level, 0, threshold, **vars(found)))
    write(study, rows, levels=list(coefficients), landscapes="base", **changed)
    for start, stop in ((0, 25), (25, N_DIRECTIONS)):
        arrays = {f"level_{level}.coefficients": c[start:stop] for level, c in coefficients.items()}
        path = layout.block_path(layout.repeat_folder("paper", study, 0), start, stop)
        archives.write_arrays(path, {}, {**arrays, "norms": norms[start:stop]})


def some_rays() -> dict[int, np.ndarray]:
    """Level 0 has three rays that never cross at the first threshold; level 30 is above the second."""
    rng = np.random.default_rng(1)
    first, second, third = (np.sort(scale * rng.uniform(0.5, 1, (N_DIRECTIONS, 2))) for scale in (0.4, 0.2, 0.1))
    first[:3, 0] = np.nan
    second[:, 1] = 0
    return {0: first, 30: second, 280: third}
