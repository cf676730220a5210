"""First crossings of networks on which nothing was tuned: none is missed, or the verdict says that some may be."""

from collections.abc import Callable

import pytest

from tests.measure.zoo.audit import HELD_OUT, Built, audit

RAYS = 200


@pytest.mark.slow
@pytest.mark.parametrize(("name", "build", "rise"), HELD_OUT, ids=[name for name, _, _ in HELD_OUT])
def test_missed_crossings_are_said(name: str, build: Callable[[], Built], rise: float) -> None:
    found, missed = audit(build, rise, RAYS)
    assert not missed or "may be too high" in found.verdict.sentence
