"""Theme 2: several studies at once, and one study in two terminals at once."""

from collections.abc import Sequence
from pathlib import Path

from tests.faults.sandbox import Row, Sandbox, Tables, wait_for

WAITING = "Another process works in"


def together(expected: dict[str, Tables], folder: Path) -> Row:
    """Run `make -j8` on all studies whose tables are known."""
    sandbox, studies = Sandbox(folder / "jobs"), sorted(expected)
    done = sandbox.make("-j8", *studies, THREADS="1")
    lost = [name for name in studies if sandbox.tables(name) != expected[name] or sandbox.damaged(name)]
    return Row("two at once", f"make -j8 {' '.join(studies)}", 1, len(lost) + (done.code != 0), _named(lost))


def twice(study: str, expected: Tables, count: int, folder: Path) -> Row:
    """Run two makes of one study at the same time: one works, the other waits and says so."""
    lost = 0
    for i in range(count):
        sandbox = Sandbox(folder / f"twice_{i}")
        pair = [sandbox.start(study, THREADS="1") for _ in range(2)]
        ends = [wait_for(process) for process in pair]
        waited = any(WAITING in end.text for end in ends)
        fine = all(end.code == 0 and not end.traceback for end in ends)
        lost += not (fine and waited and sandbox.tables(study) == expected and not sandbox.damaged(study))
    return Row("two at once", f"two makes of {study}: one waits and says so", count, lost)


def _named(names: Sequence[str]) -> str:
    """Return the note that names the studies with other tables."""
    return f"differs from a run alone: {', '.join(names)}" if names else ""
