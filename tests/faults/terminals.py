"""Streams that whoever starts a command has closed, a notebook's surroundings, and flags of make."""

import os
from functools import partial
from pathlib import Path

from tests.faults.sandbox import Row, Sandbox, Tables

INLINE = "module://matplotlib_inline.backend_inline"  # of a notebook, whose `!make` inherits it


def _close(descriptors: tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def closed(study: str, expected: Tables, folder: Path) -> Row:
    """Run a study without stdin, stdout, stderr or all of them, as `>&-` does: no table holds what is printed."""
    lost = []
    for descriptors in ((0,), (1,), (2,), (0, 1, 2)):
        sandbox = Sandbox(folder / f"closed_{'_'.join(map(str, descriptors))}")
        done = sandbox.make(study, THREADS="1", prepare=partial(_close, descriptors))
        if done.code or sandbox.tables(study) != expected or sandbox.damaged(study):
            lost.append(f"{descriptors}: {done.code}")
    return Row("terminals", "stdin, stdout, stderr and all of them closed", 4, len(lost), "; ".join(lost))


def notebook(sandbox: Sandbox) -> Row:
    """Draw figures with the backend of a notebook in the environment."""
    (sandbox.folder / "figs" / "quick").rename(sandbox.folder / "before")
    done = sandbox.make("figs", MPLBACKEND=INLINE)
    drawn = {path.name for path in (sandbox.folder / "figs" / "quick").glob("*.png")}
    lost = done.code != 0 or not {path.name for path in (sandbox.folder / "before").glob("*.png")} <= drawn
    return Row("terminals", "figures with a notebook's backend", 1, int(lost), done.text[-200:] if lost else "")


def flags(sandbox: Sandbox, study: str, expected: Tables) -> Row:
    """Ask make to mark targets as new, which is refused, and to make all of them again, which changes nothing."""
    stored, lost = sandbox.stored(study), []
    if not sandbox.make("-t", study).refused("leave -t out"):
        lost.append("-t")
    if sandbox.make("-B", study, THREADS="1").code:
        lost.append("-B")
    if sandbox.tables(study) != expected or sandbox.stored(study) != stored:
        lost.append("results")
    return Row("terminals", "make -t and make -B", 2, len(lost), "; ".join(lost))
