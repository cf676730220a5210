"""End a process when the one that started it ends, so that a killed command leaves no workers behind."""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from functools import cache

EVERY = 0.5  # seconds
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux


@cache
def end_with_parent(parent: int) -> None:
    """Let a thread end this process half a second after its parent, at the latest.

    Files are written whole or not at all, so nothing is lost.

    Args:
        parent: The process that started this one, which may have ended already.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(EVERY)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()


def end_with_make(environ: Mapping[str, str] = os.environ) -> None:
    """Let this process end with its parent if that is make; who starts it by hand may leave the terminal.

    Args:
        environ: Variables by name.
    """
    if environ.get("MAKELEVEL"):
        end_with_parent(os.getppid())


def end_what_follows_with_parent() -> None:
    """Let the program that replaces this one by `exec` be terminated with its parent. Only Linux can do this."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)
