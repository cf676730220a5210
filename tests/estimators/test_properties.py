"""Properties for any input: bounds and symmetries of the estimators; readers and command lines that work or refuse."""

import io
import math
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from minima_volume.errors import ResultsError, UserError
from minima_volume.estimators.cutoff import cutoff
from minima_volume.estimators.published import PAPER_GRID
from minima_volume.estimators.radial import bootstrap_error, log_mean_exp, log_mean_power, typical_log_volume
from minima_volume.estimators.volume import estimate_volume
from minima_volume.pipeline import cli
from minima_volume.pipeline.settings import positive
from minima_volume.pipeline.study import Study
from minima_volume.storage import archives, layout, tables
from minima_volume.training.recipe import Recipe

# The same inputs in every run, so that every failure can be repeated.
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=100, database=None)
settings.load_profile("repeatable")
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

Floats = np.ndarray[Any, np.dtype[np.float64]]
logs = st.lists(st.floats(-30, 30), min_size=1, max_size=60).map(np.array)
n_params = st.integers(1, 10**7)
coefficients = st.lists(st.floats(1e-6, 1.0) | st.just(math.nan), min_size=2, max_size=60).map(np.array)


def near(value: float, size: float) -> Any:
    """Equality up to the rounding of a few sums of terms of this size."""
    return pytest.approx(value, rel=1e-12, abs=1e-12 * max(1.0, size))


def norms_for(c: Floats) -> Floats:
    return 1.0 + np.random.default_rng(len(c)).random(len(c))


# --- estimators --------------------------------------------------------------------------------------------------------


@given(logs)
def test_a_log_mean_lies_between_the_largest_term_and_its_share_of_the_sum(values: Floats) -> None:
    top = values.max()
    assert top - math.log(len(values)) - 1e-9 <= log_mean_exp(values) <= top + 1e-9


@given(logs, st.floats(-1e6, 1e6))
def test_a_log_mean_shifts_with_its_terms(values: Floats, shift: float) -> None:
    assert log_mean_exp(values + shift) == near(log_mean_exp(values) + shift, abs(shift))


@given(logs, n_params, st.randoms(use_true_random=False))
def test_the_order_of_directions_does_not_matter(values: Floats, n: int, random: Any) -> None:
    other = values.copy()
    random.shuffle(other)
    size = n * np.abs(values).max()
    assert log_mean_power(other, n) == near(log_mean_power(values, n), size)
    assert typical_log_volume(other, n)[0] == near(typical_log_volume(values, n)[0], size)


@given(logs, n_params)
def test_the_typical_volume_is_a_lower_bound(values: Floats, n: int) -> None:
    typical, volume = typical_log_volume(values, n)[0], log_mean_power(values, n)
    assert typical <= volume + 1e-9 * max(1.0, abs(volume))


@given(logs, st.integers(1, 10**4), st.floats(-5, 5))
def test_errors_do_not_depend_on_the_unit_of_length(values: Floats, n: int, shift: float) -> None:
    size = n * (np.abs(values).max() + abs(shift))
    error = bootstrap_error(values, n, n_resamples=20)
    assert bootstrap_error(values + shift, n, n_resamples=20) == pytest.approx(
        error, abs=1e-10 * size + 1e-12, nan_ok=True
    )
    assert math.isnan(error) if len(values) < 2 else 0 <= error <= n * (values.max() - values.min()) + 1e-9


@given(coefficients, st.integers(1, 10**6))
def test_an_estimate_counts_every_ray(c: Floats, n: int) -> None:
    found = estimate_volume(c, norms_for(c), n, recrossed=np.zeros(len(c), dtype=bool))
    assert found.n_directions == len(c) and found.n_crossed == np.count_nonzero(~np.isnan(c))
    assert found.status == ("ok" if found.n_crossed == len(c) else "censored")
    assert math.isfinite(found.log_volume) and math.isfinite(found.typical_log_volume)
    assert found.log_volume_se >= 0 and found.typical_log_volume_se >= 0


@given(coefficients, st.integers(1, 10**6), st.floats(0.1, 10))
def test_volumes_scale_with_the_directions(c: Floats, n: int, factor: float) -> None:
    nothing = np.zeros(len(c), dtype=bool)
    one, other = (estimate_volume(c, norms_for(c) * f, n, recrossed=nothing) for f in (1.0, factor))
    size = 40.0 * n
    assert other.log_volume == near(one.log_volume + n * math.log(factor), size)
    assert other.typical_log_volume == near(one.typical_log_volume + n * math.log(factor), size)


@given(st.lists(st.floats(1e-6, 1.0, exclude_max=True), min_size=2, max_size=60).map(np.array), st.integers(1, 10**5))
def test_the_grid_never_rounds_down(c: Floats, n: int) -> None:
    found = estimate_volume(c, norms_for(c), n, recrossed=np.zeros(len(c), dtype=bool))
    assert found.log_volume_grid >= found.log_volume - 1e-9 * max(1.0, abs(found.log_volume))
    assert PAPER_GRID[0] == 0 and PAPER_GRID[-1] == 1 and (np.diff(PAPER_GRID) > 0).all()


@given(st.integers(1, 60), st.integers(1, 10**6))
def test_a_minimum_above_its_threshold_has_no_volume(count: int, n: int) -> None:
    found = estimate_volume(np.zeros(count), np.ones(count), n, recrossed=np.zeros(count, dtype=bool))
    assert found.status == "unconverged" and math.isnan(found.log_volume) and found.n_crossed == 0


