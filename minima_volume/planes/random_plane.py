"""The loss around minima of modular addition on the plane of two random directions, as a table for figures.

θ = θ* + s∘(x·g₁/‖g₁‖ + y·g₂/‖g₂‖) with the study's first two directions g₁, g₂ and the minimum's filter norms s, so that
x and y are radii as in the tables of volumes. All pairs are known, so that both losses are: the mean over the training
pairs and the mean over all others.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from minima_volume.errors import UserError
from minima_volume.networks import directions
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.pipeline.parallel import run_tasks
from minima_volume.pipeline.study import Repeat
from minima_volume.planes import checkpoints, sources
from minima_volume.planes import plane as planes_plane
from minima_volume.planes.grid import Floats
from minima_volume.storage import layout as storage_layout
from minima_volume.storage import tables
from minima_volume.text import spell_what_terminals_lack

STUDIES = ("modulo_data", "modulo_grokking")
REACH = 8.0  # the largest radius on either axis
SIDE = {"quick": 21, "paper": 41}  # points per side; odd, so that one is the minimum
DIGITS = 5  # significant digits of a loss in the table: more than a picture shows


def plane_at(repeat: Repeat, minimum: Minimum, samples: Samples) -> planes_plane.Plane:
    """Return the plane spanned by the study's first two directions at radius 1 around a minimum."""
    layout = minimum.layout
    block = directions.draw_directions(repeat.study.direction_seed, [0, 1], layout.n_params)
    units = (block / directions.direction_norms(block).unsqueeze(1)).to(minimum.scales)
    start = layout.flatten(minimum.parameters)
    ends = [layout.split(start + minimum.scales * unit) for unit in units]
    return planes_plane.Plane(repeat.model, (minimum.parameters, ends[0], ends[1]), samples)


def two_losses(plane: planes_plane.Plane, x: Floats, n_train: int, run: planes_plane.RunTasks) -> tuple[Floats, Floats]:
    """Return the mean losses (len(x), len(x)) over the first `n_train` samples and over the others, a row for each y."""
    sizes = np.array([n_train, len(plane.samples)])
    tasks = [partial(planes_plane.row_sums, plane, x, x[j : j + 1], sizes) for j in range(len(x))]
    rows = run(tasks, unit="rows")
    seen, everything = np.concatenate(rows, axis=1)
    return seen / n_train, (everything - seen) / (sizes[1] - n_train)


def two_levels(repeat: Repeat, minima: Mapping[int, Minimum], samples: Samples) -> tuple[int, int]:
    """Return the levels to show: the least and the most data, or the memorising and the last checkpoint of a run."""
    if repeat.study.level_means == "epochs":
        return checkpoints.corners_of(checkpoints.accuracies(repeat, minima, samples))[1:]
    return repeat.study.levels[0], repeat.study.levels[-1]


def rows_of(
    run: planes_plane.RunTasks, repeat: Repeat, minima: Mapping[int, Minimum], scale: str
) -> Iterator[dict[str, object]]:
    """Yield the rows of the table: two minima, every point of their planes."""
    samples, x = checkpoints.ordered_samples(repeat), np.linspace(-REACH, REACH, SIDE[scale])
    for level in two_levels(repeat, minima, samples):
        n_train = repeat.study.n_train(level)
        losses = two_losses(plane_at(repeat, minima[level], samples), x, n_train, run)
        for j, i in np.ndindex(len(x), len(x)):
            seen, unseen = (f"{values[j, i]:.{DIGITS}g}" if np.isfinite(values[j, i]) else "" for values in losses)
            values = (repeat.number, level, n_train, x[i], x[j], seen, unseen)
            yield dict(zip(storage_layout.SLICE_COLUMNS, values, strict=True))


def write_slices(name: str, scale: str) -> Path:
    """Write the table of a study and return its path.

    Raises:
        ResultsError: Minima are missing. The message names the command that trains them.
    """
    study, settings = sources.open_study(name, scale)
    repeat, found = sources.load_trained(study, scale, study.levels, settings)
    run = partial(run_tasks, threads=settings.workers, label=f"{study.name} slices")
    minima = {level: minimum for level, (_, minimum) in found.items()}
    path = storage_layout.study_folder(scale, name) / storage_layout.SLICES
    tables.write_recorded_table(path, storage_layout.SLICE_COLUMNS, rows_of(run, repeat, minima, scale))
    return path


if __name__ == "__main__":
    spell_what_terminals_lack()
    parser = argparse.ArgumentParser(prog="python -m minima_volume.planes.random_plane", description=__doc__)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--scale", default="paper", choices=("quick", "paper"))
    given = parser.parse_args()
    try:
        print(write_slices(given.study, given.scale))
    except UserError as error:
        sys.exit(f"error: {error}")
