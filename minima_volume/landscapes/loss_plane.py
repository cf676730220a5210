"""The loss on a plane of parameter space with true lengths and angles (Garipov et al. 2018; Li et al. 2018)."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from minima_volume.crossings.sweep import MEMORY
from minima_volume.errors import UserError
from minima_volume.landscapes import basis
from minima_volume.landscapes.basis import Basis
from minima_volume.landscapes.batch_norm import BatchNorm
from minima_volume.landscapes.directions import Axes, Directions, axes_of
from minima_volume.landscapes.landscape import Landscape, parameters_of_model
from minima_volume.landscapes.node_losses import Floats
from minima_volume.landscapes.plane import Plane
from minima_volume.landscapes.subspace import Subspace
from minima_volume.landscapes.surface import ON_PLANE, Mark, Track
from minima_volume.landscapes.survey import losses_of, means_of, survey
from minima_volume.networks.adapters import Data, LossFunction
from minima_volume.networks.arguments import Names, as_count, as_flag, as_threshold
from minima_volume.networks.losses import Metric
from minima_volume.networks.parameters import Parameters
from minima_volume.networks.surroundings import plain_surroundings
from minima_volume.networks.user_model import plain_module

# Room around the models, as a share of the largest distance between their coordinates.
MARGIN = 0.25
Extent = tuple[float, float, float, float]


class Named(NamedTuple):
    """Parameters of a model that is marked on a plane."""

    name: str
    parameters: Parameters


def loss_plane(
    a: nn.Module,
    b: Any = None,
    c: Any = None,
    *,
    loss: LossFunction | None,
    data: Data,
    directions: Directions = "random",
    others: Mapping[str, Any] | None = None,
    nodes: int = 41,
    extent: Extent | None = None,
    margin: float = MARGIN,
    threshold: float | None = None,
    sizes: Sequence[int] | None = None,
    metric: Metric = "loss",
    normalise: bool | None = None,
    only: Names = None,
    batch_norm: BatchNorm = "frozen",
    seed: int = 0,
    keep: str | Path | None = None,
    progress: bool | None = None,
    memory: int = MEMORY,
) -> Plane:
    """Evaluate the loss on the plane through three models, or on a plane around one.

    With u the coordinates in which lengths are measured, θ = A + s∘(x·e₁ + y·e₂). The axes e₁, e₂ are orthonormal, e₁ along
    B − A. So distances and angles on the plane are those of parameter space. The models stay as they are, as in
    `measure_volume`.

    Args:
        a: A trained model in evaluation mode; the origin of the plane.
        b: A second model of the same architecture, or its state dict; None for a plane around `a`.
        c: A third model; None only with `b`.
        loss: Loss function, loss module or closure; see `measure_volume`.
        data: (inputs, targets) tensors, a data set, a loader, or any batches for a closure.
        directions: What spans a plane around one model: "random" for two seeded Gaussian directions, "curvature" for the two
            leading eigenvectors of the Hessian, or two vectors in the coordinates u, flat or by name.
        others: Further models by their names, projected onto the plane and marked with their distance from it.
        nodes: Number of points along each axis.
        extent: Lowest and highest x, lowest and highest y; by default a square with a margin around all models, or as far
            as filters move by their own norm.
        margin: Room around the models, as a share of the largest distance between their coordinates.
        threshold: A loss whose contour is drawn; with metric="accuracy" the lowest accuracy, as in `measure_volume`.
        sizes: Numbers of samples whose mean losses are read off in the same pass, of the first samples each.
        metric: "loss"; "accuracy" for the error rate alone; or "kl" for the divergence from the first model.
        normalise: Whether coordinates are filter-normalised with the norms of `a`; by default for planes around one model.
        only: Which parameters move; see `measure_volume`. The others are those of `a`.
        batch_norm: "frozen" keeps the running statistics of `a` everywhere; "recalibrate" computes them anew at every point.
        seed: Seed of random directions.
        keep: An .npz file in which finished points are kept, and from which the same call goes on.
        progress: Whether to show a bar on stderr; by default if that is a terminal.
        memory: Bytes that activations and the data of a loader may each take; 384 MiB by default.

    Returns:
        Losses and error rates at the nodes, and the models with their coordinates.

    Raises:
        UserError: Models, a loss or arguments that cannot be evaluated, or models on one line.
        DataError: Data that are empty or do not fit the loss.

    Example:
        The squared distance from the origin, on a plane through three of its points:

        >>> import torch
        >>> from minima_volume import loss_plane
        >>> corners = [torch.nn.Linear(2, 1, bias=False) for _ in range(3)]
        >>> with torch.no_grad():
        ...     for model, weight in zip(corners, ([0.0, 0.0], [2.0, 0.0], [1.0, 1.0])):
        ...         _ = model.weight.copy_(torch.tensor([weight]))
        >>> data = (torch.eye(2), torch.zeros(2, 1))
        >>> plane = loss_plane(*corners, loss=torch.nn.MSELoss(reduction="none"), data=data, nodes=5)
        >>> round(plane.angle, 6), [round(mark.loss, 6) for mark in plane.models]
        (45.0, [0.0, 2.0, 1.0])
    """
    nodes, seed, model = as_count(nodes, "nodes", 2), as_count(seed, "seed", 0), plain_module(a)
    if (b is None) != (c is None):
        raise UserError("Expected one model or three, got two: pass a third model, or use loss_line.")
    with plain_surroundings(model):
        landscape = Landscape(model, loss, data, metric=metric, only=only, batch_norm=batch_norm, memory=memory)
        first = landscape.minimum.parameters
        further = {"B": b, "C": c} if b is not None else {}
        marked = [Named("A" if further else "model", first)]
        marked += [
            Named(name, parameters_of_model(value, f"model {name}", first))
            for name, value in {**further, **(others or {})}.items()
        ]
        normalise = not further if normalise is None else as_flag(normalise, "normalise")
        scales = basis.scales_of(landscape.minimum, normalise=normalise)
        layout, angle, notes = landscape.minimum.layout, math.nan, []
        if further:
            vectors = torch.stack([basis.displacement(first, each.parameters, layout, scales) for each in marked[1:3]])
            axes, angle = Axes(vectors, ("from A towards B", "orthogonal to it"), 0.0), basis.angle_between(*vectors)
            notes = _relations(marked[:3], landscape)
        else:
            axes = axes_of(landscape, directions, scales, seed)
        frame = Basis(first, layout, scales, basis.orthonormal(axes.vectors, "models or directions"))
        return plane_on(
            landscape, frame, marked, names=axes.names, reach=axes.reach, eigenvalues=axes.eigenvalues, angle=angle,
            nodes=nodes, extent=extent, margin=margin, threshold=threshold, sizes=sizes, normalise=normalise, keep=keep,
            progress=progress, notes=notes,
        )  # fmt: skip


def plane_on(
    landscape: Landscape,
    frame: Basis,
    marked: Sequence[Named],
    *,
    names: tuple[str, str],
    reach: float = 0.0,
    eigenvalues: tuple[float, ...] = (),
    explained: tuple[float, ...] = (),
    angle: float = math.nan,
    tracks: Sequence[Track] = (),
    nodes: int = 41,
    extent: Extent | None = None,
    margin: float = MARGIN,
    threshold: float | None = None,
    sizes: Sequence[int] | None = None,
    normalise: bool = False,
    keep: str | Path | None = None,
    progress: bool | None = None,
    notes: Sequence[str] = (),
) -> Plane:
    """Evaluate a landscape on a plane with given axes; see `loss_plane`."""
    places = [frame.project(each.parameters) for each in marked]
    if threshold is not None:
        level = as_threshold(threshold, landscape.metric)
        threshold = 1 - level if landscape.metric == "accuracy" else level
    points = [place for place, _ in places] + [
        point for track in tracks for point in zip(track.x, track.y, strict=True)
    ]
    x, y = grid_around(np.array(points, dtype=np.float64), nodes, extent, reach, margin)
    sizes = landscape.as_sizes(sizes)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    # Models are evaluated as points of the plane, and those off the plane once more by themselves.
    corners = np.array([place for place, _ in places])
    found = survey(landscape, frame.subspace, np.concatenate([corners, grid]), sizes, keep=keep, progress=progress)
    means = found.means
    models = tuple(
        Mark(each.name, place[0], place[1], distance, *values)
        if distance <= ON_PLANE * np.ptp(x)
        else Mark(each.name, place[0], place[1], distance, *_values(landscape, frame, each.parameters, sizes))
        for each, (place, distance), values in zip(
            marked,
            places,
            zip(map(tuple, means.loss.tolist()), map(tuple, means.error_rate.tolist()), strict=True),
            strict=False,  # the nodes follow
        )
    )
    return Plane(
        x=x, y=y, models=models, tracks=tuple(tracks), angle=angle, axis_names=names,
        coordinates="filter-normalised" if normalise else "raw", eigenvalues=eigenvalues, explained=explained,
        threshold=threshold, n_params=frame.layout.n_params,
        **losses_of(landscape, found, sizes, (len(y), len(x)), notes),
    )  # fmt: skip


def grid_around(
    points: Floats, nodes: int, extent: Extent | None, reach: float, margin: float = MARGIN
) -> tuple[Floats, Floats]:
    """Return coordinates (nodes,) along both axes of a square that holds all points, or of the given extent.

    Raises:
        UserError: The extent is empty, or the margin below 0.
    """
    if not 0 <= margin < math.inf:
        raise UserError(
            f"Expected a margin of at least 0, got {margin}: 0.25 leaves a quarter of the largest distance."
        )
    if extent is not None:
        if not _is_extent(extent):
            raise UserError(f"Expected extent as (x0, x1, y0, y1) with x0 < x1 and y0 < y1, got {extent}: correct it.")
        return np.linspace(*extent[:2], nodes), np.linspace(*extent[2:], nodes)
    low, high = points.min(axis=0), points.max(axis=0)
    half = max(float((high - low).max()) * (0.5 + margin), reach)
    half = half if half > 0 else 1.0
    x, y = (np.linspace(centre - half, centre + half, nodes) for centre in (low + high) / 2)
    return x, y


def _is_extent(value: Any) -> bool:
    """Return whether a value is four finite numbers, two ascending pairs."""
    try:
        x0, x1, y0, y1 = [math.nan] * 4 if isinstance(value, str) else map(float, value)
    except (TypeError, ValueError):
        return False
    return -math.inf < x0 < x1 < math.inf and -math.inf < y0 < y1 < math.inf


def _values(
    landscape: Landscape, frame: Basis, parameters: Parameters, sizes: Sequence[int]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the losses and error rates (sizes,) at a model itself, wherever it lies."""
    away = frame.displacement(parameters) * frame.scales
    means = means_of(landscape, Subspace(frame.parameters, frame.layout, away[None]), np.ones((1, 1)), sizes)
    return tuple(means.loss[0].tolist()), tuple(means.error_rate[0].tolist())


def _relations(corners: Sequence[Named], landscape: Landscape) -> list[str]:
    """Return what the weights say about common initialisations."""
    a, b, c = corners
    layout = landscape.minimum.layout
    found = [
        basis.relation(p.parameters, q.parameters, layout, f"{p.name} and {q.name}")
        for p, q in ((a, b), (a, c), (b, c))
    ]
    return [sentence for sentence in found if sentence]
