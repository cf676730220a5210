"""Stage 4: tables of volumes, repeat by repeat and joined."""

import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Table

from minima_volume.errors import ResultsError
from minima_volume.estimators.diagnostics import diagnose
from minima_volume.estimators.radial import Floats
from minima_volume.estimators.volume import Volume, estimate_volume, log_radii
from minima_volume.pipeline import cli
from minima_volume.pipeline.minima import folder_of, load_failure, load_minima, training_fingerprint
from minima_volume.pipeline.provenance import run_record
from minima_volume.pipeline.random_perturbs import load_crossings, ray_fingerprint
from minima_volume.pipeline.study import Repeat, Study
from minima_volume.storage import archives, atomic, layout, tables


def _volume_rows(repeat: Repeat, scale: str) -> Iterator[dict[str, object]]:
    """One row per minimum × landscape × threshold × metric."""
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
    """Whether ln E[rⁿ] can be trusted, as columns; see `verdict.Verdict`."""
    if found.status == "unconverged":
        return {"verdict": "unconverged"}
    censored = found.n_directions - found.n_crossed
    said = diagnose(n_params * log_radii(coefficients, norms), n_censored=censored, n_recrossed=found.n_recrossed)
    return {name: getattr(said, name) for name in ("effective_size", "largest_share", "doubling", "pareto_k")} | {
        "verdict": said.word
    }


def write_volumes(repeats: Sequence[Repeat], scale: str) -> None:
    """volumes.csv of each repeat, printed as it is done."""
    for repeat in repeats:
        path = folder_of(repeat, scale) / "volumes.csv"
        text = tables.table_text(layout.VOLUME_COLUMNS, _volume_rows(repeat, scale))
        tables.write_tables(path.with_suffix(".json"), {path: text}, {})
        print_volumes(repeat.study, path, f"repeat {repeat.number}")


def current_repeats(study: Study, scale: str, asked: Collection[int]) -> list[Repeat]:
    """Repeats whose tables come from the study's present settings; says which others it leaves out.

    Raises ResultsError if one of the repeats `asked` for is among these.
    """
    folders = layout.study_folder(scale, study.name).glob("repeat_*/volumes.csv")
    numbers = {int(path.parent.name.split("_")[1]) for path in folders if path.parent.name[7:].isdecimal()}
    done = []
    for number in sorted({*numbers, *asked}):
        misfit = _misfit(Repeat(study, number), scale)
        if misfit and number in asked:
            raise ResultsError(f"{misfit} Delete it and run the same make target.")
        if misfit:
            print(f"{study.name}: repeat {number} was made with other settings and is left out. {misfit}")
        else:
            done.append(Repeat(study, number))
    return done


def _misfit(repeat: Repeat, scale: str) -> str | None:
    """Which of a repeat's records does not carry the fingerprints of its present settings, None if both do."""
    levels, folder = repeat.study.levels, folder_of(repeat, scale)
    trained = {str(level): training_fingerprint(repeat, level) for level in levels}
    crossed = {str(level): ray_fingerprint(repeat, level) for level in levels}
    measured = {"n_directions": repeat.study.n_directions, "fingerprints": crossed}
    try:
        minima, rays = (archives.read_json(folder / name) for name in ("minima.json", "rays.json"))
    except ResultsError as error:
        return str(error).removesuffix(f" {archives.RERUN}")
    found = {level: info.get("fingerprint") for level, info in minima.items() if isinstance(info, dict)}
    if found != trained:
        return f"Expected the minima of the study's present settings in {folder / 'minima.json'}, got others."
    if {name: rays.get(name) for name in measured} != measured:
        return f"Expected the rays of the study's present settings in {folder / 'rays.json'}, got others."
    return None


def gather_tables(asked: Sequence[Repeat], scale: str) -> None:
    """Join the repeats that are done into the study's tables, write run.json, and print the result.

    `failures.txt` names the minima that could not be trained; it is there only if there are any.
    """
    study = asked[0].study
    folder = layout.study_folder(scale, study.name)
    done = current_repeats(study, scale, {repeat.number for repeat in asked})
    texts = {}
    for name, columns in (("cutoffs.csv", layout.CUTOFF_COLUMNS), ("volumes.csv", layout.VOLUME_COLUMNS)):
        rows = [row for repeat in done for row in tables.read_table(folder_of(repeat, scale) / name, columns)]
        texts[folder / name] = tables.table_text(columns, rows)
    failed = failures(done, scale)
    if failed:
        atomic.write_text(folder / "failures.txt", "\n".join(failed) + "\n")
    else:
        (folder / "failures.txt").unlink(missing_ok=True)
    tables.write_tables(folder / "run.json", texts, {**run_record(study, scale, done), "failed": failed})
    print_volumes(study, folder / "volumes.csv", f"{len(done)} repeats")


def failures(repeats: Sequence[Repeat], scale: str) -> list[str]:
    """Sentences about the levels whose training gave no minimum."""
    return [
        found["failed"]
        for r in repeats
        for level in r.study.levels
        if (found := load_failure(r, scale, level)) is not None
    ]


def print_volumes(study: Study, path: Path, which: str) -> None:
    """Print log volume ± error and test accuracy of every level at the first threshold, repeats averaged."""
    rows = [row for row in tables.read_table(path, layout.VOLUME_COLUMNS) if row["landscape"] == "0"]
    chosen = [row for row in rows if row["metric"] == "loss" and float(row["threshold"]) == study.thresholds[0]]
    data = chosen[0]["data"] if chosen else study.data
    table = Table(
        title=f"{study.title} — {data}, loss threshold {study.thresholds[0]:g}, {which}", title_justify="left"
    )
    for name in ("level", "log volume (nats)", "typical log volume (nats)", "test accuracy", "status"):
        table.add_column(name, justify="right")
    for level in study.levels:
        here = [row for row in chosen if row["level"] == str(level)]
        good = [row for row in here if row["log_volume"]]
        cells = ["—", "—"]
        if good:
            cells = [f"{fmean(float(r[name]) for r in good):,.0f} ± {fmean(float(r[name + '_se']) for r in good):,.0f}"
                     for name in ("log_volume", "typical_log_volume")]  # fmt: skip
        accuracy = f"{fmean(float(row['test_accuracy']) for row in here):.3f}" if here else "—"
        status = ", ".join(sorted({row["status"] for row in here}))
        table.add_row(str(level), *cells, accuracy, status)
    Console(file=sys.stdout, width=110).print(table)


def volume_estimation(run: cli.StageRun) -> None:
    """Crossings -> volumes.csv of each repeat; with --gather the study's tables and run.json from all repeats done."""
    if run.gather:
        gather_tables(run.repeats, run.scale)
    else:
        write_volumes(run.repeats, run.scale)
