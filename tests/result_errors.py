"""Mistakes with results and installations: what users did, a part of the message, and a trigger that repeats the mistake."""

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minima_volume.errors import extra
from minima_volume.estimators import comparison
from minima_volume.measurement import Measurement
from minima_volume.storage import archives, atomic, layout, tables
from minima_volume.threshold_curve import ThresholdCurve
from tests.project import ROOT
from tests.user_errors import Mistake, Trigger, written

STORED = ROOT / "tests" / "stored" / "measurement.json"


def imported_nothing(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Import a package that is not installed."""
    with extra("plot", "plot()"):
        import no_such_package  # noqa: F401


def changed(call: Callable[..., object], *changes: dict[str, Any], **options: Any) -> Trigger:
    """Pass copies of a stored measurement with these changes as a list."""

    def trigger(folder: Path, patch: pytest.MonkeyPatch) -> object:
        return call([replace(Measurement.load(STORED), **each) for each in changes], **options)

    return trigger


def compared(found: list[Measurement], **options: Any) -> object:
    """Compare two measurements."""
    return comparison.compare(*found, **options)


def piped(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Put a pipe where a table belongs; opening it would wait for ever."""
    os.mkfifo(folder / "volumes.csv")
    tables.read_table(folder / "volumes.csv", ["study"])


def expanded(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Read an archive of a thousand bytes that expands to a million."""
    np.savez_compressed(folder / "a.npz", x=np.zeros(2**17))
    patch.setattr(archives, "MOST", 2**19)
    archives.read_arrays(folder / "a.npz")


def copied_over(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Copy a block of rays over its neighbour."""
    archives.write_arrays(folder / "directions_00000_00025.npz", {}, {"norms": np.ones(25)})
    shutil.copy(folder / "directions_00000_00025.npz", folder / "directions_00025_00050.npz")
    archives.read_arrays(folder / "directions_00025_00050.npz")


def table_of_another_repeat(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Keep the table of another repeat with a record of an older run, which does not name its place."""
    path = folder / "tiny" / "repeat_0" / "volumes.csv"
    tables.write_recorded_table(path, ["study", "repeat"], [{"study": "tiny", "repeat": 1}])
    tables.read_table(path, ["repeat"])


def table_without_a_record(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Delete the record beside a table."""
    tables.write_table(folder / "volumes.csv", ["study"], [{"study": "tiny"}])
    tables.read_table(folder / "volumes.csv", ["study"])


def locked_by(number: int) -> Trigger:
    """Lock a folder whose file system answers with an error."""

    def trigger(folder: Path, patch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        patch.setattr("fcntl.flock", refuse)
        with atomic.lock_folder(folder):
            pass

    return trigger


def linked_lock(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Let the lock of a folder be a link to another file."""
    (folder / ".lock").symlink_to(folder / "precious")
    with atomic.lock_folder(folder):
        pass


def copied_blocks(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Draw radii from blocks of an older run, one of them a copy of the other."""
    from minima_volume.analysis import radii
    from minima_volume.analysis import tables as frames
    from tests.figures.made_up_results import some_rays, with_rays

    patch.setattr(layout, "ROOT", folder)
    with_rays("tiny", some_rays())
    blocks = layout.blocks_in(layout.repeat_folder("paper", "tiny", 0))
    _, arrays = archives.read_arrays(blocks[0, 25])
    archives.write_arrays(blocks[25, 40], {}, {name: array[:15] for name, array in arrays.items()})
    radii.radii("paper", "tiny", 0, frames.volumes("paper", "tiny"))


def record_of_another_study(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Copy the record of one study beside the tables of another."""
    from minima_volume.analysis import tables as frames

    patch.setattr(layout, "ROOT", folder)
    archives.write_json(layout.study_folder("paper", "tiny") / "run.json", {"settings": {"name": "large"}})
    frames.settings("paper", "tiny")


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
    ("put a pipe where a table belongs", "a regular file of at most", piped),
    ("kept an archive that expands to more than there can be", "Expected arrays of at most", expanded),
    ("copied a block over its neighbour", "got that of directions_00000_00025.npz: it was copied", copied_over),
    ("copied a table over that of another repeat", "Expected rows of the study and repeat of", table_of_another_repeat),
    ("deleted the record beside a table", "Expected a record that lists", table_without_a_record),
    ("worked on a file system without locks", "No locks available", locked_by(errno.ENOLCK)),
    ("worked on a file system that has no flock", "a file system with locks under", locked_by(errno.ENOSYS)),
    ("let a lock be a link", "got a symbolic link: delete the link", linked_lock),
    (
        "drew blocks of which one is a copy",
        "Expected different directions in all rays of tiny, got copies",
        copied_blocks,
    ),
    ("copied the record of another study", "Expected the record of tiny in", record_of_another_study),
    ("left out an extra", "which is not installed: pip install 'minima_volume[plot]'", imported_nothing),
)
