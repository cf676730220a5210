"""Whatever happens is told in one sentence, with a traceback only if asked for."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from minima_volume import errors
from minima_volume.pipeline import cli
from minima_volume.storage import layout
from tests.project import ROOT
from tests.user_errors import TINY


def failing(error: BaseException) -> Callable[[cli.StageRun], None]:
    def work(run: cli.StageRun) -> None:
        raise error

    return work


UNEXPECTED: tuple[tuple[str, BaseException, tuple[str, ...]], ...] = (
    ("met a mistake of ours", ZeroDivisionError("division by zero"),
     ("ZeroDivisionError in test_crash_messages.py, line", "division by zero", "DEBUG=1")),
    ("met a mistake without a text", KeyError(), ("KeyError", "no message", "DEBUG=1")),
    ("met a text of several lines", OSError("first\nsecond"), ("first second",)),
    ("asked for more memory than there is", MemoryError(), ("enough memory", "MEMORY", "THREADS")),
    ("the same inside torch", RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
     ("enough memory", "MEMORY", "now 7", "THREADS", "now 3")),
    ("the same on a GPU", torch.OutOfMemoryError("CUDA out of memory."), ("enough memory", "MEMORY")),
)  # fmt: skip


@pytest.mark.parametrize(("did", "error", "parts"), UNEXPECTED)
def test_anything_else_is_one_sentence(
    did: str, error: BaseException, parts: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(layout, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["stage.py", "tiny", "--repeats", "0"])
    for name, value in {"MEMORY": "7", "THREADS": "3"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        cli.main({"tiny": TINY}, failing(error))
    said = str(caught.value.code)
    assert said.startswith("error: ") and "\n" not in said and all(part in said for part in parts)
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv("DEBUG", "1")
    with pytest.raises(SystemExit):
        cli.main({"tiny": TINY}, failing(error))
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environment", "shown", "hidden"),
    [
        ({"MAKELEVEL": "1"}, "error: ZeroDivisionError in <string>, line 1", "Traceback"),
        ({"MAKELEVEL": "1", "DEBUG": "1"}, "Traceback", "error: "),
        ({}, "Traceback", "error: "),
    ],
)
def test_what_fails_while_modules_load(environment: dict[str, str], shown: str, hidden: str) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in ("MAKELEVEL", "DEBUG")}
    code = [sys.executable, "-c", "import minima_volume; 1 / 0"]
    done = subprocess.run(code, env=clean | environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and shown in done.stderr and hidden not in done.stderr


def test_an_interrupt_while_modules_load(capsys: pytest.CaptureFixture[str]) -> None:
    errors.print_error(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert "run the same command to continue" in capsys.readouterr().err
