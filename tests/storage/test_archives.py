"""Archives and tables: round trips, and damage of any byte is either reported with the file's name or harmless."""

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from minima_volume.errors import ResultsError
from minima_volume.storage import archives, layout, tables

RNG = np.random.default_rng(0)
ARRAYS = {
    "level_0.coefficients": RNG.random((25, 9)),
    "level_0.recrossed": RNG.random((25, 9)) > 0.5,
    "norms": RNG.random(25),
}
LARGE = {"level_0.coefficients": RNG.random((25, 300))}
TENSORS = {
    "parameters.0.weight": torch.arange(12.0).reshape(3, 4),
    "parameters.0.bias": torch.tensor([0.5, -1.0, 2.0]),
    "indices": torch.arange(5),
    "targets": torch.tensor([3, 1, 4, 1, 5]),
}
INFO = {"fingerprint": "0123456789abcdef", "train_loss": 0.0123, "seconds": 1.5}


def arrays_at(path: Path) -> Path:
    archives.write_arrays(path, INFO, ARRAYS)
    return path


def large_arrays_at(path: Path) -> Path:
    archives.write_arrays(path, INFO, LARGE)
    return path


def minimum_at(path: Path) -> Path:
    archives.write_tensors(path, INFO, TENSORS)
    return path


def json_at(path: Path) -> Path:
    archives.write_json(path, INFO)
    return path


KINDS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], Any]]] = {
    "rays.npz": (arrays_at, archives.read_arrays),
    "large.npz": (large_arrays_at, archives.read_arrays),
    "level_0.safetensors": (minimum_at, archives.read_tensors),
    "minima.json": (json_at, archives.read_json),
}


def comparable(content: Any) -> str:
    """Return a file's content, with types and shapes, as text."""
    if isinstance(content, dict):
        return repr([(name, comparable(value)) for name, value in content.items()])
    if isinstance(content, tuple):
        return repr([comparable(value) for value in content])
    if isinstance(content, torch.Tensor | np.ndarray):
        values = np.asarray(content)
        return repr((str(values.dtype), values.shape, values.tobytes()))
    return repr(content)


@pytest.mark.parametrize("name", KINDS)
def test_round_trip(name: str, tmp_path: Path) -> None:
    write, read = KINDS[name]
    content = read(write(tmp_path / name))
    info, values = content if isinstance(content, tuple) else (content, None)
    assert {key: info[key] for key in INFO} == INFO
    if values is not None:
        wanted = {"rays.npz": ARRAYS, "large.npz": LARGE, "level_0.safetensors": TENSORS}[name]
        assert set(values) == set(wanted)
        assert all(comparable(values[key]) == comparable(wanted[key]) for key in wanted)


def record_at(path: Path) -> Path:
    archives.write_record(path, INFO)
    return path


@pytest.mark.parametrize("name", ["rays.npz", "level_0.safetensors", "minima.json"])
def test_a_copy_in_another_place_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, read = (record_at, archives.read_json) if name == "minima.json" else KINDS[name]
    monkeypatch.setattr(layout, "ROOT", tmp_path / "results")
    path = tmp_path / "results" / "quick" / "tiny" / "repeat_0" / name
    wanted = comparable(read(write(path)))
    moved = tmp_path / "moved" / "quick" / "tiny" / "repeat_0" / name  # with all results, which is no other place
    others = [path.parents[1] / "repeat_1" / name, path.with_stem("level_16"), tmp_path / name]
    for copy in (moved, *others):
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    assert comparable(read(moved)) == wanted
    for copy in others:
        with pytest.raises(ResultsError, match=rf"got that of quick/tiny/repeat_0/{name}: it was copied"):
            read(copy)


def test_files_of_users_may_be_renamed(tmp_path: Path) -> None:
    archives.write_arrays(tmp_path / "run.npz", INFO, ARRAYS, movable=True)
    archives.write_json(tmp_path / "volume.json", INFO)
    assert archives.read_arrays((tmp_path / "run.npz").rename(tmp_path / "kept.npz"))[0] == INFO
    assert archives.read_json((tmp_path / "volume.json").rename(tmp_path / "kept.json")) == INFO


