"""Optional stage: measure the sharpness of every stored minimum on its own training samples."""

from collections.abc import Iterator
from typing import Any

from minima_volume.pipeline import cli
from minima_volume.pipeline.minima import Minima, folder_of, training_fingerprint
from minima_volume.pipeline.minimum_tables import MinimumRows, Row, write_minimum_table
from minima_volume.pipeline.repeat import Repeat
from minima_volume.pipeline.study import read_studies
from minima_volume.sampling.potential import NetworkPotential
from minima_volume.sharpness.coordinates import COORDINATES, Coordinates, in_coordinates
from minima_volume.sharpness.curvature import Matrix, curvature
from minima_volume.sharpness.fisher_rao import fisher_rao_norm
from minima_volume.sharpness.learning_coefficient import learning_coefficient
from minima_volume.sharpness.worst_case import worst_case_sharpness
from minima_volume.storage import archives, layout

# Training samples above which the first ones stand for all, and above which no chain is run: it needs hundreds of gradients.
MOST_SAMPLES, MOST_CHAIN_SAMPLES = 2048, 1000
VECTORS = 32
STEPS, STARTS = 20, 2  # of gradient ascent
LOCALISATION, CHAINS, BURN_IN, KEPT = 100.0, 4, 200, 200  # of Langevin chains
# Radii of the worst case: those that SAM and its adaptive variant are trained with; in filter norms as in "elementwise".
RADII: dict[Coordinates, float] = {"raw": 0.05, "filter": 0.5, "elementwise": 0.5}
MATRICES: tuple[Matrix, ...] = ("hessian", "gauss_newton")


def _measures() -> dict[str, Any]:
    """Return what the measures depend on besides the minimum, for fingerprints and records."""
    return {
        "samples": MOST_SAMPLES, "chain_samples": MOST_CHAIN_SAMPLES, "vectors": VECTORS, "radii": dict(RADII),
        "ascent": {"steps": STEPS, "starts": STARTS},
        "chains": {"localisation": LOCALISATION, "number": CHAINS, "burn_in": BURN_IN, "kept": KEPT},
    }  # fmt: skip


def minimum_rows(repeat: Repeat, scale: str, minima: Minima, level: int) -> MinimumRows:
    """Return what measures one minimum.

    Args:
        repeat: The repeat.
        scale: `quick` or `paper`.
        minima: The minima of the repeat.
        level: The level of the minimum.
    """
    path = layout.sharpness_path(folder_of(repeat, scale), level)
    wanted = archives.fingerprint(training_fingerprint(repeat, level), _measures())
    return MinimumRows(shared=minima, repeat=repeat, level=level, path=path, fingerprint=wanted, measure=_rows)


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
        yield row(
            "worst_case", coordinates, worst_case_sharpness(potential, RADII[coordinates], steps=STEPS, starts=STARTS)
        )
    filters = in_coordinates(minimum, "filter")
    yield row("log_scales", "filter", float(filters.scales.double().log().sum()))
    yield row("fisher_rao", "any", fisher_rao_norm(repeat.model, minimum, samples))
    if n_train <= MOST_CHAIN_SAMPLES:
        raw = NetworkPotential(repeat.model, in_coordinates(minimum, "raw"), samples)
        chains = learning_coefficient(
            raw,
            n_train,
            largest["raw", "hessian"],
            localisation=LOCALISATION,
            chains=CHAINS,
            burn_in=BURN_IN,
            steps=KEPT,
        )
        # Chains that still drift are off by about the drift.
        yield row("learning_coefficient", "raw", chains.value, max(chains.se, abs(chains.drift)))


def sharpness(run: cli.StageRun) -> None:
    """Measure the sharpness of the stored minima of a study, and write sharpness.csv with its record."""
    command = f"make {run.study.name}.sharpness SCALE={run.scale}"
    record = {"command": command, "measures": _measures()}
    write_minimum_table(run, minimum_rows, layout.SHARPNESS, layout.SHARPNESS_COLUMNS, record)


if __name__ == "__main__":
    cli.main({name: study for rows in read_studies().values() for name, study in rows.items()}, sharpness)
