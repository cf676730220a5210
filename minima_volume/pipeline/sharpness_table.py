"""Optional stage: measure the sharpness of every stored minimum on its own training samples."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

from minima_volume.pipeline import cli
from minima_volume.pipeline.minima import Minima, folder_of, load_minima, training_fingerprint
from minima_volume.pipeline.provenance import common_record
from minima_volume.pipeline.study import Repeat, read_studies
from minima_volume.sampling.potential import NetworkPotential
from minima_volume.sharpness.coordinates import COORDINATES, Coordinates, in_coordinates
from minima_volume.sharpness.curvature import Matrix, curvature
from minima_volume.sharpness.fisher_rao import fisher_rao_norm
from minima_volume.sharpness.learning_coefficient import learning_coefficient
from minima_volume.sharpness.worst_case import worst_case_sharpness
from minima_volume.storage import archives, layout, tables

# Training samples above which the first ones stand for all, and above which no chain is run: it needs hundreds of gradients.
MOST_SAMPLES, MOST_CHAIN_SAMPLES = 2048, 1000
VECTORS = 32
# Radii of the worst case: those that SAM and its adaptive variant are trained with; in filter norms as in "elementwise".
RADII: dict[Coordinates, float] = {"raw": 0.05, "filter": 0.5, "elementwise": 0.5}
MATRICES: tuple[Matrix, ...] = ("hessian", "gauss_newton")
Row = dict[str, Any]


class Measured(NamedTuple):
    """The rows of one minimum and the processor time that they took."""

    level: int
    rows: list[Row]
    cpu_seconds: float


def measure_minimum(repeat: Repeat, scale: str, minima: Minima, level: int) -> Measured:
    """Return the rows of one minimum, from its file if that is current.

    Args:
        repeat: The repeat.
        scale: `quick` or `paper`.
        minima: The minima of the repeat.
        level: The level of the minimum.
    """
    path = layout.sharpness_path(folder_of(repeat, scale), level)
    wanted = archives.fingerprint(
        training_fingerprint(repeat, level), MOST_SAMPLES, MOST_CHAIN_SAMPLES, VECTORS, dict(RADII)
    )
    stored = archives.read_if_current(archives.read_json, path, wanted)
    if not stored:
        started = time.thread_time()
        rows = list(_rows(repeat, minima, level))
        stored = {"fingerprint": wanted, "rows": rows, "cpu_seconds": round(time.thread_time() - started, 1)}
        archives.write_record(path, stored)
    return Measured(level, stored["rows"], stored["cpu_seconds"])


def _rows(repeat: Repeat, minima: Minima, level: int) -> Iterator[Row]:
    """Measure one minimum."""
    info, minimum = minima[level]
    n_train = repeat.study.n_train(level)
    samples = repeat.samples.part(0, min(n_train, MOST_SAMPLES))
    common = {
        "level": level, "n_train": n_train, "n_samples": len(samples), "n_params": minimum.layout.n_params,
        **{name: info.get(name) for name in ("train_loss", "test_loss", "test_accuracy")},
    }  # fmt: skip

    def row(measure: str, coordinates: str, value: float, error: float | None = None) -> Row:
        return common | {"measure": measure, "coordinates": coordinates, "value": value, "error": error}

    largest = {}
    for coordinates in COORDINATES:
        here = in_coordinates(minimum, coordinates)
        for matrix in MATRICES:
            found = curvature(repeat.model, here, samples, matrix, n_vectors=VECTORS)
            largest[coordinates, matrix] = found.largest
            yield row(f"{matrix}_max", coordinates, found.largest)
            yield row(f"{matrix}_trace", coordinates, found.trace, found.trace_se)
        potential = NetworkPotential(repeat.model, here, samples)
        yield row("worst_case", coordinates, worst_case_sharpness(potential, RADII[coordinates]))
    filters = in_coordinates(minimum, "filter")
    yield row("log_scales", "filter", float(filters.scales.double().log().sum()))
    yield row("fisher_rao", "any", fisher_rao_norm(repeat.model, minimum, samples))
    if n_train <= MOST_CHAIN_SAMPLES:
        raw = NetworkPotential(repeat.model, in_coordinates(minimum, "raw"), samples)
        chains = learning_coefficient(raw, n_train, largest["raw", "hessian"])
        # Chains that still drift are off by about the drift.
        yield row("learning_coefficient", "raw", chains.value, max(chains.se, abs(chains.drift)))


def sharpness(run: cli.StageRun) -> None:
    """Measure the sharpness of the stored minima of a study, and write sharpness.csv with its record."""
    rows, seconds, study = [], {}, run.study
    for repeat in run.repeats:
        minima = load_minima(repeat, run.scale)
        tasks = [partial(measure_minimum, repeat, run.scale, minima, level) for level in minima]
        common = {"study": study.name, "data": study.data, "model": study.model, "repeat": repeat.number}
        found = list(run.each(tasks, "minima"))
        rows += [common | row for one in found for row in one.rows]
        seconds[repeat.number] = {one.level: one.cpu_seconds for one in found}
    path = layout.study_folder(run.scale, study.name) / layout.SHARPNESS
    record = common_record(study, run.scale, run.repeats) | {
        "command": f"make {study.name}.sharpness SCALE={run.scale}", "cpu_seconds": seconds,
        "settings": {"samples": MOST_SAMPLES, "chain_samples": MOST_CHAIN_SAMPLES, "vectors": VECTORS, "radii": dict(RADII)},
    }  # fmt: skip
    tables.write_tables(path.with_suffix(".json"), {path: tables.table_text(layout.SHARPNESS_COLUMNS, rows)}, record)


if __name__ == "__main__":
    cli.main({name: study for rows in read_studies().values() for name, study in rows.items()}, sharpness)
