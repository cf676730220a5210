"""Mistakes that a user can mend, told in one sentence each, and anything else told without a traceback."""

import os
import sys
import traceback
from pathlib import Path
from types import TracebackType

INTERRUPTED = "\nInterrupted. Whole results are kept: the same command goes on from here."


class UserError(Exception):
    """What was expected, what was got, and what to do about it; shown to users of `make` without a traceback."""


class DataError(UserError):
    """A data set is missing, damaged or too small for what was asked of it."""


class ResultsError(UserError):
    """A file under `results/` is not what its name says."""


class NumericsError(UserError):
    """Training or measuring produced a number that cannot be used."""


def describe_error(error: BaseException) -> str:
    """A user's mistake as it is; of any other exception what happened, where, and how to see the traceback."""
    if isinstance(error, UserError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    what = " ".join(str(error).split()) or "no more is known"
    return f"{type(error).__name__}{where}: {what}. Run again with DEBUG=1 for the traceback."


def print_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What `sys.excepthook` shows to users of `make`: one sentence, or the traceback with DEBUG=1."""
    if os.environ.get("DEBUG"):
        sys.__excepthook__(kind, error, trace)
    else:
        print(
            INTERRUPTED if kind is KeyboardInterrupt else f"error: {describe_error(error)}", file=sys.stderr, flush=True
        )
