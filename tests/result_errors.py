"""Mistakes with results and installations: what users did, a part of the message, and a trigger that repeats the mistake."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minima_volume.errors import extra
from minima_volume.estimators import comparison
from minima_volume.measurement import Measurement
from minima_volume.threshold_curve import ThresholdCurve
from tests.project import ROOT
from tests.user_errors import Mistake, Trigger, written

STORED = ROOT / "tests" / "stored" / "measurement.json"


def imported_nothing(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Import a package that is not installed."""
    with extra("plot", "plot()"):
        import no_such_package  # type: ignore[import-not-found]  # noqa: F401


def changed(call: Callable[..., object], *changes: dict[str, Any], **options: Any) -> Trigger:
    """Pass copies of a stored measurement with these changes as a list."""

    def trigger(folder: Path, patch: pytest.MonkeyPatch) -> object:
        return call([replace(Measurement.load(STORED), **each) for each in changes], **options)

    return trigger


def compared(found: list[Measurement], **options: Any) -> object:
    """Compare two measurements."""
    return comparison.compare(*found, **options)


RESULT_MISTAKES: tuple[Mistake, ...] = (
    (
        "saved as another kind of file",
        "a path that ends in .json",
        lambda folder, _: Measurement.load(STORED).save(folder / "volume.npz"),
    ),
    ("loaded a folder", "got a folder: name the file in it", lambda folder, _: Measurement.load(folder)),
    (
        "loaded a newer file",
        "got version 2: update minima_volume",
        written("a.json", b'{"kind": "minima_volume.measurement/2"}', Measurement.load),
    ),
    (
        "loaded a file without a seed",
        "got a damaged one (seed is None). Measure and save again",
        written("a.json", STORED.read_bytes().replace(b'"seed": 3', b'"seed": null'), Measurement.load),
    ),
    (
        "compared measurements of other directions",
        "along the same directions, got seed 3, 4: measure all with the same seed",
        changed(compared, {}, {"seed": 4}),
    ),
    (
        "compared ln γ of preconditioned rays",
        "without a preconditioner for the statistic 'gamma'",
        changed(compared, {"log_determinant": 2.0}, {"log_determinant": 2.0}, statistic="gamma", sigma=0.1),
    ),
    (
        "compared a measurement with a number",
        "Expected two measurements, or log radii and their dimension, got Measurement",
        lambda *_: comparison.compare(Measurement.load(STORED), 7),
    ),
    ("ranked radii without their dimension", "got radii alone: pass n_params", lambda *_: comparison.rank(np.eye(2))),
    ("ranked one measurement", "at least two measurements, got 1", changed(comparison.rank, {})),
    ("made a curve of nothing", "at least one measurement, got none", changed(ThresholdCurve)),
    (
        "made a curve of two data sets",
        "of one minimum, got n_samples 16, 5",
        changed(ThresholdCurve, {}, {"n_samples": 5}),
    ),
    ("made a curve with a threshold twice", "different thresholds, got [0.02, 0.02]", changed(ThresholdCurve, {}, {})),
    (
        "loaded a curve of nothing",
        "Measure and save again",
        written("a.json", b'{"kind": "minima_volume.threshold_curve/1", "measurements": []}', ThresholdCurve.load),
    ),
    ("left out an extra", "which is not installed: pip install 'minima_volume[plot]'", imported_nothing),
)
