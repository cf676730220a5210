"""The loss along the same random rays through the minima with the least and the most data, as a table for a figure.

θ(r) = θ* + s∘(r·g/‖g‖) with the study's first directions g and the filter norms s of the minimum, for r of both signs. Each
minimum is evaluated on the base samples, in whose landscape volumes are compared, on its own training samples and on the
test set.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from minima_volume.errors import ResultsError
from minima_volume.landscapes.node_losses import Floats
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.pipeline.repeat import Repeat
from minima_volume.planes import loss_tables, sources
from minima_volume.planes.along_directions import losses_at
from minima_volume.storage import layout, tables

STUDIES = ("mnist_data",)
REACH = 60.0  # the largest radius: about twice where rays of the smallest training set end
NODES = {"quick": 21, "paper": 61}  # odd, so that one is the minimum
DIRECTIONS = 5


def rows_of(repeat: Repeat, level: int, minimum: Minimum, scale: str) -> Iterator[dict[str, object]]:
    """Yield the rows of one minimum: every direction, every radius."""
    n_train, x = repeat.study.n_train(level), np.linspace(-REACH, REACH, NODES[scale])
    own, data = repeat.samples.part(0, n_train), repeat.dataset
    test = Samples(data.test_inputs.to(repeat.device), data.test_targets.to(repeat.device), repeat.criterion)
    radii: Floats = np.kron(np.eye(DIRECTIONS), x[:, None]).astype(np.float64)
    seen = losses_at(repeat, minimum, own, radii, [repeat.study.base, n_train])
    tested = losses_at(repeat, minimum, test, radii, [len(test)])
    for k, (direction, i) in enumerate(np.ndindex(DIRECTIONS, len(x))):
        losses = map(loss_tables.cell, (seen[k, 0], seen[k, -1], tested[k, -1]))
        values = (repeat.number, level, n_train, direction, x[i], *losses)
        yield dict(zip(layout.PROFILE_COLUMNS, values, strict=True))


def write_profiles(name: str, scale: str) -> Path:
    """Write the table of a study from all repeats whose minima are stored, and return its path.

    Raises:
        ResultsError: No repeat has minima. The message names the command that trains them.
    """
    study, settings = sources.open_study(name, scale)
    levels = [study.levels[0], study.levels[-1]]
    numbers = layout.repeats_with(scale, name, layout.MINIMA_RECORD)
    if not numbers:
        command = f"run `make results/{scale}/{name}/repeat_0/minima.json SCALE={scale}`."
        raise ResultsError(f"Expected minima of {name}, got none: {command}")
    rows = []
    for number in numbers:
        repeat, found = sources.load_trained(study, scale, levels, settings, number)
        rows += [row for level in levels for row in rows_of(repeat, level, found[level][1], scale)]
    path = layout.study_folder(scale, name) / layout.PROFILES
    tables.write_recorded_table(path, layout.PROFILE_COLUMNS, rows)
    return path


if __name__ == "__main__":
    loss_tables.main(write_profiles, STUDIES, "profiles", __doc__)
