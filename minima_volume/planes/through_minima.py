"""The loss on the plane through three minima of a study, for all data sizes in one pass."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minima_volume.landscapes.loss_plane import loss_plane
from minima_volume.landscapes.plane import Plane
from minima_volume.networks.minimum import Samples
from minima_volume.networks.parameters import Parameters
from minima_volume.pipeline.repeat import Repeat
from minima_volume.planes import sources, study_plane
from minima_volume.planes.networks import torch_threads, with_parameters
from minima_volume.planes.study_plane import StudyPlane
from minima_volume.planes.triples import Triple
from minima_volume.storage import archives

NODES = {"quick": 61, "paper": 81}  # along each axis
SIZES = {"quick": 121, "paper": 401}
MARGIN = 0.45  # around the minima, as a share of the largest distance between their coordinates
LETTERS = ("A", "B", "C")


def plane_through(
    path: Path,
    repeat: Repeat,
    corners: Sequence[Parameters],
    samples: Samples,
    *,
    nodes: int,
    sizes: Sequence[int],
    others: Mapping[str, Parameters] | None = None,
) -> Plane:
    """Evaluate the loss of a study's network on the plane through three of its minima. Interrupted runs resume.

    Args:
        path: The archive of the plane; finished points are kept beside it until it is written.
        repeat: The repeat, with its network, its threshold and its number of threads.
        corners: Parameters A, B and C.
        samples: The samples whose mean loss is computed.
        nodes: Number of points along each axis.
        sizes: Numbers of samples.
        others: Further parameters to project onto the plane.
    """
    a, b, c = corners
    with torch_threads(repeat.settings.workers):
        return loss_plane(
            with_parameters(repeat.model, a), b, c, loss=samples.criterion, data=(samples.inputs, samples.targets),
            others=others, nodes=nodes, sizes=sizes, threshold=repeat.study.thresholds[0], margin=MARGIN,
            keep=points_of(path),
        )  # fmt: skip


def points_of(path: Path) -> Path:
    """Return the file with the points that an interrupted run finished."""
    return path.with_suffix(".points.npz")


def store(path: Path, info: Mapping[str, Any], found: Plane) -> Path:
    """Write a plane with its record, and delete the points that were kept for an interrupted run."""
    study_plane.write(path, StudyPlane(dict(info), found))
    points_of(path).unlink(missing_ok=True)
    return path


def data_sizes(marks: Sequence[int], count: int) -> NDArray[np.int64]:
    """Return about `count` data sizes from the first to the last mark in equal ratios, with all marks included."""
    steps = np.geomspace(marks[0], marks[-1], count).round().astype(np.int64)
    return np.unique(np.concatenate([steps, np.asarray(marks, np.int64)]))


def triple_plane(triple: Triple, scale: str, folder: Path) -> Path:
    """Return the archive of the plane of a triple, computed now if it is missing or out of date.

    Raises:
        ResultsError: Minima are missing. The message names the command that trains them.
    """
    study, settings = sources.open_study(triple.study, scale)
    levels = sources.three_levels(study, triple.levels)
    repeat, found = sources.load_trained(study, scale, levels, settings)
    headers = [found[level][0] for level in levels]
    sizes, path = (
        data_sizes([study.n_train(level) for level in levels], SIZES[scale]),
        folder / f"{triple.name}_plane.npz",
    )
    prints = [header["fingerprint"] for header in headers]
    wanted = archives.fingerprint("orthonormal", prints, study.thresholds[0], NODES[scale], MARGIN, sizes.tolist())
    if study_plane.is_current(path, wanted):
        return path
    info = describe(repeat, scale, headers) | {"name": triple.name, "fingerprint": wanted}
    samples = repeat.samples.part(0, int(sizes[-1]))
    corners = [found[level][1].parameters for level in levels]
    return store(path, info, plane_through(path, repeat, corners, samples, nodes=NODES[scale], sizes=sizes.tolist()))


def describe(repeat: Repeat, scale: str, headers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what pictures say about the study and about the minima at the corners."""
    study, kept = repeat.study, ("level", "n_train", "test_accuracy")
    corners = [
        {"letter": letter} | {key: header[key] for key in kept}
        for letter, header in zip(LETTERS, headers, strict=False)
    ]
    return {
        "study": study.name, "scale": scale, "data": repeat.dataset.name, "model": study.model, "repeat": repeat.number,
        "loss": repeat.dataset.loss, "threshold": study.thresholds[0], "corners": corners,
        "one_initialisation": len({repeat.model_seed_at(header["level"]) for header in headers}) == 1,
    }  # fmt: skip
