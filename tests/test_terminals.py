"""Terminals and pipes in any encoding: nothing that is printed raises, and no table is lost to one."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from minima_volume import text
from minima_volume.pipeline import volume_estimation
from minima_volume.pipeline.repeat import Repeat
from minima_volume.storage import layout
from tests.project import ROOT
from tests.study_runs import TINY

Stages = dict[str, Callable[..., None]]
ENCODINGS = ({"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "cp1252"},
             {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONIOENCODING": "utf-8"})  # fmt: skip
NAMES = [*(setting.get("PYTHONIOENCODING", "POSIX") for setting in ENCODINGS)]
# Every letter beyond ASCII in a string of the package, which may all reach a terminal.
SOURCE = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "minima_volume").rglob("*.py")))
LETTERS = sorted({letter for letter in SOURCE if ord(letter) > 127})


def run(code: str, encoding: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run code in a new interpreter whose terminal has an encoding."""
    hidden = ("PYTHONIOENCODING", "PYTHONUTF8", "LC_ALL", "LC_CTYPE", "LANG")
    clean = {name: value for name, value in os.environ.items() if name not in hidden}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, env=clean | encoding, capture_output=True, timeout=120)


def test_letters_are_spelled_only_where_the_encoding_lacks_them() -> None:
    sentence = "ln E[rⁿ] = 3.1 ± 0.2 nats at σ = 0.1, θ, γ, ρ, naïve"
    spelled = {
        "utf-8": sentence,
        "latin-1": "ln E[r^n] = 3.1 ± 0.2 nats at sigma = 0.1, theta, gamma, rho, naïve",
        "ascii": "ln E[r^n] = 3.1 +- 0.2 nats at sigma = 0.1, theta, gamma, rho, naive",
    }
    for encoding, wanted in spelled.items():
        assert text.encodable(sentence, TextIOWrapper(BytesIO(), encoding=encoding)) == wanted
    assert text.encodable(sentence, None) == sentence
    assert (
        text.encodable("e⁻⁴⁰, Σw²/2, u₁, Δ", TextIOWrapper(BytesIO(), encoding="ascii"))
        == "e^-40, Sigmaw^2/2, u1, Delta"
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "koi8-r"])
def test_every_letter_of_the_package_has_a_spelling(encoding: str) -> None:
    assert {"σ", "±", "ⁿ"} <= set(LETTERS)
    for letter in LETTERS:
        shown = text.encodable(letter, TextIOWrapper(BytesIO(), encoding=encoding))
        assert shown.encode(encoding) and "\\u" not in shown, letter


def test_only_encoding_is_spelled() -> None:
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", text.HANDLER)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=NAMES)
def test_a_measurement_is_printed(encoding: dict[str, str]) -> None:
    code = "from minima_volume import Measurement; print(Measurement.load('tests/stored/measurement.json'))"
    done = run(code, encoding)
    assert done.returncode == 0, done.stderr.decode()
    shown = done.stdout.decode(encoding.get("PYTHONIOENCODING", "ascii"))
    assert ("E[rⁿ]" if "utf-8" in encoding.values() else "E[r^n]") in shown and "\\u" not in shown


STAGE = """
import sys
from pathlib import Path
from minima_volume.pipeline import cli
from minima_volume.pipeline.volume_estimation import volume_estimation
from minima_volume.storage import layout
from tests.study_runs import TINY
layout.ROOT = Path(sys.argv.pop(1))
cli.main({"tiny": TINY}, volume_estimation)
"""


@pytest.mark.parametrize("encoding", ENCODINGS, ids=NAMES)
def test_the_last_stage_prints_its_table(encoding: dict[str, str], copied: Path) -> None:
    (copied / "paper" / "tiny" / "repeat_0" / "volumes.csv").unlink()
    repeats = ("tiny", "--scale", "paper", "--repeats", "0", "1")
    for last in ((), ("--gather",)):
        done = run(STAGE, encoding, str(copied), *repeats, *last)
        assert done.returncode == 0, done.stderr.decode()
        shown = done.stdout.decode(encoding.get("PYTHONIOENCODING", "ascii"))
        assert "log volume (nats)" in shown and ("±" in shown or "+-" in shown)
    assert (copied / "paper" / "tiny" / "repeat_0" / "volumes.csv").exists()


def test_the_last_stage_succeeds_if_nobody_reads_its_table(copied: Path) -> None:
    table = copied / "paper" / "tiny" / "repeat_0" / "volumes.csv"
    table.unlink()
    command = [sys.executable, "-c", STAGE, str(copied), "tiny", "--scale", "paper", "--repeats", "0", "1"]
    stage = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert stage.stdout is not None and stage.stderr is not None
    stage.stdout.close()
    said = stage.stderr.read()
    stage.stderr.close()
    assert (stage.wait(timeout=60), said) == (0, b"") and table.exists()


def test_all_tables_are_written_before_one_is_printed(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(layout, "ROOT", copied)
    monkeypatch.setattr(volume_estimation, "print_volumes", fail)
    tables = [copied / "paper" / "tiny" / f"repeat_{number}" / "volumes.csv" for number in (0, 1)]
    for table in tables:
        table.unlink()
    with pytest.raises(ZeroDivisionError):
        volume_estimation.write_volumes([Repeat(TINY, 0), Repeat(TINY, 1)], "paper")
    assert all(table.exists() for table in tables)


def test_every_command_of_make_spells_what_a_terminal_lacks() -> None:
    """A print that fails after a table was written would let make delete the table."""
    makefile = (ROOT / "Makefile").read_text()
    modules = set(re.findall(r"-m ((?:minima_volume|figs|videos|benchmarks)\.[\w.]+)", makefile))
    assert {"figs.draw", "minima_volume.planes.random_plane", "benchmarks.trust"} <= modules
    # Those that print numbers and ASCII only, write pages in an encoding of their own, or print to standard error only,
    # which takes every letter.
    plain = {"benchmarks.bench", "benchmarks.large", "benchmarks.validate", "minima_volume.pipeline.environment"}
    for name in modules - plain:
        assert _spells(ROOT / f"{name.replace('.', '/')}.py"), name


def _spells(program: Path) -> bool:
    """Return whether a program, or the module whose `main` it calls, replaces what a terminal lacks."""
    source = program.read_text()
    if "prepare_streams()" in source:
        return True
    called = set(re.findall(r"^ *(?:sys\.exit\()?(\w+)\.main\(", source, re.MULTILINE))
    folders = ("minima_volume", "figs", "videos", "benchmarks")
    shared = [path for name in called for folder in folders for path in (ROOT / folder).rglob(f"{name}.py")]
    return any(_spells(path) for path in shared if path != program)


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_what_is_printed_never_lands_in_a_file_in_place_of_a_closed_stream(
    closed: tuple[int, ...], tmp_path: Path
) -> None:
    code = """
import os, sys
from minima_volume.text import prepare_streams
prepare_streams()
with open(sys.argv[1], "w") as table:
    print("out"), print("err", file=sys.stderr)
    os.write(2, b"a library's warning")
    print("more")
    table.write("1,2")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "table.csv")], cwd=ROOT, capture_output=True, timeout=120,
        preexec_fn=lambda: [os.close(descriptor) for descriptor in closed],
    )  # fmt: skip
    assert done.returncode == 0 and (tmp_path / "table.csv").read_text() == "1,2"
    assert done.stdout == (b"" if 1 in closed else b"out\nmore\n")
