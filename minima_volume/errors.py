"""Errors that a user can correct, and how errors are printed without a traceback."""

import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

# What torch, CUDA and the system say when memory runs out; torch raises it as a RuntimeError.
NO_MEMORY = re.compile(r"allocate memory|out of memory|bad_alloc|start new thread", re.IGNORECASE)
INTERRUPTED = "\nInterrupted. Finished results are kept: run the same command to continue."


class UserError(Exception):
    """An error that the user can correct. Its message says what was expected, what was found, and what to do."""


class DataError(UserError):
    """A data set is missing, damaged or too small."""


class ResultsError(UserError):
    """A stored file is missing, damaged or does not fit the present settings, or cannot be written."""


class WriteError(ResultsError):
    """A file cannot be written."""


class NumericsError(UserError):
    """Training or measuring produced a number that cannot be used."""


def is_machine_error(error: BaseException) -> bool:
    """Return whether an error is the machine's, such as a disk's, and says nothing about a point of somebody's model."""
    return isinstance(error, OSError) or is_memory_error(error)


def is_memory_error(error: BaseException) -> bool:
    """Return whether an error says that memory ran out: the machine's fault, and never a property of somebody's model.

    Args:
        error: Any exception.

    Example:
        >>> is_memory_error(RuntimeError("DefaultCPUAllocator: can't allocate memory")), is_memory_error(ValueError("low"))
        (True, False)
    """
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | OSError) and NO_MEMORY.search(str(error)) is not None
    )


@contextmanager
def extra(name: str, purpose: str) -> Iterator[None]:
    """Import packages that not everyone needs inside this block, so that a missing one is reported in one sentence.

    Args:
        name: The extra of this package that installs them, such as "plot".
        purpose: What needs them, such as "plot()".

    Yields:
        Nothing. The imports stand inside the block.

    Raises:
        UserError: If one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or str(error)).partition(".")[0]
        raise UserError(
            f"Expected {missing} for {purpose}, which is not installed: pip install 'minima_volume[{name}]'"
        ) from error


def describe_error(error: BaseException) -> str:
    """Describe an error in one line.

    Args:
        error: Any exception.

    Returns:
        The message of a UserError. For any other exception its type, place and message, and how to see the traceback.
    """
    if isinstance(error, UserError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    what = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}{where}: {what}. Run again with DEBUG=1 for the traceback."


def print_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an uncaught exception as one line. Used as `sys.excepthook`, unless DEBUG asks for tracebacks.

    Args:
        kind: The exception's class.
        error: The exception.
        trace: Its traceback.
    """
    text = INTERRUPTED if kind is KeyboardInterrupt else f"error: {describe_error(error)}"
    print(text, file=sys.stderr, flush=True)