@given(st.lists(st.floats(0, 10), min_size=1, max_size=50), st.floats(0.01, 5), st.integers(1, 50))
def test_a_cutoff_is_the_first_size_above(losses: list[float], threshold: float, start: int) -> None:
    means = [sum(losses[:k]) / k for k in range(1, len(losses) + 1)]
    # Rounding decides for a mean on the threshold.
    if any(abs(mean - threshold) < 1e-12 for mean in means):
        return
    expected = next((k for k, mean in enumerate(means, start=1) if k >= start and mean > threshold), None)
    assert cutoff(np.array(losses), threshold, start=start) == expected


# --- readers -----------------------------------------------------------------------------------------------------------


def read_volumes(path: Path) -> object:
    return tables.read_table(path, ("study", "level"), recorded=False)


READERS: dict[str, Callable[[Path], object]] = {
    "a.npz": archives.read_arrays,
    "a.safetensors": archives.read_tensors,
    "a.json": archives.read_json,
    "a.csv": read_volumes,
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of an intact file of each kind."""
    folder = tmp_path_factory.mktemp("good")
    archives.write_arrays(folder / "a.npz", {"fingerprints": {}}, {"x": np.arange(9.0), "y": np.ones(3, dtype=bool)})
    archives.write_tensors(folder / "a.safetensors", {"level": 0}, {"parameters.w": torch.arange(6.0).reshape(2, 3)})
    archives.write_json(folder / "a.json", {"level": [0, 1], "text": "words"})
    tables.write_table(folder / "a.csv", ("study", "level"), [{"study": "tiny", "level": 1}])
    return {name: (folder / name).read_bytes() for name in READERS}


def read_or_refused(name: str, content: bytes, folder: Path) -> object:
    """Return the content of a file, or None if the reader refuses it by name. Any other exception fails the test."""
    path = folder / name
    path.write_bytes(content)
    try:
        return READERS[name](path)
    except ResultsError as error:
        assert name in str(error)
        return None


@pytest.mark.parametrize("name", READERS)
@given(content=st.binary(max_size=400))
@SHARED
def test_any_bytes_are_refused_or_read(name: str, content: bytes, tmp_path: Path) -> None:
    found = read_or_refused(name, content, tmp_path)
    assert found is None or name in ("a.json", "a.csv")  # random bytes have no valid checksum


@pytest.mark.parametrize("name", ["a.npz", "a.safetensors"])
@given(data=st.data())
@SHARED
def test_several_changed_bytes_are_refused_or_harmless(
    name: str, data: st.DataObject, good: dict[str, bytes], tmp_path: Path
) -> None:
    content = bytearray(good[name])
    places = st.integers(0, len(content) - 1)
    for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=8)):
        content[place] = byte
    found = read_or_refused(name, bytes(content), tmp_path)
    assert found is None or repr(found) == repr(READERS[name](_intact(tmp_path / "whole", name, good)))


def _intact(folder: Path, name: str, good: dict[str, bytes]) -> Path:
    """Write the intact file of this name into a folder."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(good[name])
    return folder / name


HEADERS = [
    "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
    "{'descr': '<f8', 'fortran_order': False, 'shape': (10**9, 10**9, 10**9), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': [('a', '<f8'), ('a', '<f8')], 'fortran_order': False, 'shape': (1,), }",
    "__import__('os').system('false')",
    "(" * 300,
]


@pytest.mark.parametrize("header", HEADERS)
def test_archives_with_invented_headers(header: str, tmp_path: Path) -> None:
    text = header.encode().ljust(118) + b"\n"
    member = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(8)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("info.npy", member)
    assert read_or_refused("a.npz", stream.getvalue(), tmp_path) is None


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000, b"1e999999", b"9" * 10_000, b"\xff\xfe{}"])
def test_invented_records(content: bytes, tmp_path: Path) -> None:
    assert read_or_refused("a.json", content, tmp_path) is None


# --- command lines -----------------------------------------------------------------------------------------------------

TINY = Study(
    name="tiny", title="Tiny", data="digits", model="digits_mlp", intervention="poison", base=48, levels=(0,),
    recipe=Recipe(epochs=1), thresholds=(0.1,), n_directions=1,
)  # fmt: skip
words = st.sampled_from(
    [
        "tiny",
        "tony",
        "--scale",
        "quick",
        "paper",
        "--repeats",
        "0",
        "1",
        "0",
        "-1",
        "--gather",
        "²",
        "٣",
        "",
        "--",
        "x" * 300,
    ]
) | st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=5)


@given(arguments=st.lists(words, max_size=7))
@example(arguments=["tiny", "--repeats", "1", "0", "0", "--scale", "quick"])
@example(arguments=["tiny", "--repeats", "1", "-1"])
@SHARED
def test_any_command_line_runs_or_is_refused(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[cli.StageRun] = []
    with monkeypatch.context() as patch:
        patch.setattr(layout, "ROOT", tmp_path)
        patch.setattr(sys, "argv", ["stage.py", *arguments])
        try:
            cli.main({"tiny": TINY}, ran.append)
        except SystemExit as end:
            message = str(end.code) + capsys.readouterr().err
            # Only a request for help exits with 0.
            assert end.code == 0 or "error: " in message
            assert "Traceback" not in message and not ran
        else:
            (run,) = ran
            numbers = [repeat.number for repeat in run.repeats]
            assert run.study.name == "tiny" and numbers == sorted(set(numbers)) and numbers


@given(text=st.text(max_size=6))
@example(text="12")
@example(text="٣")
@example(text="²")
def test_any_setting_is_used_or_refused(text: str) -> None:
    try:
        assert positive("THREADS", text) == int(text) > 0
    except UserError as error:
        assert "THREADS" in str(error)
