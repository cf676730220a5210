"""Theme 6: invalid rows are refused early; diverging minima are named and the others measured; the exit code is not 0."""

from pathlib import Path

from tests.faults.sandbox import Row, Sandbox

STUDY = "digits_poison"
# Each of these rows is refused before anything is trained.
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
# Decay by lr·weight_decay = 10 per step multiplies weights by −9. They stay finite for the few steps of the full batch, and
# overflow in the many steps of small batches.
DIVERGING = {
    "level_means": "'batch_size'", "levels": "(10, 600)", "recipe": "Recipe(epochs=5, lr=1e3)", "n_directions": "5",
}  # fmt: skip


def early(folder: Path, count: int) -> Row:
    """Run studies with invalid rows."""
    lost = []
    for i, (what, (fields, said)) in enumerate(list(EARLY.items())[:count]):
        sandbox = Sandbox(folder / f"early_{i}")
        sandbox.row(STUDY, **fields)
        done = sandbox.make(STUDY, THREADS="1")
        if not done.refused("error: Expected", said, STUDY) or list(sandbox.study(STUDY).rglob("*.safetensors")):
            lost.append(what)
    return Row("numbers", ", ".join(list(EARLY)[:count]), min(count, len(EARLY)), len(lost), "; ".join(lost))


def no_repeats(folder: Path) -> Row:
    """Run a study with zero repeats."""
    sandbox = Sandbox(folder / "no_repeats")
    lost = sum(
        not sandbox.make(STUDY, f"REPEATS={text}").refused("repeats" if not text else "REPEATS") for text in ("0", "")
    )
    return Row("numbers", "a study with zero repeats", 2, lost)


def diverging(folder: Path) -> Row:
    """Run a study in which one of two minima diverges, twice: the other one is measured, the exit code is not 0."""
    sandbox, lost = Sandbox(folder / "diverging"), 0
    sandbox.row(STUDY, **DIVERGING)
    for _ in range(2):
        done = sandbox.make(STUDY, THREADS="1")
        lost += not done.refused("finite training loss", STUDY, "level 10", "model seed 0", "data seed 10")
    table = sandbox.tables(STUDY).get("volumes.csv", b"").decode()
    lost += table.count(f"{STUDY},digits 8×8,digits_mlp,0,600,") == 0
    lost += table.count(f"{STUDY},digits 8×8,digits_mlp,0,10,") > 0
    return Row("numbers", "one of two minima diverges: named, the other measured", 2, lost)


def all_diverge(folder: Path) -> Row:
    """Run a study in which every minimum diverges: each is named, nothing is measured."""
    sandbox = Sandbox(folder / "all_diverge")
    sandbox.row(STUDY, recipe="Recipe(epochs=200, lr=1e3)", levels="(0, 10)")
    done = sandbox.make(STUDY, THREADS="1")
    lost = not done.refused("finite training loss", "level 0", "level 10") or sandbox.tables(STUDY) != {}
    return Row("numbers", "every minimum diverges", 1, int(lost))


def missing_classes(folder: Path) -> Row:
    """Run a study with five samples of ten classes: all numbers are finite."""
    sandbox = Sandbox(folder / "missing_classes")
    sandbox.row(STUDY, base="5", levels="(0,)", n_directions="5")
    done = sandbox.make(STUDY, THREADS="1")
    lost = done.code != 0 or b",ok," not in sandbox.tables(STUDY).get("volumes.csv", b"")
    return Row("numbers", "a base that lacks some classes is trained and measured", 1, int(lost))
