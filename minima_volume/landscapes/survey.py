"""Losses at many points, one block after another, each of which can be kept in a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Never

import numpy as np
import torch
from tqdm import tqdm

from minima_volume.landscapes.evaluation import Evaluation, PrecisionCheck
from minima_volume.landscapes.landscape import Landscape
from minima_volume.landscapes.node_losses import Floats
from minima_volume.landscapes.subspace import Subspace
from minima_volume.landscapes.totals import Means
from minima_volume.storage.ray_file import RayFile

KIND = "minima_volume.landscape points/1"
# Blocks of a survey: a stopped run loses at most one.
BLOCKS = 16
# Points at which precisions are compared before and after all others are evaluated.
PROBES = 5


@dataclass(frozen=True)
class Survey:
    """Means at all points, and how they were computed.

    Attributes:
        means: Means over samples.
        dtype: "float32" or "float64", the precision of the forward pass.
        rounding: Largest relative difference of float32 losses from float64 ones on a few points and samples.
    """

    means: Means
    dtype: str
    rounding: float


def survey(
    landscape: Landscape,
    subspace: Subspace,
    points: Floats,
    sizes: Sequence[int],
    *,
    keep: str | Path | None = None,
    progress: bool | None = None,
) -> Survey:
    """Evaluate a landscape at points of a subspace.

    Args:
        landscape: The model with its loss and data.
        subspace: The points θ₀ + Σᵢ xᵢ·dᵢ.
        points: Coordinates x (points, axes).
        sizes: Numbers of samples, ascending.
        keep: An .npz file in which finished blocks are kept, and from which the same call goes on.
        progress: Whether to show a bar on stderr; by default if that is a terminal.

    Returns:
        The means.

    Raises:
        ResultsError: The file belongs to another landscape.
    """
    about = "" if keep is None else landscape.fingerprint(subspace, points.tolist(), list(sizes))
    kept = RayFile(keep, about, KIND)
    spread = points[np.unique(np.linspace(0, len(points) - 1, PROBES).round().astype(int))]
    check = PrecisionCheck(landscape, subspace)
    dtype, rounding = check.choose(spread)
    hidden = None if progress is None else not progress
    bar: tqdm[Never]
    with tqdm(total=len(points), unit="point", disable=hidden) as bar:
        means = _blocks(Evaluation(landscape, subspace, sizes, dtype), points, kept, bar)
        if dtype == torch.float32:
            # Small losses are differences of large numbers, so that the lowest points have the largest relative errors.
            lowest = points[np.argsort(means.loss[:, -1])[:PROBES]]
            needed, there = check.choose(lowest)
            rounding = max(rounding, there)
            if needed == torch.float64:
                dtype, landscape.failures = needed, {}
                bar.reset()
                means = _blocks(Evaluation(landscape, subspace, sizes, needed), points, kept, bar)
    return Survey(means, str(dtype).removeprefix("torch."), rounding)


def losses_of(
    landscape: Landscape, found: Survey, sizes: tuple[int, ...], nodes: tuple[int, ...], notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the fields of `NodeLosses` by name.

    Args:
        landscape: The model with its loss and data.
        found: Means at points, of which the last ones are the nodes.
        sizes: Numbers of samples, ascending.
        nodes: Numbers of nodes along each axis.
        notes: Sentences in addition to those of the landscape.
    """
    means, last = found.means, slice(-prod(nodes), None)
    return {
        "mean_loss": means.loss[last].T.reshape(len(sizes), *nodes),
        "error_rate": means.error_rate[last].T.reshape(len(sizes), *nodes),
        "loss_se": means.loss_se[last].reshape(nodes),
        "sizes": sizes,
        "metric": landscape.metric,
        "batch_norm": landscape.batch_norm,
        "dtype": found.dtype,
        "rounding": found.rounding,
        "notes": (*landscape.notes(), *notes),
    }


def _blocks(evaluation: Evaluation, points: Floats, kept: RayFile, bar: "tqdm[Never]") -> Means:
    """Return means at all points, those of finished blocks from the file."""
    name = str(evaluation.dtype)
    known = kept.known(name)
    parts = [Means(known["loss"], known["error_rate"], known["loss_se"])] if known else []
    done = len(parts[0].loss) if parts else 0
    bar.update(done)
    step = max(1, -(-len(points) // BLOCKS))
    for start in range(done, len(points), step):
        part = evaluation.means(points[start : start + step])
        kept.extend(name, vars(part))
        parts.append(part)
        bar.update(len(part.loss))
    return Means(*(np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])))


def means_of(landscape: Landscape, subspace: Subspace, points: Floats, sizes: Sequence[int]) -> Means:
    """Return means at a few points in the precision in which radii are finished, float64 where the model allows it.

    Args:
        landscape: The model with its loss and data.
        subspace: The points θ₀ + Σᵢ xᵢ·dᵢ.
        points: Coordinates x (points, axes).
        sizes: Numbers of samples, ascending.
    """
    user = landscape.user
    dtype = user.final_dtype if user.final_dtype == torch.float64 else user.dtype
    return Evaluation(landscape, subspace, sizes, dtype, "module").means(points)
