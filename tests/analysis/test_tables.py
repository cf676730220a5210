"""Tables as data frames: missing and damaged values are refused or become NaN."""

from typing import Any

import numpy as np
import pytest

from minima_volume.analysis import tables
from minima_volume.drawing import marks
from minima_volume.errors import ResultsError
from tests.figures.made_up_results import LEVELS, ends, nested, row, write

pytestmark = pytest.mark.usefixtures("folders")


def test_missing_and_empty_tables_are_refused() -> None:
    with pytest.raises(ResultsError, match=r"volumes\.csv"):
        tables.volumes("paper", "absent")
    write("hollow", [], cut=[])
    for reader in (tables.volumes, tables.cutoffs):
        with pytest.raises(ResultsError, match=r"Expected rows .* run `make hollow SCALE=paper`"):
            reader("paper", "hollow")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"log_volume": "much"}, "numbers in column log_volume"),
        ({"level": ""}, "a number in every row of column level"),
        ({"threshold": "nan"}, "a number in every row of column threshold"),
        ({"test_accuracy": "nan"}, "a number in every row of column test_accuracy"),
        ({"test_loss": "-inf"}, "a number in every row of column test_loss"),
        ({"status": "fine"}, "a status among ok, unconverged, censored"),
        ({"repeat": 1}, "every row of .* once"),
    ],
)
def test_damaged_tables_are_refused(changed: dict[str, Any], message: str) -> None:
    rows = nested("damaged")
    write("damaged", [{**rows[0], **changed}, *rows[1:]])
    with pytest.raises(ResultsError, match=message):
        tables.volumes("paper", "damaged")


def test_a_partial_line_and_missing_settings_are_refused() -> None:
    folder = write("cut", nested("cut"))
    whole = (folder / "volumes.csv").read_text()
    (folder / "volumes.csv").write_text(whole[: whole.rindex("digits")])
    with pytest.raises(ResultsError, match="Expected"):
        tables.volumes("paper", "cut")
    (folder / "run.json").write_text('{"settings": {"title": "x"}}')
    with pytest.raises(ResultsError, match=r"Expected the settings data, .* in .*run\.json"):
        tables.settings("paper", "cut")


@pytest.mark.parametrize("cell", ["-inf", "nan", "inf", ""])
def test_cells_that_are_not_finite_become_nan(cell: str) -> None:
    rows = nested("odd")
    write("odd", [{**rows[0], "log_volume": cell}, *rows[1:]])
    frame = tables.volumes("paper", "odd")
    assert np.isnan(frame["log_volume"][0]) and np.isfinite(frame["log_volume"][1:]).all()
    survivors = "small open: single repeats where others have no volume"
    assert marks.caveats(frame) == [survivors, "×: 1 row with no number in the table"]


def test_a_volume_of_an_unconverged_minimum_is_always_nan() -> None:
    write("liar", [row("liar", 0, level, 0, 0.1, status="unconverged", log_volume=0.0) for level in LEVELS])
    assert tables.volumes("paper", "liar")["log_volume"].isna().all()


def test_cutoffs_outside_the_data_are_refused() -> None:
    write("far", nested("far"), cut=[{**ends("far")[0], "cutoff": 301}])
    with pytest.raises(ResultsError, match="cutoffs between 1 and 300 samples in far, got 301"):
        tables.cutoffs("paper", "far")
