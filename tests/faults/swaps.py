"""Theme 8: intact files in the place of others, and tables without their records, are made again or refused by name."""

import contextlib
import io
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import numpy as np

from minima_volume.errors import ResultsError
from minima_volume.storage import archives, layout, tables
from tests.faults.sandbox import Row
from tests.faults.stages import GATHER, Results, as_of_an_older_run

THEME = "swaps"
Change = Callable[[Path], None]


def block(start: int, repeat: int = 0) -> str:
    """Return the file of a block of directions."""
    return f"repeat_{repeat}/rays/directions_{start:05d}_{min(start + 25, 60):05d}.npz"


def minimum(level: int, repeat: int = 0) -> str:
    """Return the file of a minimum."""
    return f"repeat_{repeat}/minima/level_{level}.safetensors"


def copy(source: str, target: str) -> Change:
    """Copy a file over another one."""

    def change(study: Path) -> None:
        shutil.copyfile(study / source, study / target)

    return change


def exchange(one: str, other: str) -> Change:
    """Exchange two files."""

    def change(study: Path) -> None:
        kept = (study / one).read_bytes()
        shutil.copyfile(study / other, study / one)
        (study / other).write_bytes(kept)

    return change


def older(change: Change) -> Change:
    """Make a change among blocks of an older run, which do not name their place."""

    def changed(study: Path) -> None:
        for path in study.glob("repeat_*/rays/*.npz"):
            as_of_an_older_run(path)
        change(study)

    return changed


# What is changed, and the files that must be made again because of it.
SWAPS: tuple[tuple[str, Change, Sequence[str]], ...] = (
    ("a block over its neighbour", copy(block(0), block(25)), [block(25)]),
    ("a block over the one before", copy(block(25), block(0)), [block(0)]),
    ("two blocks exchanged", exchange(block(0), block(25)), [block(0), block(25)]),
    ("a block over a shorter one", copy(block(0), block(50)), [block(50)]),
    ("blocks of two repeats exchanged", exchange(block(0), block(0, 1)), [block(0), block(0, 1)]),
    ("an older block over its neighbour", older(copy(block(0), block(25))), [block(25)]),
    ("two older blocks exchanged", older(exchange(block(0), block(25))), [block(0), block(25)]),
    ("nothing but the age of the blocks", older(lambda _: None), []),
    ("a minimum over that of another level", copy(minimum(0), minimum(80)), [minimum(80)]),
    ("two minima exchanged", exchange(minimum(0), minimum(80)), [minimum(0), minimum(80)]),
    ("minima of two repeats exchanged", exchange(minimum(80), minimum(80, 1)), [minimum(80), minimum(80, 1)]),
    ("a block in the place of a minimum", copy(block(0), minimum(80)), [minimum(80)]),
    ("a minimum in the place of a block", copy(minimum(0), block(25)), [block(25)]),
)


def swapped(base: Results) -> Row:
    """Swap files of the study: a run makes exactly the swapped files again, and the same tables."""
    lost, results = [], base.copy("swapped")
    for what, change, again in SWAPS:
        change(results.study)
        before = results.stored()
        done = results.run()
        made = {name for name, when in results.stored().items() if before.get(name) != when}
        if done.code or made != set(again) or results.tables() != base.tables():
            lost.append(what)
            results = base.copy(f"swapped_{len(lost)}")  # what follows is not to blame
    times = sum(max(1, len(again)) for _, _, again in SWAPS)
    return Row(THEME, "blocks and minima in the place of others: made again", times, len(lost), "; ".join(lost))


def one_digit_up(path: Path) -> None:
    """Change the last digit of a table."""
    text = path.read_text()
    place = max(i for i, letter in enumerate(text) if letter.isdecimal())
    path.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])


def unlisted(table: Path) -> None:
    """Change a table and remove it from its record."""
    one_digit_up(table)
    table.with_suffix(".json").write_text("{}")


def recordless(table: Path) -> None:
    """Change a table and delete its record."""
    one_digit_up(table)
    table.with_suffix(".json").unlink()


def misrecorded(table: Path) -> None:
    """Change a table and put the record of another one in the place of its own."""
    one_digit_up(table)
    shutil.copyfile(table.parent.parent / "repeat_1" / "rays.json", table.with_suffix(".json"))


def of_another_repeat(table: Path) -> None:
    """Put the table of another repeat with its record in the place of this one."""
    for path in (table, table.with_suffix(".json")):
        shutil.copyfile(table.parent.parent / "repeat_1" / path.name, path)


def of_an_older_repeat(table: Path) -> None:
    """The same with a record of an older run, which does not name its place."""
    of_another_repeat(table)
    record = table.with_suffix(".json")
    record.write_text(json.dumps({"tables": json.loads(record.read_text())["tables"]}))


ATTACKS = (one_digit_up, unlisted, recordless, misrecorded, of_another_repeat, of_an_older_repeat)


