"""Mistakes with results and installations: what users did, a part of the message, and a trigger that repeats the mistake."""

from pathlib import Path

import pytest

from minima_volume.errors import extra
from tests.user_errors import Mistake


def imported_nothing(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Import a package that is not installed."""
    with extra("plot", "plot()"):
        import no_such_package  # type: ignore[import-not-found]  # noqa: F401


RESULT_MISTAKES: tuple[Mistake, ...] = (
    ("left out an extra", "which is not installed: pip install 'minima_volume[plot]'", imported_nothing),
)
