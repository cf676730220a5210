"""ln γ_σ of every stored minimum by subset simulation, which needs no rays.

Every minimum is measured at the study's first threshold in the base landscape and, if it was trained on more samples, in
the landscape of its own training samples; and once more in the base landscape with the scales of the first level's minimum,
so that all minima share one unit of length. Widths rise until ln γ falls below a limit. The result of each minimum is
stored, so that an interrupted command goes on.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch

from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.reduction import reduce_first_layer
from minima_volume.pipeline import cli
from minima_volume.pipeline.minima import Minima, folder_of, load_minima, training_fingerprint
from minima_volume.pipeline.study import Repeat
from minima_volume.sampling.potential import NetworkPotential
from minima_volume.sampling.subset import SubsetSettings, subset_simulation
from minima_volume.storage import archives, layout, tables

SIGMAS = (0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)
# ln γ in nats below which wider steps are not measured, and samples of a landscape above which it is left out: one loss over
# them takes too long for the tens of thousands of points that a run visits.
DEEPEST, MOST_SAMPLES = -20.0, 500
SETTINGS = SubsetSettings(floor=-80.0)
# Which minimum's filter norms are the unit of length.
OWN, FIRST = "own", "first"
Row = dict[str, Any]


def measure_minimum(repeat: Repeat, scale: str, minima: Minima, level: int) -> list[Row]:
    """Return the rows of one minimum, from its file if that is current.

    Args:
        repeat: The repeat.
        scale: `quick` or `paper`.
        minima: The minima of the repeat.
        level: The level of the minimum.
    """
    path, study = layout.local_path(folder_of(repeat, scale), level), repeat.study
    wanted = archives.fingerprint(
        training_fingerprint(repeat, level), training_fingerprint(repeat, min(minima)), list(SIGMAS), DEEPEST, MOST_SAMPLES,
        asdict(SETTINGS), study.thresholds[0], study.landscapes, study.normalise,
    )  # fmt: skip
    stored = archives.read_if_current(archives.read_json, path, wanted)
    if not stored:
        started = time.thread_time()
        rows = list(_rows(repeat, minima, level))
        seconds = round(time.thread_time() - started, 1)
        stored = {"fingerprint": wanted, "rows": rows, "cpu_seconds": seconds}
        archives.write_json(path, stored)
    return list(stored["rows"])


def _rows(repeat: Repeat, minima: Minima, level: int) -> Iterator[Row]:
    """Measure one minimum in its landscapes and units."""
    study, (info, minimum) = repeat.study, minima[level]
    first = replace(minimum, scales=minima[min(minima)][1].scales)
    places = [(0, OWN, minimum)]
    if study.landscapes == "nested" and level and study.base + level <= MOST_SAMPLES:
        places.append((level, OWN, minimum))
    if level != min(minima):
        places.append((0, FIRST, first))
    for landscape, norms, there in places:
        samples = repeat.samples.part(0, study.base + landscape)
        common = {
            "level": level, "landscape": landscape, "threshold": study.thresholds[0], "norms": norms,
            "n_params": minimum.layout.n_params, "log_scales": float(there.scales.double().log().sum()),
            **{name: info.get(name) for name in ("train_loss", "test_loss", "test_accuracy")},
        }  # fmt: skip
        yield from (common | row for row in _widths(repeat, there, samples))


def _widths(repeat: Repeat, minimum: Minimum, samples: Samples) -> Iterator[Row]:
    """Measure one minimum in one landscape at rising widths."""
    model, reduced, few = reduce_first_layer(repeat.model, minimum, samples)
    potential, threshold = NetworkPotential(model, reduced, few), repeat.study.thresholds[0]
    height = float(potential.values(torch.zeros(1, potential.n_params))[0])
    common = {"loss_at_zero": height, "n_reduced": potential.n_params}
    if not height < threshold:
        yield common | {"status": "unconverged"}
        return
    for number, sigma in enumerate(SIGMAS):
        found = subset_simulation(potential, threshold, [sigma], seed=number, settings=SETTINGS)
        yield common | {
            "sigma": sigma, "status": found.status[0], "log_gamma": float(found.log_gamma[0]),
            "log_gamma_se": float(found.log_gamma_se[0]), "log_gamma_within_se": float(found.log_gamma_within_se[0]),
            "n_levels": float(found.n_levels[0]), "acceptance": float(found.acceptance[0]), "evaluations": found.n_values,
        }  # fmt: skip
        if found.log_gamma[0] < DEEPEST:
            return


def local_volumes(run: cli.StageRun) -> None:
    """Measure ln γ_σ of the stored minima of a study, and write local_volumes.csv."""
    rows = []
    for repeat in run.repeats:
        minima = load_minima(repeat, run.scale)
        tasks = [partial(measure_minimum, repeat, run.scale, minima, level) for level in minima]
        study = repeat.study
        common = {"study": study.name, "data": study.data, "model": study.model, "repeat": repeat.number}
        rows += [common | row for own in run.each(tasks, "minima") for row in own]
    path = layout.study_folder(run.scale, run.study.name) / layout.LOCAL_VOLUMES
    tables.write_table(path, layout.LOCAL_VOLUME_COLUMNS, rows)
