"""Which minimum is the largest, and which is overtaken while it fits, on made-up tables whose answer is known."""

from itertools import product

import pandas as pd
import pytest

from minima_volume.analysis import overtaking


def frame(values: dict[tuple[int, int], float], repeats: int = 3, error: float = 1.0) -> pd.DataFrame:
    """Rows of values by (level, landscape), the same in every repeat except for its number of nats."""
    rows = [
        (repeat, level, landscape, value + 0.1 * repeat, error)
        for repeat, ((level, landscape), value) in product(range(repeats), values.items())
    ]
    return pd.DataFrame(rows, columns=["repeat", "level", "landscape", "value", "error"])


# The minimum of no extra samples shrinks beyond its own landscape, and fits no more at 100; that of 100 hardly changes.
CROSSING = {
    (0, 0): 90.0,
    (100, 0): 60.0,
    (0, 10): 70.0,
    (100, 10): 58.0,
    (0, 50): 20.0,
    (100, 50): 55.0,
    (100, 100): 50.0,
}


def test_the_next_minimum_is_ahead_where_the_first_last_fits() -> None:
    ((level, own, last),) = overtaking.overtaken(frame(CROSSING))
    assert level == 0
    assert own["margin"].tolist() == pytest.approx([-30.0] * 3) and last["margin"].tolist() == pytest.approx([35.0] * 3)
    assert own["error"].tolist() == pytest.approx([2**0.5] * 3)


def test_a_minimum_without_a_landscape_beyond_its_own_is_left_out() -> None:
    own_only = {key: value for key, value in CROSSING.items() if key not in ((0, 10), (0, 50))}
    assert list(overtaking.overtaken(frame(own_only))) == []


def test_the_leader_changes_and_the_last_one_is_alone() -> None:
    found = overtaking.leaders(frame(CROSSING))
    assert {landscape: (each.level, each.confidence) for landscape, each in found.items()} == {
        0: (0, "told"), 10: (0, "told"), 50: (100, "told"), 100: (100, "alone"),
    }  # fmt: skip
    assert found[10].margin == pytest.approx(12.0)


def test_a_lead_within_the_errors_is_agreed_and_no_more() -> None:
    # t = 4.3 for three repeats, and the error of a difference is √2·10.
    assert overtaking.leaders(frame(CROSSING, error=10.0))[10].confidence == "agreed"


def test_repeats_that_differ_have_no_leader() -> None:
    rows = frame({(0, 0): 50.0, (100, 0): 60.0})
    rows.loc[(rows["repeat"] == 0) & (rows["level"] == 0), "value"] = 90.0
    assert overtaking.leaders(rows)[0][:2] == (-1, "differ")
