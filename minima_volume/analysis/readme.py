"""The tables of README.md that follow from results and studies.mk, written between their markers."""

import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from minima_volume.analysis import published
from minima_volume.errors import ResultsError
from minima_volume.storage import archives, atomic, layout

ROOT = Path()
MINUS = "\N{MINUS SIGN}"


def studies(root: Path = ROOT) -> str:
    """Every study of every studies.mk with its question, and what its committed repeats took."""
    rows = []
    for path in sorted(root.glob("*/studies.mk")):
        for study, about in re.findall(r"^about\.(\w+) := (.+)$", path.read_text(), re.MULTILINE):
            record = layout.study_folder("paper", study) / "run.json"
            took = cost(archives.read_json(record)) if record.exists() else "not run yet"
            rows.append((f"`{path.parent.name}/`", f"`make {study}`", about, took))
    return _table(("folder", "target", "what it asks", "at paper scale"), rows)


def cost(record: Mapping[str, Any]) -> str:
    """Repeats, directions, time on one core or GPU, and the machine: `3 repeats of 500 directions, 46 min each on …`."""
    settings, repeats = record["settings"], len(record["seeds"])
    left = len(settings.get("later_levels", ()))
    only = f", first {len(settings['levels'])} of {len(settings['levels']) + left} levels" if left else ""
    each = sum(record["task_seconds"].values()) / repeats
    device = str(record["device"])
    machine = f"one core of {device[5:].split(',')[0]}" if device.startswith("cpu: ") else device
    many = "s" * (repeats > 1)
    return (
        f"{repeats} repeat{many} of {settings['n_directions']:,} directions{only}, {_duration(each)} each on {machine}"
    )


def comparison(root: Path = ROOT) -> str:
    """Each published study in one row: how many volumes agree, and the slopes in the base landscape."""
    try:
        volumes, trends = published.compare_all()
    except ResultsError:
        return "No published study has been run at paper scale yet."
    rows = [
        (f"`{study}`", *_counts(here), _losses(here), *_slopes(trends[trends["study"] == study]))
        for study, here in volumes.groupby("study")
    ]
    header = (
        "study", "volumes compared", "within one grid step", "else within two errors", "neither",
        "loss at the minima, ours ÷ published", "slope, published", "slope, ours", "direction of volume",
        "direction of test loss",
    )  # fmt: skip
    return _table(header, rows)


def _counts(volumes: pd.DataFrame) -> list[str]:
    known = volumes.loc[volumes["within"] != "", "within"]
    return [str(len(known)), *(str((known == name).sum()) for name in ("a grid step", "two errors", "neither"))]


def _losses(volumes: pd.DataFrame) -> str:
    """Geometric mean of the ratios of the minima's own losses, over the rows that are compared."""
    ratio = float(np.exp(np.log(volumes["ours_loss_at_zero"] / volumes["published_loss_at_zero"]).mean()))
    return f"{ratio:.2g}" if np.isfinite(ratio) else "—"


def _slopes(trends: pd.DataFrame) -> tuple[str, str, str, str]:
    """Slopes and directions at the largest threshold of the base landscape, and the direction of the test loss."""
    base = trends[trends["held"] == "landscape 0"].sort_values("threshold").tail(1)
    tests = trends[trends["quantity"] == "test loss"]
    volume = tuple(
        _number(float(base[f"{who}_slope"].iloc[0]), float(base[f"{who}_slope_se"].iloc[0])) if len(base) else "—"
        for who in ("published", "ours")
    )
    return volume[0], volume[1], _directions(base), _directions(tests)


def _directions(trend: pd.DataFrame) -> str:
    """`falls in both`, or what each does."""
    if trend.empty:
        return "—"
    theirs, ours = trend["published_direction"].iloc[0], trend["ours_direction"].iloc[0]
    return f"{ours} in both" if ours == theirs else f"{theirs} published, {ours} here"


def _number(value: float, error: float) -> str:
    """A number with its error, to two digits of the error."""
    digits = min(6, max(0, 1 - math.floor(math.log10(error)))) if error > 0 else 2
    return f"{value:+.{digits}f} ± {error:.{digits}f}".replace("-", MINUS)


def _duration(seconds: float) -> str:
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= 1.5 * unit:
            return f"{seconds / unit:.{int(seconds < 10 * unit)}f} {name}"
    return f"{seconds:.0f} s"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:]])


TABLES: dict[str, Callable[[Path], str]] = {"studies": studies, "comparison": comparison}


def render(text: str, root: Path = ROOT) -> str:
    """A text with every table written anew; raises ResultsError if one of the pairs of markers is not there once."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}: written by `make readme` -->", f"<!-- end of {name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ResultsError(f"Expected the lines {begin} and {end} once in README.md, got another: put them back.")
        before, after = text.split(begin)[0], text.split(end)[1]
        text = f"{before}{begin}\n\n{table(root)}\n\n{end}{after}"
    return text


def main() -> Path:
    """Bring README.md up to date."""
    path = ROOT / "README.md"
    text = path.read_text()
    new = render(text)
    if new != text:
        with atomic.atomic_write(path) as scratch:
            scratch.write_text(new)
    return path


if __name__ == "__main__":
    try:
        print(f"{layout.display_path(main())} is up to date with the results")
    except ResultsError as error:
        sys.exit(f"error: {error}")
