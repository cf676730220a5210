"""Stages run again: the same numbers however the work is split, and only what a change or damage affects is redone."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from minima_volume.crossings.sweep import Crossings
from minima_volume.networks.minimum import Minimum
from minima_volume.pipeline import random_perturbs
from minima_volume.pipeline.minima import training_fingerprint
from minima_volume.pipeline.repeat import Repeat
from minima_volume.storage import archives
from tests.study_runs import TINY, Stages, rows, run


def changes(folder: Path) -> dict[str, int]:
    """Return the file time of each minimum and each block of rays."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".safetensors", ".npz")
    }


def test_any_number_of_workers(stages: Stages, finished: Path, tmp_path: Path) -> None:
    other = run(stages, tmp_path, THREADS="2", MEMORY="32")
    for name in ("volumes.csv", "cutoffs.csv"):
        assert (other / name).read_bytes() == (finished / name).read_bytes()


def test_repeats_one_after_the_other(stages: Stages, finished: Path, tmp_path: Path) -> None:
    run(stages, tmp_path, repeats=(1,))
    alike(run(stages, tmp_path, repeats=(0,)), finished)


def alike(folder: Path, finished: Path) -> None:
    """Check tables of minima that were trained in different stacks, with float32 sums in another order.

    Weights and radii differ by some 10⁻⁷, and log volumes by n = 6570 times as much.
    """
    assert len(rows(folder)) == len(rows(finished))
    for row, wanted in zip(rows(folder), rows(finished), strict=True):
        assert row["status"] == wanted["status"] and row["n_crossed"] == wanted["n_crossed"]
        if row["log_volume"]:
            for name in ("log_volume", "typical_log_volume"):
                assert float(row[name]) == pytest.approx(float(wanted[name]), abs=0.02)


def test_second_run_computes_nothing(stages: Stages, copied: Path, finished: Path) -> None:
    before = changes(copied / "paper" / "tiny")
    folder = run(stages, copied)
    assert changes(folder) == before and len(before) == 2 * (2 + 2)
    assert (folder / "volumes.csv").read_bytes() == (finished / "volumes.csv").read_bytes()


