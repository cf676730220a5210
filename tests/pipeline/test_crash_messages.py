"""Whatever fails, a stage prints one sentence, and a traceback only with DEBUG=1. Importing the package does nothing."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from minima_volume import errors
from minima_volume.pipeline import cli
from minima_volume.pipeline.chain import ASKED
from minima_volume.storage import layout
from tests.project import ROOT
from tests.user_errors import TINY


def failing(error: BaseException) -> Callable[[cli.StageRun], None]:
    """Return a stage that raises an error."""

    def work(run: cli.StageRun) -> None:
        raise error

    return work


UNEXPECTED: tuple[tuple[str, BaseException, tuple[str, ...]], ...] = (
    ("an unexpected exception", ZeroDivisionError("division by zero"),
     ("ZeroDivisionError in test_crash_messages.py, line", "division by zero", "DEBUG=1")),
    ("an exception without a message", KeyError(), ("KeyError", "no message", "DEBUG=1")),
    ("a message of several lines", OSError("first\nsecond"), ("first second",)),
    ("memory that Python lacks", MemoryError(), ("enough memory", "MEMORY", "THREADS")),
    ("memory that torch lacks", RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
     ("enough memory", "MEMORY", "now 7", "THREADS", "now 3")),
    ("memory that a GPU lacks", torch.OutOfMemoryError("CUDA out of memory."), ("enough memory", "MEMORY")),
)  # fmt: skip


@pytest.mark.parametrize(("what", "error", "parts"), UNEXPECTED)
def test_an_exception_in_a_stage_is_one_sentence(
    what: str, error: BaseException, parts: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
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
    ("error", "again"),
    [(errors.NumericsError("no minimum"), True), (errors.ResultsError("damaged"), True), (ValueError("other"), False)],
)
def test_after_an_error_of_what_is_stored_the_next_make_runs_all_stages(
    error: Exception, again: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["stage.py", "tiny", "--repeats", "0"])
    asked = layout.study_folder("paper", "tiny") / ASKED
    asked.parent.mkdir(parents=True)
    asked.touch()
    with pytest.raises(SystemExit):
        cli.main({"tiny": TINY}, failing(error))
    assert asked.exists() != again


@pytest.mark.parametrize(
    ("environment", "shown", "hidden"),
    [
        ({}, "error: ZeroDivisionError in <string>, line ", "Traceback"),
        ({"DEBUG": "1"}, "Traceback", "Run again with DEBUG=1"),
    ],
)
def test_what_fails_outside_the_stage_is_one_sentence(environment: dict[str, str], shown: str, hidden: str) -> None:
    """Once `main` has run, the hook prints what nothing else catches."""
    code = (
        "import sys\n"
        "from minima_volume.pipeline import cli\n"
        "from tests.user_errors import TINY\n"
        "sys.argv = ['stage.py', '--help']\n"
        "try:\n"
        "    cli.main({'tiny': TINY}, print)\n"
        "except SystemExit:\n"
        "    1 / 0\n"
    )
    done = fresh(code, **environment)
    assert done.returncode == 1 and shown in done.stderr and hidden not in done.stderr


def fresh(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter, as a recipe of make."""
    clean = {name: value for name, value in os.environ.items() if name not in ("MAKELEVEL", "DEBUG")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=clean | {"MAKELEVEL": "1"} | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


IMPORT_ALL = """
import importlib, os, pkgutil, sys
import torch
from operator import attrgetter

FLAGS = [attrgetter(name)(torch.backends) for name in
         ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")]

def state():
    umask = os.umask(0)
    os.umask(umask)
    return sys.excepthook, umask, [flag.fp32_precision for flag in FLAGS], torch.get_num_threads()

os.umask(0o027)
before = state()
import minima_volume
for module in pkgutil.walk_packages(minima_volume.__path__, "minima_volume."):
    importlib.import_module(module.name)
print(len([name for name in sys.modules if name.startswith("minima_volume.")]) > 60, state() == before)
"""


def test_importing_the_package_changes_no_global_state() -> None:
    """Neither sys.excepthook, nor the umask, nor torch's precision and number of threads."""
    done = fresh(IMPORT_ALL)
    assert (done.stdout, done.stderr) == ("True True\n", "")


def test_an_interrupt_that_nothing_catches_says_how_to_continue(capsys: pytest.CaptureFixture[str]) -> None:
    errors.print_error(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert errors.INTERRUPTED.strip() in capsys.readouterr().err
