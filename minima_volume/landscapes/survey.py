"""Losses at many points, one block after another, each of which can be kept in a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Never

import numpy as np
import torch
from tqdm import tqdm

from minima_volume.landscapes.evaluation import Evaluation, choose_precision
from minima_volume.landscapes.landscape import Landscape
from minima_volume.landscapes.subspace import Subspace
from minima_volume.landscapes.totals import Floats, Means
from minima_volume.storage.ray_file import RayFile

KIND = "minima_volume.landscape points/1"
# Blocks of a survey: a stopped run loses at most one.
BLOCKS = 16


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
    known = kept.known("points")
    done = len(known["loss"]) if known else 0
    dtype, rounding = choose_precision(landscape, subspace, points)
    evaluation = Evaluation(landscape, subspace, sizes, dtype)
    parts = [Means(known["loss"], known["error_rate"], known["loss_se"])] if known else []
    step = max(1, -(-len(points) // BLOCKS))
    hidden = None if progress is None else not progress
    bar: tqdm[Never]
    with tqdm(total=len(points), initial=done, unit="point", disable=hidden) as bar:
        for start in range(done, len(points), step):
            part = evaluation.means(points[start : start + step])
            kept.extend("points", vars(part))
            parts.append(part)
            bar.update(len(part.loss))
    whole = Means(*(np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])))
    return Survey(whole, str(dtype).removeprefix("torch."), rounding)


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
