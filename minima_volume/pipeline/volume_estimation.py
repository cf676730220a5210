"""Stage 4: turn radii into volumes, repeat by repeat, and join the repeats into the tables of the study."""

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Table

from minima_volume.errors import ResultsError
from minima_volume.estimators.diagnostics import TRUST, Trust, diagnose
from minima_volume.estimators.radial import Floats
from minima_volume.estimators.volume import Volume, estimate_volume, log_radii
from minima_volume.pipeline import cli
from minima_volume.pipeline.minima import folder_of, load_failure, load_minima, training_fingerprint
from minima_volume.pipeline.provenance import run_record
from minima_volume.pipeline.random_perturbs import load_crossings, ray_fingerprint
from minima_volume.pipeline.repeat import Repeat
from minima_volume.pipeline.study import Study
from minima_volume.storage import archives, atomic, layout, tables
from minima_volume.text import encodable


def volume_estimation(run: cli.StageRun) -> None:
    """Run stage 4: write volumes.csv of each repeat; with --gather the tables of the study and run.json."""
    if run.gather:
        gather_tables(run.repeats, run.scale)
    else:
        write_volumes(run.repeats, run.scale)


def _volume_rows(repeat: Repeat, scale: str) -> Iterator[dict[str, object]]:
    """Yield one row per minimum, landscape, threshold and metric."""
    study = repeat.study
    minima = load_minima(repeat, scale)
    crossings, norms = load_crossings(repeat, minima, scale)
    for level, (info, minimum) in minima.items():
        arrays = crossings[level]
        for j, target in enumerate(study.targets(level)):
            found = estimate_volume(
                arrays["coefficients"][:, j], norms, minimum.layout.n_params,
                recrossed=arrays["recrossed"][:, j], grid_directions=study.grid_directions,
            )  # fmt: skip
            shown = target.threshold if target.metric == "loss" else round(1 - target.threshold, 10)
            yield {
                **info, **vars(found), **_verdict(arrays["coefficients"][:, j], norms, minimum.layout.n_params, found),
                "landscape": target.size - study.base, "threshold": shown, "metric": target.metric,
                "n_params": minimum.layout.n_params, "loss_at_zero": float(arrays["at_zero"][j]),
            }  # fmt: skip


def _verdict(coefficients: Floats, norms: Floats, n_params: int, found: Volume) -> dict[str, object]:
    """Return the columns that say whether ln E[rⁿ] can be trusted; see `diagnostics.Verdict`."""
    if found.status == "unconverged":
        return {"verdict": "unconverged"}
    censored = found.n_directions - found.n_crossed
    said = diagnose(n_params * log_radii(coefficients, norms), n_censored=censored, n_recrossed=found.n_recrossed)
    return {name: getattr(said, name) for name in ("effective_size", "largest_share", "doubling", "pareto_k")} | {
        "verdict": said.word
    }


def write_volumes(repeats: Sequence[Repeat], scale: str) -> None:
    """Write volumes.csv of each repeat, then print all of them."""
    paths = {repeat.number: folder_of(repeat, scale) / layout.VOLUMES for repeat in repeats}
    for repeat in repeats:
        path = paths[repeat.number]
        text = tables.table_text(layout.VOLUME_COLUMNS, _volume_rows(repeat, scale))
        tables.write_tables(path.with_suffix(".json"), {path: text}, {})
    for repeat in repeats:
        print_volumes(repeat.study, paths[repeat.number], f"repeat {repeat.number}")


def current_repeats(asked: Sequence[Repeat], scale: str) -> list[Repeat]:
    """Return the finished repeats that have the study's present settings, and print which others are left out.

    Args:
        asked: Repeats of one study that must be among them, at least one.
        scale: `quick` or `paper`.

    Raises:
        ResultsError: One of these has other settings or is not finished.
    """
    study, settings = asked[0].study, asked[0].settings
    finished = layout.repeats_with(scale, study.name, layout.VOLUMES)
    required = {repeat.number for repeat in asked}
    done = []
    for number in sorted({*finished, *required}):
        repeat = Repeat(study, number, settings)
        misfit = _misfit(repeat, scale)
        if misfit and number in required:
            raise ResultsError(f"{misfit} Delete it and run the same make target.")
        if misfit:
            print(f"{study.name}: repeat {number} was made with other settings and is left out. {misfit}")
        else:
            done.append(repeat)
    return done