def test_a_record_without_its_checksum_is_refused(tmp_path: Path) -> None:
    path = record_at(tmp_path / "run.json")
    content = json.loads(path.read_text())
    assert archives.read_json(path) == INFO and set(content) == {*INFO, "file", "sha256"}
    path.write_text(json.dumps({name: value for name, value in content.items() if name != "sha256"}))
    with pytest.raises(ResultsError, match="Expected the checksum written with"):
        archives.read_json(path)


@pytest.mark.parametrize("name", KINDS)
def test_missing_files_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=name):
        KINDS[name][1](tmp_path / name)


@pytest.mark.parametrize("name", KINDS)
def test_truncated_files_are_named(name: str, tmp_path: Path) -> None:
    write, read = KINDS[name]
    content = write(tmp_path / name).read_bytes()
    end = len(content.rstrip())  # a JSON file without its last newline is complete
    for length in sorted({0, 1, 7, 8, 30, *range(0, end, max(1, end // 60)), end - 1}):
        (tmp_path / name).write_bytes(content[:length])
        with pytest.raises(ResultsError, match=name):
            read(tmp_path / name)


@pytest.mark.parametrize(("name", "n_places"), [("rays.npz", 250), ("large.npz", 120), ("level_0.safetensors", 700)])
def test_flipped_bits_are_named_or_harmless(name: str, n_places: int, tmp_path: Path) -> None:
    write, read = KINDS[name]
    content = write(tmp_path / name).read_bytes()
    whole, changed, escaped = comparable(read(tmp_path / name)), [], []
    everywhere = np.linspace(0, len(content) - 1, min(len(content), n_places), dtype=int)
    directory = range(len(content) - 200, len(content))  # the directory of a zip archive is at its end
    for place in sorted({*everywhere.tolist(), *directory}):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        (tmp_path / name).write_bytes(damaged)
        try:
            # A changed time stamp in the zip directory does no harm. A changed number or a lost array does.
            if comparable(read(tmp_path / name)) != whole:
                changed.append(place)
        except ResultsError as error:
            assert name in str(error)
        except Exception as error:  # collected, so that one run names every kind of exception
            escaped.append((place, f"{type(error).__module__}.{type(error).__name__}"))
    assert not escaped, f"raised something else than ResultsError: {escaped[:5]}, {len(escaped)} in all"
    assert not changed, f"read changed content without an error: {changed[:9]}, {len(changed)} in all"


@pytest.mark.parametrize("name", KINDS)
def test_errors_end_with_the_advice_of_the_caller(name: str, tmp_path: Path) -> None:
    read: Callable[..., Any] = KINDS[name][1]
    (tmp_path / name).write_bytes(b"[]")
    with pytest.raises(ResultsError, match=r"\. Delete it and run the same make target[.]$"):
        read(tmp_path / name)
    with pytest.raises(ResultsError, match=r"\. Ask for help[.]$") as caught:
        read(tmp_path / name, advice="Ask for help.")
    assert "make" not in str(caught.value)


def test_json_that_is_not_an_object(tmp_path: Path) -> None:
    for text in ("[1, 2]", "3", "{", "\x00", '{"a": }'):
        (tmp_path / "minima.json").write_text(text)
        with pytest.raises(ResultsError, match=r"minima\.json"):
            archives.read_json(tmp_path / "minima.json")


def test_flipped_json_syntax_is_named(tmp_path: Path) -> None:
    path = json_at(tmp_path / "minima.json")
    content = path.read_bytes()
    for place, byte in enumerate(content):
        if chr(byte) in '{}:,"':
            # With the highest bit set the byte is not valid UTF-8.
            path.write_bytes(content[:place] + bytes([byte ^ 0x80]) + content[place + 1 :])
            with pytest.raises(ResultsError, match=r"minima\.json"):
                archives.read_json(path)


class Bomb:
    """An object whose unpickling makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("key", ["level_0.coefficients", "info"])
def test_pickled_objects_are_refused_and_never_run(key: str, tmp_path: Path) -> None:
    path, crater = tmp_path / "rays.npz", tmp_path / "crater"
    members = {"info": np.array(json.dumps(INFO)), key: np.array([Bomb(crater)], dtype=object)}
    np.savez(path, **members)
    with np.load(path, allow_pickle=True) as archive:
        archive[key]  # unpickling does make the folder
    crater.rmdir()
    with pytest.raises(ResultsError, match=r"rays\.npz"):
        archives.read_arrays(path)
    assert not crater.exists()


def test_a_bare_pickle_is_refused(tmp_path: Path) -> None:
    for name, (_, read) in KINDS.items():
        np.array([Bomb(tmp_path / "crater")], dtype=object).dump(tmp_path / name)
        with pytest.raises(ResultsError, match=name):
            read(tmp_path / name)
    assert not (tmp_path / "crater").exists()


@pytest.mark.parametrize("name", ["level_0.safetensors", "rays.npz", "minima.json"])
def test_read_if_current_ignores_other_settings_and_damage(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write, read = KINDS[name]
    path = tmp_path / name
    assert archives.read_if_current(read, path, INFO["fingerprint"]) is None  # no file
    write(path)
    assert comparable(archives.read_if_current(read, path, INFO["fingerprint"])) == comparable(read(path))
    assert archives.read_if_current(read, path, "another") is None
    assert capsys.readouterr().out == ""
    path.write_bytes(path.read_bytes()[:40])
    assert archives.read_if_current(read, path, INFO["fingerprint"]) is None
    assert name in capsys.readouterr().out  # tells why it is computed again


def test_fingerprints_follow_every_setting() -> None:
    settings = ("digits", {"a": 1, "b": (2, 3)}, 0.1, None)
    first = archives.fingerprint(*settings)
    assert first == archives.fingerprint(
        "digits", {"b": (2, 3), "a": 1}, 0.1, None
    )  # the order of keys is not a setting
    others = [
        archives.fingerprint("digits", {"a": 1, "b": (2, 4)}, 0.1, None),
        archives.fingerprint("digits", {"a": 1, "b": (2, 3)}, 0.1 + 1e-16, None),
        archives.fingerprint("digits", {"a": 1, "b": (2, 3)}, 0.1, 0),
        archives.fingerprint("digit", "s", {"a": 1, "b": (2, 3)}, 0.1, None),
        archives.fingerprint("digits", {"a": 1, "b": (2, 3)}, 0.1),
    ]
    assert len({first, *others}) == 6


def test_numbers_that_are_not_finite_are_empty_cells(tmp_path: Path) -> None:
    path, columns = tmp_path / "volumes.csv", ("a", "b", "c", "d", "e", "f")
    row = {"a": math.nan, "b": math.inf, "c": -math.inf, "d": None, "e": np.float64("nan"), "f": np.float32("inf")}
    tables.write_recorded_table(path, columns, [row])
    assert path.read_text() == "a,b,c,d,e,f\n,,,,,\n"
    assert tables.read_table(path, columns) == [dict.fromkeys(columns, "")]


def test_cells(tmp_path: Path) -> None:
    path = tmp_path / "volumes.csv"
    row = {"text": 'a "quoted", name', "number": 754321.123456789, "zero": 0.0, "count": 0, "left_out": 1}
    tables.write_recorded_table(path, ("text", "number", "zero", "count"), [row])
    (found,) = tables.read_table(path, ("text", "count"))
    assert found["text"] == 'a "quoted", name' and (found["zero"], found["count"]) == ("0", "0")
    # Eight digits, 0.005 nats here, which is far below every error in a table.
    assert float(found["number"]) == pytest.approx(754321.123456789, rel=1e-8)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "volumes.csv"
    tables.write_table(path, ("study", "level"), [{"study": "s", "level": 1}])
    with pytest.raises(ResultsError, match=r"Expected the columns log_volume, status in .*volumes\.csv"):
        tables.read_table(path, ("study", "log_volume", "level", "status"))


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b"a,b\n1"])
def test_unreadable_tables_are_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "volumes.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ResultsError, match=r"volumes\.csv"):
        tables.read_table(path, ("study",))
