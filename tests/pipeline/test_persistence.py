"""Stored results are not lost, not made twice, and not mistaken for others: tiny studies in this process."""

import multiprocessing
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from minima_volume.errors import NumericsError, ResultsError
from minima_volume.pipeline import cli, minima, train_models, volume_estimation
from minima_volume.pipeline.repeat import Repeat
from minima_volume.pipeline.study import Study
from minima_volume.storage import archives, atomic, layout, tables
from minima_volume.training.recipe import Recipe
from tests.project import STAGES

Stages = dict[str, Callable[..., None]]
TINY = Study(
    name="tiny", title="Tiny", data="digits", model="digits_mlp", intervention="poison", base=48, levels=(0, 16),
    recipe=Recipe(epochs=30, lr=3e-3), thresholds=(1.0,), n_directions=4,
)  # fmt: skip
SPIRALS = replace(TINY, data="swiss_roll", model="swiss_x5", intervention="data", recipe=Recipe(epochs=100))
# Weight decay of 10 per step multiplies weights by −9: 120 steps of small batches overflow, 5 of the full batch do not.
HALF_DIVERGING = replace(
    TINY, level_means="batch_size", levels=(2, 48), recipe=Recipe(epochs=5, lr=1e3), intervention="data"
)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(layout, "ROOT", tmp_path)
    return tmp_path


def trained(study: Study, numbers: tuple[int, ...] = (0, 1)) -> list[Repeat]:
    repeats = [Repeat(study, number) for number in numbers]
    for group in train_models.training_groups(repeats, "paper"):
        group.run()
    train_models.finish_training(repeats, "paper")
    return repeats


def all_stages(stages: Stages, study: Study, *numbers: str) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        for name in (*STAGES, "gather"):
            script, last = (name, []) if name in STAGES else (STAGES[-1], ["--gather"])
            patch.setattr(sys, "argv", [f"{script}.py", study.name, "--repeats", *numbers, *last])
            cli.main({study.name: study}, stages[script])
    return layout.study_folder("paper", study.name)


def test_a_lost_network_of_a_stack_is_trained_again_bit_by_bit(root: Path) -> None:
    """Trained alone, its sums would be in another order; so the whole stack is trained again."""
    trained(TINY)
    paths = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(root.rglob("*.safetensors"))}
    assert len(paths) == 4
    lost = layout.minimum_path(layout.repeat_folder("paper", "tiny", 1), 16)
    expected = archives.read_tensors(lost)[1]
    lost.unlink()
    trained(TINY)
    found = archives.read_tensors(lost)[1]
    assert all(found[name].equal(tensor) for name, tensor in expected.items()) and set(found) == set(expected)
    assert all((path.read_bytes(), path.stat().st_mtime_ns) == was for path, was in paths.items() if path != lost)


@pytest.mark.parametrize("numbers", [(0,), (2, 1), (4,)])
def test_a_minimum_does_not_depend_on_the_repeats_that_were_asked_for(numbers: tuple[int, ...], root: Path) -> None:
    """Sums of stacked networks depend on the size of the stack in their last bits, which training amplifies."""
    at_once = trained(SPIRALS, (0, 1, 2, 3, 4))
    paths = [
        layout.minimum_path(minima.folder_of(at_once[n], "paper"), level) for n in numbers for level in SPIRALS.levels
    ]
    expected = {path: archives.read_tensors(path)[1] for path in paths}
    shutil.rmtree(root / "paper")
    for number in numbers:
        trained(SPIRALS, (number,))
    # The company of a repeat in its stack is trained, but belongs to a folder that this process has not locked.
    assert set(root.rglob("*.safetensors")) == set(paths)
    for path in paths:
        found = archives.read_tensors(path)[1]
        assert all(found[name].equal(tensor) for name, tensor in expected[path].items())


def test_a_damaged_minimum_is_refused(root: Path) -> None:
    """Stage 2 cannot train it again, and a table without its level would look complete."""
    (repeat,) = trained(TINY, (0,))
    path = layout.minimum_path(minima.folder_of(repeat, "paper"), 16)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(NumericsError, match=r"levels 16, got none: run train_models\.py first"):
        minima.load_minima(repeat, "paper")


def test_one_of_two_minima_diverges(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    folder = all_stages(stages, HALF_DIVERGING, "0")
    said = "Expected a finite training loss in study tiny, level 2, model seed 0, data seed 10, got "
    assert said in capsys.readouterr().err and said in (folder / "failures.txt").read_text()
    rows = tables.read_table(folder / "volumes.csv", layout.VOLUME_COLUMNS)
    assert {row["level"] for row in rows} == {"48"}
    assert any(said in text for text in archives.read_json(folder / "run.json")["failed"])
    corrected = replace(HALF_DIVERGING, recipe=replace(TINY.recipe, epochs=2))
    folder = all_stages(stages, corrected, "0")
    rows = tables.read_table(folder / "volumes.csv", layout.VOLUME_COLUMNS)
    assert {row["level"] for row in rows} == {"2", "48"} and not (folder / "failures.txt").exists()


def test_a_repeat_named_twice_does_not_wait_for_itself(stages: Stages) -> None:
    """A second lock on the same file in one process would wait forever."""
    worker = multiprocessing.get_context("fork").Process(target=all_stages, args=(stages, TINY, "0", "0"))
    worker.start()
    worker.join(timeout=120)
    hanging = worker.is_alive()
    worker.kill()
    assert not hanging and worker.exitcode == 0


def test_scratch_of_a_killed_run_is_removed(root: Path) -> None:
    folder = layout.repeat_folder("paper", "tiny", 0)
    kept = [folder / "minima" / "level_0.safetensors", folder / ".notes.json.swp"]
    scratch = [folder / ".volumes.csv.k1ll3d.part", folder / "rays" / ".directions_00000_00025.npz.k1ll3d.part"]
    for path in (*kept, *scratch):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with atomic.lock_folder(folder):
        assert all(path.exists() for path in kept) and not any(path.exists() for path in scratch)


def one_digit_up(path: Path) -> str:
    """Change the last digit in a table; return the text before."""
    text = path.read_text()
    place = max(i for i, letter in enumerate(text) if letter.isdecimal())
    path.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
    return text


@pytest.mark.parametrize("name", ["volumes.csv", "cutoffs.csv"])
def test_a_changed_digit_in_a_table_is_refused(name: str, stages: Stages) -> None:
    folder = all_stages(stages, TINY, "0")
    again = rf"{name}, got another. Delete .*{name} and run the same make target"
    before = one_digit_up(folder / name)
    with pytest.raises(ResultsError, match=again):
        tables.read_table(folder / name, ())
    (folder / name).write_text(before)
    assert tables.read_table(folder / name, ())
    one_digit_up(folder / "repeat_0" / name)
    with pytest.raises(ResultsError, match=again):
        volume_estimation.gather_tables([Repeat(TINY, 0)], "paper")


def test_the_target_of_make_is_written_last(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a kill make must run the stage again, so nothing may be written after volumes.csv."""
    written: list[str] = []
    plain = atomic.atomic_write
    for module in (archives, atomic):
        monkeypatch.setattr(module, "atomic_write", lambda path: written.append(path.name) or plain(path))
    texts = {root / "cutoffs.csv": "a\n", root / "volumes.csv": "b\n"}
    tables.write_tables(root / "run.json", texts, {})
    assert written == ["cutoffs.csv", "run.json", "volumes.csv"]
