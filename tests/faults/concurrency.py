"""Theme 2: several studies at once, and one study in two terminals."""

from collections.abc import Sequence
from pathlib import Path

from tests.faults.sandbox import House, Row, finished

WAITING = "Another process works in"


def together(expected: dict[str, bytes], folder: Path) -> Row:
    """`make -j8` over all studies whose tables are known."""
    house, studies = House(folder / "jobs"), sorted(expected)
    done = house.make("-j8", *studies, THREADS="1")
    lost = [name for name in studies if house.table(name) != expected[name] or house.torn(name)]
    return Row("two at once", f"make -j8 {' '.join(studies)}", 1, len(lost) + (done.code != 0), _named(lost))


def twice(study: str, expected: bytes, count: int, folder: Path) -> Row:
    """Two makes of one study at the same time: one works, the other waits and says so."""
    lost = 0
    for i in range(count):
        house = House(folder / f"twice_{i}")
        pair = [house.start(study, THREADS="1") for _ in range(2)]
        ends = [finished(process) for process in pair]
        waited = any(WAITING in end.text for end in ends)
        fine = all(end.code == 0 and not end.traceback for end in ends)
        lost += not (fine and waited and house.table(study) == expected and not house.torn(study))
    return Row("two at once", f"two makes of {study}: one waits and says so", count, lost)


def _named(names: Sequence[str]) -> str:
    return f"not as alone: {', '.join(names)}" if names else ""
