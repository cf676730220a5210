"""Other people's models: every case is measured right, or refused in a sentence that says what to do."""

import math
import re

import pytest

from tests.measure.zoo import Case
from tests.measure.zoo.cases import ZOO
from tests.measure.zoo.outcome import outcome

# The promise for n·ln r, in nats.
PROMISE = 0.01


@pytest.mark.parametrize("case", ZOO.cases, ids=lambda case: f"{case.kind}: {case.name}")
def test_a_case_is_measured_right_or_refused(case: Case) -> None:
    found = outcome(case)
    assert not found.crash and not found.changed
    if case.refusal:
        assert re.search(case.refusal, found.sentence, re.DOTALL), found.sentence
    else:
        assert not found.sentence
        assert not math.isnan(found.error) and (found.error <= PROMISE or (case.doubted and found.doubt))
        # Rays that all reach the cap would agree for any two models.
        assert found.crossed
        assert case.note in found.notes
