"""Mistakes with results and installations: what users did, a part of the message, and a trigger that repeats the mistake."""

from pathlib import Path

import pytest

from minima_volume.errors import extra
from minima_volume.measurement import Measurement
from tests.project import ROOT
from tests.user_errors import Mistake, written

STORED = ROOT / "tests" / "stored" / "measurement.json"


def imported_nothing(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Import a package that is not installed."""
    with extra("plot", "plot()"):
        import no_such_package  # type: ignore[import-not-found]  # noqa: F401


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
    ("left out an extra", "which is not installed: pip install 'minima_volume[plot]'", imported_nothing),
)
