"""ln γ_σ of every stored minimum by subset simulation, which needs no rays.

Every minimum is measured at the study's first threshold in the base landscape and, if it was trained on more samples, in
the landscape of its own training samples; and once more in the base landscape with the scales of the first level's minimum,
so that all minima share one unit of length. Widths rise until ln γ falls below a limit, and lie closer where it falls fast.

A study of landscapes beyond the training sets measures every minimum in all of them, in both units and at one width.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any, NamedTuple

import torch

from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.reduction import reduce_first_layer
from minima_volume.pipeline import cli
from minima_volume.pipeline.minima import Minima, folder_of, training_fingerprint
from minima_volume.pipeline.minimum_tables import MinimumRows, Row, write_minimum_table
from minima_volume.pipeline.repeat import Repeat
from minima_volume.pipeline.study import Study
from minima_volume.sampling.potential import NetworkPotential
from minima_volume.sampling.subset import SubsetSettings, subset_simulation
from minima_volume.storage import archives, layout

SIGMAS = (0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)
# If ln γ is above the first of these at one width and below the second at the next, up to so many widths between them are
# measured as well: on modular addition all of the fall lies there.
SHALLOW, DEEP, MOST_BETWEEN = -1.0, -9.0, 2
# Samples of a landscape above which it is left out, and the same for landscapes of a minimum's own. A run visits tens of
# thousands of points, and the loss over 6,000 samples takes 20 ms on one core.
MOST_SAMPLES, MOST_OWN_SAMPLES = 6000, 2000
# The same for landscapes beyond the training sets, of which there are tens, and the width there: the widest at which no run
# on the committed minima of MNIST and of spirals left a doubt, in base and own landscapes.
MOST_BEYOND_SAMPLES, BEYOND_SIGMAS = 200, (0.05,)


class Effort(NamedTuple):
    """How a landscape is sampled, and the ln γ in nats below which wider steps are not measured."""

    settings: SubsetSettings
    deepest: float


# The effort for landscapes of up to so many samples.
EFFORTS = {
    500: Effort(SubsetSettings(floor=-30.0), -10.0),
    MOST_SAMPLES: Effort(SubsetSettings(particles=64, moves=8, floor=-15.0), -5.0),
}


def _efforts() -> dict[str, Any]:
    """Return the efforts as plain values, for fingerprints and records."""
    return {str(size): asdict(effort.settings) | {"deepest": effort.deepest} for size, effort in EFFORTS.items()}


# Which minimum's filter norms are the unit of length.
OWN, FIRST = "own", "first"


def minimum_rows(repeat: Repeat, scale: str, minima: Minima, level: int) -> MinimumRows:
    """Return what measures one minimum.

    Args:
        repeat: The repeat.
        scale: `quick` or `paper`.
        minima: The minima of the repeat.
        level: The level of the minimum.
    """
    path, study = layout.local_path(folder_of(repeat, scale), level), repeat.study
    wanted = archives.fingerprint(
        training_fingerprint(repeat, level), training_fingerprint(repeat, min(minima)), list(SIGMAS),
        [SHALLOW, DEEP, MOST_BETWEEN], MOST_OWN_SAMPLES,
        _efforts(), study.thresholds[0], study.landscapes, study.normalise,
        *([study.landscapes_of(level), MOST_BEYOND_SAMPLES, BEYOND_SIGMAS] if study.landscapes == "beyond" else []),
    )  # fmt: skip
    return MinimumRows(shared=minima, repeat=repeat, level=level, path=path, fingerprint=wanted, measure=_rows)


def _rows(repeat: Repeat, minima: Minima, level: int) -> Iterator[Row]:
    """Measure one minimum in its landscapes and units."""
    study, (info, minimum) = repeat.study, minima[level]
    units = {OWN: minimum, FIRST: replace(minimum, scales=minima[min(minima)][1].scales)}
    sigmas = BEYOND_SIGMAS if study.landscapes == "beyond" else SIGMAS
    for landscape, norms in _places(study, level, is_first=level == min(minima)):
        there = units[norms]
        samples = repeat.samples.part(0, study.base + landscape)
        common = {
            "level": level, "landscape": landscape, "threshold": study.thresholds[0], "norms": norms,
            "n_params": minimum.layout.n_params, "log_scales": float(there.scales.double().log().sum()),
            **{name: info.get(name) for name in ("train_loss", "test_loss", "test_accuracy")},
        }  # fmt: skip
        yield from (common | row for row in _widths(repeat, there, samples, sigmas))


def _places(study: Study, level: int, *, is_first: bool) -> list[tuple[int, str]]:
    """Return the landscapes and units in which the minimum of a level is measured; those of the first level are its own."""
    if study.landscapes == "beyond":
        few = [each for each in study.landscapes_of(level) if study.base + each <= MOST_BEYOND_SAMPLES]
        return [(each, norms) for each in few for norms in ((OWN,) if is_first else (OWN, FIRST))]
    places = [(0, OWN)] if study.base <= MOST_SAMPLES else []
    if study.landscapes == "nested" and level and study.base + level <= MOST_OWN_SAMPLES:
        places.append((level, OWN))
    return [*places, (0, FIRST)] if places and not is_first else places


def _widths(repeat: Repeat, minimum: Minimum, samples: Samples, sigmas: Sequence[float]) -> Iterator[Row]:
    """Measure one minimum in one landscape at rising widths."""
    model, reduced, few = reduce_first_layer(repeat.model, minimum, samples)
    potential, threshold = NetworkPotential(model, reduced, few, nonnegative=True), repeat.study.thresholds[0]
    height = float(potential.values(torch.zeros(1, potential.n_params))[0])
    common = {"loss_at_zero": height, "n_reduced": potential.n_params}
    if not height < threshold:
        yield common | {"status": "unconverged"}
        return
    effort = next(effort for size, effort in EFFORTS.items() if len(samples) <= size)

    def measure(sigma: float) -> Row:
        found = subset_simulation(potential, threshold, [sigma], seed=round(1e5 * sigma), settings=effort.settings)
        return common | {
            "sigma": sigma, "status": found.status[0], "log_gamma": float(found.log_gamma[0]),
            "log_gamma_se": float(found.log_gamma_se[0]), "log_gamma_within_se": float(found.log_gamma_within_se[0]),
            "n_levels": float(found.n_levels[0]), "acceptance": float(found.acceptance[0]), "evaluations": found.n_values,
        }  # fmt: skip

    rows: list[Row] = []
    for sigma in sigmas:
        rows.append(measure(sigma))
        if rows[-1]["log_gamma"] < effort.deepest:
            break
    for _ in range(MOST_BETWEEN):
        pairs = enumerate(pairwise(row["log_gamma"] for row in rows))
        place = next((i for i, (above, below) in pairs if above > SHALLOW and below < DEEP), None)
        if place is None:
            break
        between = round(math.sqrt(rows[place]["sigma"] * rows[place + 1]["sigma"]), 4)
        rows.insert(place + 1, measure(between))
    yield from rows


def local_volumes(run: cli.StageRun) -> None:
    """Measure ln γ_σ of the stored minima of a study, and write local_volumes.csv with its record."""
    command = f"make {run.study.name}.local SCALE={run.scale}"
    record = {"command": command, "sampler": _efforts()}
    write_minimum_table(run, minimum_rows, layout.LOCAL_VOLUMES, layout.LOCAL_VOLUME_COLUMNS, record)
