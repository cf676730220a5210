"""Write docs/other-models.md: what becomes of other people's models, and how many first crossings are missed.

Usage: `python -m benchmarks.zoo`. It takes about ten minutes on one core.
"""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minima_volume import measure_volume
from minima_volume.networks.directions import draw_directions
from tests.measure.zoo import RAYS as CASE_RAYS
from tests.measure.zoo import SCAN, Case
from tests.measure.zoo.audit import HELD_OUT
from tests.measure.zoo.cases import ZOO
from tests.measure.zoo.curves import NETWORKS, earlier_crossings, narrow_sines
from tests.measure.zoo.outcome import Outcome, outcome

PAGE = Path(__file__).resolve().parent.parent / "docs" / "other-models.md"
PROMISE, RAYS = 0.01, 200
HEAD = f"""# Other people's models

This page is written by `python -m benchmarks.zoo`. Each case is a way in which people build, load or call models; they
come from public issue trackers and from our own trials. A case is either measured or refused. *Measured* means that n ln r
along {CASE_RAYS} rays agrees with a plain solver: a float64 scan of {SCAN} points and bisection. The error is the largest
difference in nats, and the promise is 0.01. *Refused* means that `measure_volume` raises the sentence that is shown. The
cases are tests: `tests/measure/test_zoo.py`. *Doubted* means that the loss jumps so often along a ray that crossings are
missed, and that the verdict says so.
"""
CROSSINGS = """
## First crossings

A ray leaves the basin where its loss first exceeds the threshold. The scan looks at 13 nodes and, between them, wherever
the curve has room for a bump. Here {rays} rays of each network are compared with dense scans of 2,000 points in float64 up
to the crossing that was reported. *Missed* counts rays that cross earlier by more than 0.01 nats. The rule was tuned on the
first eight networks, and on nothing of the others, which are marked by an asterisk.

| network | n | missed | of them without a look between the nodes | points per ray | what the result says |
|---|---|---|---|---|---|
"""


def cell(text: str) -> str:
    """Return text for a cell of a table."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;")


def verdict(case: Case, found: Outcome) -> tuple[str, str]:
    """Return the word under which a case counts, and its cell."""
    if found.crash:
        return "failed", cell(found.crash)
    if found.sentence:
        return ("refused" if case.refusal else "refused by mistake"), cell(found.sentence)
    if not case.compared:
        return "measured", "measured, in the coordinates of a preconditioner"
    if case.doubted and found.doubt:
        return "doubted", f"measured, error {found.error:.1g} nats; the verdict says that the number may be too high"
    right = found.error <= PROMISE
    note = f" {cell(found.notes.partition('Audited')[0])}".rstrip()
    return ("measured" if right else "wrong"), f"measured, error {found.error:.1g} nats.{note}"


def cases() -> Iterator[str]:
    """Yield the lines of the table of cases, with the counts first."""
    rows, words = [], []
    for case in ZOO.cases:
        word, text = verdict(case, outcome(case))
        words.append(word)
        rows.append(f"| {case.kind} | {cell(case.name)} | {text} |")
        print(word, case.kind, case.name, flush=True)
    counts = {
        name: words.count(name) for name in ("measured", "refused", "doubted", "wrong", "refused by mistake", "failed")
    }
    yield f"\n{len(rows)} cases: " + ", ".join(f"{count} {name}" for name, count in counts.items()) + ".\n"
    yield from ("| kind | case | outcome |", "|---|---|---|", *rows)


def crossings(model: Any, loss: Any, data: Any, threshold: float) -> tuple[Any, list[float]]:
    """Measure, and return the measurement and c of each ray; NaN for a censored one."""
    found = measure_volume(model, loss, data, threshold=threshold, n_directions=RAYS, progress=False)
    norms = draw_directions(0, range(RAYS), found.n_params).double().norm(dim=1).numpy()
    return found, np.where(found.censored, np.nan, np.exp(found.log_radii) / norms).tolist()


def first_crossings() -> Iterator[str]:
    """Yield the rows of the table of first crossings."""
    from minima_volume.crossings import model_sweep, refine

    points: list[float] = []
    real, budget = model_sweep.cross_block, refine.BUDGET

    def counting(*call: Any) -> Any:
        found = real(*call)
        points.extend(found[0][0].evaluations.tolist())
        return found

    model_sweep.cross_block = counting
    networks = [*NETWORKS, ("untrained sine network, one sample", narrow_sines, 0.3)]
    networks += [(f"{name} *", build, rise) for name, build, rise in HELD_OUT]
    for name, build, rise in networks:
        missed = {}
        for look in (False, True):
            refine.BUDGET = budget if look else 0
            model, loss, data = build()
            threshold = float(loss(model(data[0]), data[1]).detach()) + rise
            points.clear()
            found, c = crossings(model, loss, data, threshold)
            missed[look] = earlier_crossings(model, loss, data, threshold, c)
        said = next(note for note in found.notes if "udited" in note)
        if "may be too high" in found.verdict.sentence:
            said += " **The number may be too high.**"
        yield (f"| {name} | {found.n_params:,} | {missed[True]} | {missed[False]} | {np.mean(points):.1f} | {said} |")
        print(name, missed, flush=True)
    model_sweep.cross_block = real


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    lines = [HEAD.rstrip(), *cases(), CROSSINGS.format(rays=RAYS).rstrip(), *first_crossings()]
    PAGE.write_text("\n".join(lines) + "\n")
