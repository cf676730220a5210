"""Theme 5: a changed setting recomputes what depends on it, a comment or a checkout recomputes nothing."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.sandbox import House, Row

MINIMA, RAYS = ".safetensors", ".npz"


@dataclass(frozen=True)
class Change:
    """What is changed in a row and which files must be written anew because of it."""

    what: str
    fields: dict[str, str]
    minima: set[str]
    rays: bool


def level(number: int) -> str:
    """The file of one level's minimum."""
    return f"repeat_0/minima/level_{number}.safetensors"


ALL = {level(number) for number in (0, 10, 50, 100)}
CHANGES = (
    Change("a comment and new times of every file", {}, set(), rays=False),
    Change("another title", {"title": "'Renamed'"}, set(), rays=False),
    Change("one more level", {"levels": "(0, 10, 20, 50, 100)"}, {level(20)}, rays=True),
    Change("another threshold", {"thresholds": "(0.1, 0.05, 0.03)"}, set(), rays=True),
    Change("another number of epochs", {"recipe": "Recipe(epochs=400)"}, ALL, rays=True),
)


def written(house: House, study: str, before: dict[str, int]) -> tuple[set[str], bool]:
    """Minima that were written anew, and whether any block of rays was."""
    changed = {name for name, when in house.stored(study).items() if when != before.get(name)}
    return {name for name in changed if name.endswith(MINIMA)}, any(name.endswith(RAYS) for name in changed)


def rows(copy: Callable[[str], House], study: str, count: int) -> list[Row]:
    """Each change on a finished copy of its own."""
    return [_row(copy(f"changes_{i}"), study, change) for i, change in enumerate(CHANGES[:count])]


def _row(house: House, study: str, change: Change) -> Row:
    before = house.stored(study)
    table = house.table(study)
    with (house.folder / "MNIST" / "config.py").open("a") as config:
        config.write("\n# A comment.\n")
    if change.fields:
        house.row(study, **change.fields)
    house.touch()
    done = house.make(study, THREADS="1")
    minima, rays = written(house, study, before)
    right = done.code == 0 and minima == change.minima and rays == change.rays
    right &= change.rays or house.table(study) == table
    note = f"trained {len(minima)}, " + ("rays measured" if rays else "no rays")
    return Row("settings", change.what, 1, int(not right), note)