@pytest.mark.parametrize("how", ["cut short", "bit flipped", "gone"])
def test_a_damaged_block_is_measured_again(how: str, stages: Stages, copied: Path, finished: Path) -> None:
    folder = copied / "paper" / "tiny"
    block = folder / "repeat_1" / "rays" / "directions_00000_00025.npz"
    content = bytearray(block.read_bytes())
    content[len(content) // 2] ^= 0x10
    block.write_bytes(content[:-100] if how == "cut short" else content)
    if how == "gone":
        block.unlink()
    before = changes(folder)
    after = changes(run(stages, copied))
    assert {name for name in after if after[name] != before.get(name)} == {str(block.relative_to(folder))}
    assert (folder / "volumes.csv").read_bytes() == (finished / "volumes.csv").read_bytes()


def test_a_damaged_minimum_is_trained_again(stages: Stages, copied: Path, finished: Path) -> None:
    folder = copied / "paper" / "tiny"
    path = folder / "repeat_0" / "minima" / "level_16.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    before = changes(folder)
    after = changes(run(stages, copied))
    assert {name for name in after if after[name] != before[name]} == {"repeat_0/minima/level_16.safetensors"}
    alike(folder, finished)


class Recorder:
    """A wrapper of `sweep_crossings` that counts the minima that each call measures."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.counts: list[int] = []
        self.sweep = random_perturbs.sweep_crossings
        patch.setattr(random_perturbs, "sweep_crossings", self)

    def __call__(self, model: nn.Module, minima: Sequence[Minimum], *rest: Any, **options: Any) -> list[Crossings]:
        self.counts.append(len(minima))
        return self.sweep(model, minima, *rest, **options)


def written(before: dict[str, int], after: dict[str, int]) -> set[str]:
    """Return the files that are new or were written again."""
    return {name for name in after if after[name] != before.get(name)}


def test_a_new_level(stages: Stages, copied: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, recorder = changes(finished), Recorder(monkeypatch)
    folder = run(stages, copied, replace(TINY, levels=(0, 24)), repeats=(0,))
    assert {name for name in written(before, changes(folder)) if "minima" in name} == {
        "repeat_0/minima/level_24.safetensors"
    }
    assert recorder.counts == [1, 1]  # two blocks, each for the new minimum only
    old = [row for row in rows(finished) if row["repeat"] == "0" and row["level"] == "0"]
    assert [row for row in rows(folder) if row["level"] == "0"] == old
    assert {row["level"] for row in rows(folder)} == {"0", "24"}


def test_more_directions(stages: Stages, copied: Path, finished: Path) -> None:
    before = changes(finished)
    folder = run(stages, copied, replace(TINY, n_directions=35), repeats=(0,))
    assert written(before, changes(folder)) == {"repeat_0/rays/directions_00025_00035.npz"}
    assert {row["n_directions"] for row in rows(folder)} == {"35"}


def test_directions_from_the_environment(stages: Stages, copied: Path) -> None:
    folder = run(stages, copied, repeats=(0,), DIRECTIONS="10")
    assert {row["n_directions"] for row in rows(folder)} == {"10"}


def test_first_levels_from_the_environment(stages: Stages, copied: Path, finished: Path) -> None:
    before = changes(finished)
    folder = run(stages, copied, repeats=(0,), LEVELS="1")
    assert written(before, changes(folder)) == set()
    assert rows(folder) == [row for row in rows(finished) if row["repeat"] == "0" and row["level"] == "0"]
    assert (
        archives.read_json(folder / "run.json")["command"] == "make tiny SCALE=paper REPEATS=1 DIRECTIONS=30 LEVELS=1"
    )
    assert "LEVELS" not in archives.read_json(finished / "run.json")["command"]


@pytest.mark.parametrize(("intervention", "depends"), [("poison", False), ("imbalanced_extra", True)])
def test_levels_that_depend_on_the_highest_are_trained_again(intervention: str, depends: bool) -> None:
    few, more = (
        Repeat(replace(TINY, intervention=intervention, levels=levels), 0) for levels in ((0, 16), (0, 16, 24))
    )
    assert (training_fingerprint(few, 16) != training_fingerprint(more, 16)) == depends


def test_another_recipe(stages: Stages, copied: Path, finished: Path) -> None:
    before = changes(finished)
    folder = run(stages, copied, replace(TINY, recipe=replace(TINY.recipe, epochs=81)), repeats=(0,))
    assert written(before, changes(folder)) == {name for name in before if name.startswith("repeat_0")}
    assert {row["repeat"] for row in rows(folder)} == {"0"}  # repeat 1 still has the old recipe and is left out


@pytest.mark.parametrize(
    "change", [{"thresholds": (0.7, 0.1, 300.0, 1e-7)}, {"direction_seed": 5}, {"normalise": False}], ids=str
)
def test_another_measurement_of_the_same_minima(
    change: dict[str, object], stages: Stages, copied: Path, finished: Path
) -> None:
    before = changes(finished)
    folder = run(stages, copied, replace(TINY, **change), repeats=(0,))
    assert written(before, changes(folder)) == {name for name in before if name.startswith("repeat_0/rays")}
    # Repeat 1 has other settings, and a table that mixed the two would not show it.
    assert {row["repeat"] for row in rows(folder)} == {"0"}


def slow_blocks(repeat: Path) -> None:
    """Change the header of every block of a repeat to say that it took 1,000 seconds."""
    for path in (repeat / "rays").glob("*.npz"):
        header, arrays = archives.read_arrays(path)
        archives.write_arrays(path, header | {"seconds": 1000.0}, arrays)


@pytest.mark.parametrize(
    ("change", "least", "most"),
    [({"direction_seed": 5}, 0, 1000), ({"levels": (0, 16, 24)}, 2000, 3000)],
    ids=["measured again", "one more level"],
)
def test_seconds_include_blocks_that_are_kept(
    change: dict[str, object], least: int, most: int, stages: Stages, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow_blocks(copied / "paper" / "tiny" / "repeat_0")
    folder = run(stages, copied, replace(TINY, **change), repeats=(0,))
    assert least <= archives.read_json(folder / "repeat_0" / "rays.json")["seconds"] < most
    assert capsys.readouterr().out.count("2 of 2 blocks in ") == 1  # one sentence, not one per block


def test_seconds_count_work_only(stages: Stages, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = random_perturbs.sweep_crossings

    def interrupted(*arguments: Any, **options: Any) -> list[Crossings]:
        time.sleep(1)  # as if the machine did something else
        return sweep(*arguments, **options)

    monkeypatch.setattr(random_perturbs, "sweep_crossings", interrupted)
    folder = run(stages, copied, replace(TINY, direction_seed=5), repeats=(0,))
    assert 0 < archives.read_json(folder / "repeat_0" / "rays.json")["seconds"] < 1


def test_records_of_another_version_are_left_out(stages: Stages, copied: Path) -> None:
    folder = copied / "paper" / "tiny"
    # A record of an older version, which lacks keys, must not make repeat 0 fail.
    archives.write_json(folder / "repeat_1" / "rays.json", {"n_directions": 30, "seconds": 1.0})
    assert {row["repeat"] for row in rows(run(stages, copied, repeats=(0,)))} == {"0"}
