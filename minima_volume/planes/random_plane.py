"""The loss around minima of modular addition on the plane of two random directions, as a table for figures.

θ = θ* + s∘(x·g₁/‖g₁‖ + y·g₂/‖g₂‖) with the study's first two directions g₁, g₂ and the minimum's filter norms s, so that
x and y are radii as in the tables of volumes. All pairs are known, so that both losses are: the mean over the training
pairs and the mean over all others.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from minima_volume.landscapes.node_losses import Floats
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.pipeline.repeat import Repeat
from minima_volume.planes import checkpoints, loss_tables, sources
from minima_volume.planes.along_directions import losses_at
from minima_volume.storage import layout as storage_layout
from minima_volume.storage import tables

STUDIES = ("modulo_data", "modulo_grokking")
REACH = 8.0  # the largest radius on either axis
SIDE = {"quick": 21, "paper": 41}  # points per side; odd, so that one is the minimum


def two_losses(repeat: Repeat, minimum: Minimum, samples: Samples, x: Floats, n_train: int) -> tuple[Floats, Floats]:
    """Return the mean losses (len(x), len(x)) over the first `n_train` samples and over the others, a row for each y.

    The axes are the study's first two directions themselves, because radii are measured along them. In n dimensions the
    cosine of their angle is of the order of 1/√n.
    """
    points = np.stack(np.meshgrid(x, x), axis=-1).reshape(-1, 2)
    sizes = np.array([n_train, len(samples)])
    sums = losses_at(repeat, minimum, samples, points, sizes.tolist()) * sizes
    seen, everything = sums.T.reshape(2, len(x), len(x))
    return seen / n_train, (everything - seen) / (len(samples) - n_train)


def two_levels(repeat: Repeat, minima: Mapping[int, Minimum], samples: Samples) -> tuple[int, int]:
    """Return the levels to show: the least and the most data, or the memorising and the last checkpoint of a run."""
    if repeat.study.level_means == "epochs":
        return checkpoints.corners_of(checkpoints.accuracies(repeat, minima, samples))[1:]
    return repeat.study.levels[0], repeat.study.levels[-1]


def rows_of(repeat: Repeat, minima: Mapping[int, Minimum], scale: str) -> Iterator[dict[str, object]]:
    """Yield the rows of the table: two minima, every point of their planes."""
    samples, x = checkpoints.ordered_samples(repeat), np.linspace(-REACH, REACH, SIDE[scale])
    for level in two_levels(repeat, minima, samples):
        n_train = repeat.study.n_train(level)
        losses = two_losses(repeat, minima[level], samples, x, n_train)
        for j, i in np.ndindex(len(x), len(x)):
            values = (
                repeat.number,
                level,
                n_train,
                x[i],
                x[j],
                *(loss_tables.cell(float(part[j, i])) for part in losses),
            )
            yield dict(zip(storage_layout.SLICE_COLUMNS, values, strict=True))


def write_slices(name: str, scale: str) -> Path:
    """Write the table of a study and return its path.

    Raises:
        ResultsError: Minima are missing. The message names the command that trains them.
    """
    study, settings = sources.open_study(name, scale)
    repeat, found = sources.load_trained(study, scale, study.levels, settings)
    minima = {level: minimum for level, (_, minimum) in found.items()}
    path = storage_layout.study_folder(scale, name) / storage_layout.SLICES
    tables.write_recorded_table(path, storage_layout.SLICE_COLUMNS, rows_of(repeat, minima, scale))
    return path


if __name__ == "__main__":
    loss_tables.main(write_slices, STUDIES, "random_plane", __doc__)