def unrecorded(base: Results) -> Row:
    """Change tables of a repeat whose record cannot tell: gathering refuses them by name, and works once they are made."""
    lost, results, times = [], base.copy("unrecorded"), 0
    for attack in ATTACKS:
        for name, stage in (("volumes.csv", "volume_estimation"), ("cutoffs.csv", "volume_cutoff")):
            table = results.study / "repeat_0" / name
            attack(table)
            refused = results.run(GATHER).refused("Expected", f"repeat_0/{name}", "Delete")
            table.unlink()
            done = results.run(stage, GATHER)
            times += 1
            if not refused or done.code or results.tables() != base.tables():
                lost.append(f"{name} {attack.__name__}")
    what = "tables of a repeat that their record does not describe: refused, made again once deleted"
    return Row(THEME, what, times, len(lost), "; ".join(lost))


def minimum_rows(base: Results) -> Row:
    """Copy, cut, change and empty the files of tables made minimum by minimum: none counts as that of its minimum."""
    results, lost = Results(base.folder.parent / "rows"), []

    def path_of(place: tuple[Callable[[Path, int], Path], int, int]) -> Path:
        file_of, repeat, level = place
        return file_of(results.study / f"repeat_{repeat}", level)

    kinds = (layout.local_path, layout.sharpness_path, layout.sampler_path)
    places = [(kind, repeat, level) for kind in kinds for repeat in (0, 1) for level in (0, 80)]
    # The same fingerprint everywhere, so that only place and checksum tell.
    attacks: dict[str, Callable[[Path, Path], object]] = {
        "copied": lambda path, other: shutil.copyfile(other, path),
        "cut": lambda path, _: path.write_bytes(path.read_bytes()[:-9]),
        "one digit up": lambda path, _: one_digit_up(path),
        "emptied": lambda path, _: path.write_bytes(b""),
    }
    with mock.patch.object(layout, "ROOT", results.folder), contextlib.redirect_stdout(io.StringIO()):
        for name, attack in attacks.items():
            for i, place in enumerate(places):
                for each in (place, places[i - 1]):
                    archives.write_record(path_of(each), {"fingerprint": "same", "rows": [{"value": repr(each)}]})
                attack(path_of(place), path_of(places[i - 1]))
                if archives.read_if_current(archives.read_json, path_of(place), "same") is not None:
                    lost.append(f"{name} {path_of(place).parent.name}")
                path_of(place).unlink()
    what = "files of local volumes, sharpness and samplers in the place of others, cut, changed: made again"
    return Row(THEME, what, len(attacks) * len(places), len(lost), "; ".join(lost[:5]))


def study_tables(base: Results) -> Row:
    """Put the tables of another study, with their records, in the place of a study's, and change them: no one reads them."""
    root, lost = base.folder.parent / "tables", []
    names = (
        layout.VOLUMES, layout.LOCAL_VOLUMES, layout.SHARPNESS, layout.SAMPLERS, layout.SLICES, layout.ORDERINGS,
        layout.CONFIDENCES,
    )  # fmt: skip

    def of_the_other_study(table: Path) -> None:
        for path in (table, table.with_suffix(".json")):
            shutil.copyfile(root / "paper" / "other" / path.name, path)

    def of_another_table(table: Path) -> None:
        other = table.with_name(layout.CUTOFFS)
        for path, source in ((table, other), (table.with_suffix(".json"), other.with_suffix(".json"))):
            shutil.copyfile(source, path)

    attacks: tuple[Change, ...] = (of_the_other_study, of_another_table, one_digit_up, recordless, unlisted)
    with mock.patch.object(layout, "ROOT", root):
        for name in names:
            for attack in attacks:
                for study in ("own", "other"):
                    for each in (name, layout.CUTOFFS):
                        path = layout.study_folder("paper", study) / each
                        tables.write_recorded_table(
                            path, ("repeat", "value"), [{"repeat": 0, "value": f"{study} {each} 1"}]
                        )
                table = layout.study_folder("paper", "own") / name
                assert tables.read_table(table, ("value",))
                attack(table)
                try:
                    tables.read_table(table, ("value",))
                except ResultsError:
                    continue
                lost.append(f"{name} {attack.__name__}")
    what = "tables of a study in the place of another's, changed, without records: refused"
    return Row(THEME, what, len(names) * len(attacks), len(lost), "; ".join(lost[:5]))


def company(base: Results) -> Row:
    """Run one repeat and then two, or the second one first: the tables are those of two repeats at once."""
    lost = []
    for order in ((0,), (1,)):
        results = Results(base.folder.parent / f"company_{order[0]}")
        code = results.run(repeats=order).code + results.run().code
        pairs = zip(
            results.tables()["volumes.csv"].splitlines(), base.tables()["volumes.csv"].splitlines(), strict=True
        )
        differ = sum(one != other for one, other in pairs)
        if code or differ or results.tables() != base.tables():
            lost.append(f"repeat {order[0]} first: {differ} rows differ")
    return Row(THEME, "one repeat, then two: the tables of two at once", 2, len(lost), "; ".join(lost))


def bits(base: Results, rounds: int) -> Row:
    """Flip one random bit in every minimum, block, record and table, and run all stages: the same tables."""
    rng, lost, times, results = np.random.default_rng(rounds), 0, 0, base.copy("bits")
    for _ in range(rounds):
        for path in results.files():
            content = bytearray(path.read_bytes())
            content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
            path.write_bytes(content)
            times += 1
        done = results.run()
        lost += done.code != 0 or results.tables() != base.tables() or bool(results.damaged())
    return Row(THEME, "one bit flipped in every stored file: made again", times, lost)
