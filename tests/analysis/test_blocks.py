"""The generated blocks of README.md and docs/: in step with the committed results, and refused without their markers."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from minima_volume.analysis import blocks, markdown, orders
from minima_volume.errors import ResultsError
from minima_volume.storage import layout
from tests.project import ROOT


@pytest.fixture(scope="module")
def inputs() -> blocks.Inputs:
    return blocks.Inputs(ROOT)


@pytest.fixture(autouse=True)
def _committed_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "ROOT", ROOT / "results")
    monkeypatch.setattr(blocks, "ROOT", ROOT)


@pytest.mark.parametrize("page", blocks.PAGES)
def test_blocks_are_in_step_with_the_results(page: str, inputs: blocks.Inputs) -> None:
    text = (ROOT / page).read_text()
    assert blocks.render(page, text, inputs) == text, "run `make readme`"


def test_every_block_has_one_page_and_every_marker_a_block() -> None:
    assert sorted(name for names in blocks.PAGES.values() for name in names) == sorted(blocks.BLOCKS)
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        if str(path.relative_to(ROOT)) not in blocks.PAGES:
            assert "written by `make readme`" not in path.read_text()


def test_markers_must_be_there_once(inputs: blocks.Inputs) -> None:
    page, text = "README.md", (ROOT / "README.md").read_text()
    begin, end = "<!-- headline: written by `make readme` -->", "<!-- end of headline -->"
    for broken in (text.replace(begin, ""), text + begin, text.replace(begin, begin.replace("headline", "news"))):
        with pytest.raises(ResultsError, match=r"Expected the blocks headline, verdicts once each in README\.md, got"):
            blocks.render(page, broken, inputs)
    for broken in (text.replace(end, ""), text + end, end + text.replace(end, "")):
        with pytest.raises(ResultsError, match=r"Expected the line .*end of headline.* once in README\.md"):
            blocks.render(page, broken, inputs)
    # Whatever stands between the markers is replaced; the rest is kept.
    garbled = text[: text.index(begin) + len(begin)] + "old" + text[text.index(end) :]
    assert blocks.render(page, garbled, inputs) == text


def test_blocks_without_results_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "ROOT", tmp_path)
    for name, block in blocks.BLOCKS.items():
        text = block(blocks.Inputs(ROOT))
        expected = {"studies": "not run yet", "rules": "max-dominated never counts"}.get(name)
        assert expected in text if expected else text == markdown.MISSING


def test_studies_show_the_cost_of_their_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "ROOT", tmp_path / "results")
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "studies.mk").write_text(
        "made_STUDIES := one two\nabout.one := asks this\nabout.two := asks that\n"
    )
    record = {
        "seeds": {"0": {}, "1": {}},
        "task_seconds": {"training": 100.0, "rays": 500.0},
        "device": "cpu: Zeus 9, 2 cores",
        "settings": {"n_directions": 70},
    }
    (tmp_path / "results" / "paper" / "two").mkdir(parents=True)
    (tmp_path / "results" / "paper" / "two" / "run.json").write_text(json.dumps(record))
    header, _, one, two = blocks.studies(blocks.Inputs(tmp_path)).splitlines()
    assert header.startswith("| folder | target |")
    assert one == "| `made/` | `make one` | asks this | not run yet |"
    assert (
        two == "| `made/` | `make two` | asks that | 2 repeats of 70 directions, 5.0 min each on one core of Zeus 9 |"
    )
    record |= {"seeds": {"0": {}}, "device": "GPU 7"}
    assert blocks.cost(record) == "1 repeat of 70 directions, 10 min each on GPU 7"
    part = record | {"settings": {"n_directions": 70, "levels": [0, 9, 99], "later_levels": [999]}}
    assert blocks.cost(part) == "1 repeat of 70 directions, first 3 of 4 levels, 10 min each on GPU 7"


def volumes(values: list[list[float]]) -> pd.DataFrame:
    """Typical volumes of repeats (rows) at levels 0, 10, 20, … with errors of 1."""
    return pd.DataFrame([
        {"repeat": repeat, "level": 10 * i, "typical_log_volume": value, "typical_log_volume_se": 1.0}
        for repeat, row in enumerate(values) for i, value in enumerate(row)
    ])  # fmt: skip


def test_strict_falls_by_hand() -> None:
    ties = volumes([[5, 4, 3], [5, 5, 3], [5, 4, np.nan], [5, np.nan, 5], [5, np.nan, np.nan]])
    # A tie is no fall, a level without a volume is skipped, and a single volume shows no direction.
    assert orders.strict_falls(ties, "typical_log_volume") == (2, 5)


def test_certain_rises_by_hand() -> None:
    # Two errors of a difference are 2√2 = 2.83.
    rising = volumes([[0, 3, 5, 8], [0, 3, 9, 9]])
    assert orders.certain_rises(rising) == [(0, 10)]
    assert orders.certain_rises(volumes([[0, np.nan, 3]])) == [(0, 20)]


def test_grid_steps_by_hand() -> None:
    # All radii at point k = 32 of the grid: ln V = n ln((32/99)² √n), and the next point is 2n/32 = 100 nats away.
    n = 1600
    at_32 = n * np.log((32 / 99) ** 2 * n**0.5)
    frame = pd.DataFrame({
        "landscape": 0, "metric": "loss", "threshold": 0.1, "repeat": [0, 0, 0, 1], "level": [20, 0, 10, 0],
        "n_params": n, "log_volume": [450.0, 0.0, -50.0, 7.0], "log_volume_grid": at_32,
    })  # fmt: skip
    np.testing.assert_allclose(blocks.grid_steps(frame), [2, 0.2], rtol=1e-9)  # a logarithm and an exponential of 1600


def test_numbers_in_tables() -> None:
    assert markdown.with_error(-0.1326, 0.0034) == "−0.1326\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}0.0034"
    assert markdown.with_error(1.0, 0.0) == "+1.00\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}0.00"
    assert markdown.thousands(-1_098_400) == "−1,098k" and markdown.thousands(658_449, 1) == "658.4k"
    assert (markdown.ratio(301.2), markdown.ratio(float("nan")), markdown.signed(float("nan"))) == ("300", "—", "—")
    assert [markdown.duration(s) for s in (20, 100, 400, 7000)] == ["20 s", "1.7 min", "6.7 min", "1.9 h"]
