"""Theme 6: numbers that go wrong are found early and named; the other minima go on; the exit code is not 0."""

from pathlib import Path

from tests.faults.sandbox import House, Row

STUDY = "digits_poison"
# Each of these is refused before anything is trained.
EARLY: dict[str, tuple[dict[str, str], str]] = {
    "a level beyond the data set": ({"levels": "(0, 5000)"}, "at most 1297 training samples"),
    "too few samples of one class": ({"intervention": "'imbalanced_base'"}, "of class 0"),
    "duplicate levels": ({"levels": "(0, 10, 10)"}, "different levels"),
    "levels in no order": ({"levels": "(10, 0)"}, "ascending order"),
    "a threshold of 0": ({"thresholds": "(0.1, 0.0)"}, "thresholds above 0"),
    "a threshold below 0": ({"thresholds": "(-0.1,)"}, "thresholds above 0"),
    "a threshold that is no number": ({"thresholds": "(0.1, float('nan'))"}, "thresholds above 0"),
    "no directions": ({"n_directions": "0"}, "at least one direction"),
}
# Decay by lr·weight_decay = 10 per step multiplies weights by −9: a few steps of the full batch stay finite, the many
# steps of small batches do not.
DIVERGING = {
    "level_means": "'batch_size'", "levels": "(10, 600)", "recipe": "Recipe(epochs=5, lr=1e3)", "n_directions": "5",
}  # fmt: skip


def early(folder: Path, count: int) -> Row:
    """Rows that cannot be meant."""
    lost = []
    for i, (what, (fields, said)) in enumerate(list(EARLY.items())[:count]):
        house = House(folder / f"early_{i}")
        house.row(STUDY, **fields)
        done = house.make(STUDY, THREADS="1")
        if not done.refused("error: Expected", said, STUDY) or list(house.study(STUDY).rglob("*.safetensors")):
            lost.append(what)
    return Row("numbers", ", ".join(list(EARLY)[:count]), min(count, len(EARLY)), len(lost), "; ".join(lost))


def no_repeats(folder: Path) -> Row:
    """A study with zero repeats."""
    house = House(folder / "no_repeats")
    lost = sum(
        not house.make(STUDY, f"REPEATS={text}").refused("repeats" if not text else "REPEATS") for text in ("0", "")
    )
    return Row("numbers", "a study with zero repeats", 2, lost)


def diverging(folder: Path) -> Row:
    """One of two minima diverges (lr 1e3): the other is trained and measured, twice the same summary, exit code not 0."""
    house, lost = House(folder / "diverging"), 0
    house.row(STUDY, **DIVERGING)
    for _ in range(2):
        done = house.make(STUDY, THREADS="1")
        lost += not done.refused("finite training loss", STUDY, "level 10", "model seed 0", "data seed 10")
    table = house.table(STUDY).decode()
    lost += table.count(f"{STUDY},digits 8×8,digits_mlp,0,600,") == 0
    lost += table.count(f"{STUDY},digits 8×8,digits_mlp,0,10,") > 0
    return Row("numbers", "one of two minima diverges: named, the other goes on", 2, lost)


def all_diverge(folder: Path) -> Row:
    """Every minimum diverges: each is named, nothing is measured."""
    house = House(folder / "all_diverge")
    house.row(STUDY, recipe="Recipe(epochs=200, lr=1e3)", levels="(0, 10)")
    done = house.make(STUDY, THREADS="1")
    lost = not done.refused("finite training loss", "level 0", "level 10") or house.table(STUDY) != b""
    return Row("numbers", "every minimum diverges", 1, int(lost))


def missing_classes(folder: Path) -> Row:
    """Five samples of ten classes: trained on what is there, every number finite."""
    house = House(folder / "missing_classes")
    house.row(STUDY, base="5", levels="(0,)", n_directions="5")
    done = house.make(STUDY, THREADS="1")
    lost = done.code != 0 or ",ok," not in house.table(STUDY).decode()
    return Row("numbers", "a base without some classes is measured as it is", 1, int(lost))