def _misfit(repeat: Repeat, scale: str) -> str | None:
    """Return a sentence about the record of a repeat that has other settings, or None if both records fit."""
    levels, folder = repeat.study.levels, folder_of(repeat, scale)
    trained = {str(level): training_fingerprint(repeat, level) for level in levels}
    crossed = {str(level): ray_fingerprint(repeat, level) for level in levels}
    measured = {"n_directions": repeat.study.n_directions, "fingerprints": crossed}
    try:
        minima, rays = (archives.read_json(folder / name) for name in (layout.MINIMA_RECORD, layout.RAYS_RECORD))
    except ResultsError as error:
        return str(error).removesuffix(f" {archives.RERUN}")
    found = {level: info.get("fingerprint") for level, info in minima.items() if isinstance(info, dict)}
    if found != trained:
        return f"Expected the minima of the study's present settings in {folder / layout.MINIMA_RECORD}, got others."
    if {name: rays.get(name) for name in measured} != measured:
        return f"Expected the rays of the study's present settings in {folder / layout.RAYS_RECORD}, got others."
    return None


def gather_tables(asked: Sequence[Repeat], scale: str) -> None:
    """Join all finished repeats into the tables of the study, write run.json, and print the volumes.

    If minima could not be trained, failures.txt names them; otherwise the file is removed.

    Args:
        asked: The repeats that must be among them, at least one.
        scale: `quick` or `paper`.

    Raises:
        ResultsError: One of these has other settings or is not finished.
    """
    study = asked[0].study
    folder = layout.study_folder(scale, study.name)
    done = current_repeats(asked, scale)
    texts = {}
    for name, columns in ((layout.CUTOFFS, layout.CUTOFF_COLUMNS), (layout.VOLUMES, layout.VOLUME_COLUMNS)):
        rows = [row for repeat in done for row in tables.read_table(folder_of(repeat, scale) / name, columns)]
        texts[folder / name] = tables.table_text(columns, rows)
    failed = failures(done, scale)
    if failed:
        atomic.write_text(folder / layout.FAILURES, "\n".join(failed) + "\n")
    else:
        (folder / layout.FAILURES).unlink(missing_ok=True)
    tables.write_tables(folder / layout.RUN_RECORD, texts, {**run_record(study, scale, done), "failed": failed})
    print_volumes(study, folder / layout.VOLUMES, f"{len(done)} repeat{'s' * (len(done) > 1)}")


def failures(repeats: Sequence[Repeat], scale: str) -> list[str]:
    """Return a sentence for every minimum whose training diverged."""
    return [
        found["failed"]
        for r in repeats
        for level in r.study.levels
        if (found := load_failure(r, scale, level)) is not None
    ]


def _mean_error(errors: Iterable[str]) -> str:
    """Return the mean of standard errors; a dash if one is missing, as along a single direction."""
    known = [float(error) if error else math.nan for error in errors]
    return "—" if math.isnan(fmean(known)) else f"{fmean(known):,.0f}"


def print_volumes(study: Study, path: Path, which: str) -> None:
    """Print log volume ± error and test accuracy of every level at the first threshold, averaged over repeats.

    Below them, a sentence explains each verdict in the table.

    Args:
        study: The study at its scale.
        path: A table of volumes.
        which: What the repeats are called in the title.
    """
    rows = [row for row in tables.read_table(path, layout.VOLUME_COLUMNS) if row["landscape"] == "0"]
    chosen = [row for row in rows if row["metric"] == "loss" and float(row["threshold"]) == study.thresholds[0]]
    data = chosen[0]["data"] if chosen else study.data
    title = f"{study.title} — {data}, loss threshold {study.thresholds[0]:g}, {which}"
    table = Table(title=encodable(title, sys.stdout), title_justify="left")
    for name in ("level", "log volume (nats)", "typical log volume (nats)", "test accuracy", "log volume is"):
        table.add_column(name, justify="right")
    shown: set[Trust] = set()
    for level in study.levels:
        here = [row for row in chosen if row["level"] == str(level)]
        good = [row for row in here if row["log_volume"]]
        cells = ["—", "—"]
        if good:
            cells = [f"{fmean(float(r[name]) for r in good):,.0f} ± {_mean_error(r[name + '_se'] for r in good)}"
                     for name in ("log_volume", "typical_log_volume")]  # fmt: skip
        accuracy = f"{fmean(float(row['test_accuracy']) for row in here):.3f}" if here else "—"
        verdicts = {TRUST["verdict"][row["verdict"]] for row in here}
        labels = ", ".join(sorted(trust.label for trust in verdicts))
        # Spelled here and not by the encoder, so that the columns stay aligned.
        table.add_row(*(encodable(cell, sys.stdout) for cell in (str(level), *cells, accuracy, labels)))
        shown |= verdicts
    console = Console(file=sys.stdout, width=110)
    # Printed by Python, because rich ends the process if nobody reads what it prints.
    with console.capture() as captured:
        console.print(table)
        for trust in sorted(shown, key=lambda trust: trust.label):
            console.print(encodable(f"{trust.label}: {trust.sentence}", sys.stdout))
    print(captured.get(), end="")
