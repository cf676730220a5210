"""Paths under results/ and their parsers: each parser is the inverse of its path and refuses every other name."""

from pathlib import Path

import pytest

from minima_volume.storage import layout
from tests.project import ROOT


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of one repeat."""
    monkeypatch.setattr(layout, "ROOT", tmp_path)
    folder = layout.repeat_folder("quick", "digits_poison", 3)
    assert folder == tmp_path / "quick" / "digits_poison" / "repeat_3"
    return folder


@pytest.mark.parametrize("number", [0, 7, 10, 123_456])
def test_parsers_invert_paths(number: int, folder: Path) -> None:
    assert layout.repeat_of(layout.repeat_folder("paper", "study", number)) == number
    for make in (layout.minimum_path, layout.checkpoint_path, layout.failure_path, layout.gold_path):
        assert layout.level_of(make(folder, number)) == number
    assert layout.directions_of(layout.block_path(folder, number, number + 25)) == (number, number + 25)


@pytest.mark.parametrize(
    "name", ["", "repeat_", "repeat_-1", "repeat_1.5", "repeat_01", "repeat_٣", "repeat_1_old", "x"]
)
def test_other_folders_are_not_repeats(name: str) -> None:
    assert layout.repeat_of(Path("study") / name) is None


@pytest.mark.parametrize("name", ["level_1", "level_1.npz", "level_-1.json", ".level_1.json.x.part", "level_1.jsonx"])
def test_other_files_have_no_level(name: str) -> None:
    assert layout.level_of(Path(name)) is None


@pytest.mark.parametrize(
    "name",
    [
        "directions_0_25.npz",
        "directions_00000_00025.npz.part",
        "directions_00000.npz",
        "directions_foo_bar.npz",
        "directions_00025_00025.npz",
        "directions_00050_00025.npz",
        "x",
    ],
)
def test_other_files_are_not_blocks(name: str) -> None:
    assert layout.directions_of(Path(name)) is None


def test_gold_files_comparisons_and_arrays_keep_their_places(folder: Path) -> None:
    assert layout.gold_path(folder, 20) == folder / "gold" / "level_20.json"
    names = ("comparison.csv", "comparison_trends.csv")
    assert layout.comparison_paths("quick") == tuple(folder.parent.parent / name for name in names)
    assert layout.crossings_key(20, "coefficients") == "level_20.coefficients"


def test_repeats_and_blocks_are_found_by_name(folder: Path) -> None:
    assert layout.repeats_with("quick", "digits_poison", layout.RAYS_RECORD) == [] == list(layout.blocks_in(folder))
    for number in (10, 9):
        other = layout.repeat_folder("quick", "digits_poison", number)
        other.mkdir(parents=True)
        (other / layout.RAYS_RECORD).touch()
    (other.parent / "repeat_old").mkdir()
    (other.parent / "repeat_old" / layout.RAYS_RECORD).touch()
    assert layout.repeats_with("quick", "digits_poison", layout.RAYS_RECORD) == [9, 10]
    assert layout.repeats_with("quick", "digits_poison", layout.VOLUMES) == []
    path = layout.block_path(folder, 25, 50)
    path.parent.mkdir(parents=True)
    path.touch()
    path.with_name("directions_old.npz").touch()
    assert layout.blocks_in(folder) == {(25, 50): path}


def test_studies_are_found_by_their_table(folder: Path) -> None:
    assert layout.studies_with_volumes("quick") == []
    folder.mkdir(parents=True)
    (folder / layout.VOLUMES).touch()
    assert layout.studies_with_volumes("quick") == []
    (folder.parent / layout.VOLUMES).touch()
    assert layout.studies_with_volumes("quick") == ["digits_poison"]


def test_columns_are_those_of_committed_tables() -> None:
    paper = ROOT / "results" / "paper"
    for name, columns in (
        (layout.VOLUMES, layout.VOLUME_COLUMNS),
        (layout.CUTOFFS, layout.CUTOFF_COLUMNS),
        (layout.SLICES, layout.SLICE_COLUMNS),
        (layout.ORDERINGS, layout.ORDERING_COLUMNS),
        (layout.CONFIDENCES, layout.CONFIDENCE_COLUMNS),
        (layout.COMPARISON, layout.COMPARISON_COLUMNS),
        (layout.COMPARISON_TRENDS, layout.COMPARISON_TREND_COLUMNS),
    ):
        tables = [*paper.glob(name), *paper.glob(f"*/{name}")]
        assert tables and all(path.read_text().splitlines()[0] == ",".join(columns) for path in tables)


def test_paths_are_shown_relative_to_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert layout.display_path(tmp_path / "a" / "b") == Path("a/b")
    assert layout.display_path(Path("/elsewhere/b")) == Path("/elsewhere/b")


def test_a_place_names_a_file_wherever_the_results_are(folder: Path) -> None:
    path = layout.block_path(folder, 25, 50)
    place = layout.place_of(path)
    assert place == "quick/digits_poison/repeat_3/rays/directions_00025_00050.npz"
    assert layout.is_at(path, place) and layout.is_at(Path("/moved") / place, place)
    others = [
        layout.block_path(folder, 0, 25), layout.block_path(folder.with_name("repeat_2"), 25, 50),
        layout.block_path(folder.parents[1] / "digits_data" / "repeat_3", 25, 50), Path("/directions_00025_00050.npz"),
    ]  # fmt: skip
    assert not any(layout.is_at(other, place) for other in others)
    assert layout.place_of(Path("/elsewhere/plane.npz")) == "plane.npz"


def test_headers_of_older_runs_name_study_repeat_and_level(folder: Path) -> None:
    path = layout.minimum_path(folder, 20)
    owner = {"study": "digits_poison", "repeat": 3, "level": 20}
    assert layout.is_of(path, owner) and layout.is_of(path, {}) and layout.is_of(Path("level_20.safetensors"), owner)
    for name, other in (("study", "digits_data"), ("repeat", 2), ("level", 0)):
        assert not layout.is_of(path, owner | {name: other})
