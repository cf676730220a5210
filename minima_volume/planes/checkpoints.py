"""The plane through three checkpoints of one training run, the loss on it, and the run's path over it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from minima_volume.errors import ResultsError
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.pipeline.repeat import Repeat
from minima_volume.planes import sources, study_plane, through_minima
from minima_volume.storage import archives
from minima_volume.training.trainer import evaluate

NODES = {"quick": 33, "paper": 61}  # along each axis
FITTED = 0.99  # training accuracy from which the training samples count as memorised


def ordered_samples(repeat: Repeat) -> Samples:
    """Return all samples of the data set: first those of the repeat's pool in its order, then the others."""
    data, chosen = repeat.dataset, repeat.pool.indices
    rest = torch.ones(len(data.targets), dtype=torch.bool)
    rest[chosen] = False
    order = torch.cat([chosen, rest.nonzero().flatten()])
    device = repeat.samples.inputs.device
    return Samples(data.inputs[order].to(device), data.targets[order].to(device), repeat.criterion)


def accuracies(repeat: Repeat, minima: Mapping[int, Minimum], samples: Samples) -> list[dict[str, Any]]:
    """Return the accuracy of every checkpoint on its training samples and on all other samples.

    Args:
        repeat: The repeat whose checkpoints these are.
        minima: Checkpoints by epoch.
        samples: All samples, as from `ordered_samples`.

    Returns:
        For each checkpoint `epoch`, `train_accuracy` and `unseen_accuracy`.
    """
    rows, base = [], repeat.study.base
    for epoch, minimum in minima.items():
        _, errors = evaluate(repeat.model, minimum.parameters, samples.inputs, samples.targets, samples.criterion)
        right = 1 - errors.double()
        seen, unseen = right[:base].mean().item(), right[base:].mean().item()
        rows.append({"epoch": epoch, "train_accuracy": seen, "unseen_accuracy": unseen})
    return rows


def corners_of(rows: Sequence[dict[str, Any]]) -> tuple[int, int, int]:
    """Return the epochs of the three checkpoints that span the plane.

    These are the first checkpoint, the first later one with a training accuracy of at least `FITTED`, and the last one.

    Raises:
        ResultsError: There are fewer than three checkpoints.
    """
    inner = rows[1:-1]
    if not inner:
        raise ResultsError(f"Expected at least three checkpoints, got {len(rows)}: add epochs to the study's levels.")
    fitted = next((row for row in inner if row["train_accuracy"] >= FITTED), inner[-1])
    return rows[0]["epoch"], fitted["epoch"], rows[-1]["epoch"]


def checkpoint_plane(name: str, scale: str, folder: Path) -> Path:
    """Return the archive of the plane of a run, computed now if it is missing or out of date.

    Raises:
        ResultsError: Checkpoints are missing. The message names the command that trains them.
    """
    study, settings = sources.open_study(name, scale)
    repeat, found = sources.load_trained(study, scale, study.levels, settings)
    prints, path = [header["fingerprint"] for header, _ in found.values()], folder / "grokking_plane.npz"
    wanted = archives.fingerprint(
        "orthonormal", prints, study.thresholds[0], NODES[scale], through_minima.MARGIN, FITTED
    )
    if study_plane.is_current(path, wanted):
        return path
    samples, minima = ordered_samples(repeat), {epoch: minimum for epoch, (_, minimum) in found.items()}
    rows = accuracies(repeat, minima, samples)
    epochs = corners_of(rows)
    plane = through_minima.plane_through(
        path, repeat, [minima[epoch].parameters for epoch in epochs], samples, nodes=NODES[scale], sizes=[study.base],
        others={f"epoch {epoch}": minimum.parameters for epoch, minimum in minima.items()},
    )  # fmt: skip
    places = plane.models[len(epochs) :]
    track = [
        row | {"x": mark.x, "y": mark.y, "distance": mark.distance} for row, mark in zip(rows, places, strict=True)
    ]
    info = through_minima.describe(repeat, scale, [found[epoch][0] for epoch in epochs])
    return through_minima.store(path, info | {"name": "grokking", "checkpoints": track, "fingerprint": wanted}, plane)
