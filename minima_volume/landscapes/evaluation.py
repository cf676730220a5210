"""Mean losses and error rates at many points of a subspace, by the fastest path that a model allows, summed in float64."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minima_volume.errors import UserError, is_machine_error
from minima_volume.landscapes.batch_norm import recalibrate
from minima_volume.landscapes.landscape import Landscape
from minima_volume.landscapes.node_losses import Floats
from minima_volume.landscapes.subspace import Mover, Subspace, SubspaceRays
from minima_volume.landscapes.totals import Means, Totals
from minima_volume.networks.losses import zero_one_loss
from minima_volume.networks.minimum import Samples
from minima_volume.networks.objective import SampleObjective
from minima_volume.networks.precision import to_float64
from minima_volume.networks.sequential import TILE_ELEMENTS
from minima_volume.rays.base import TiledRays
from minima_volume.rays.bundle import RayBundle
from minima_volume.rays.path import functional_rays

# Float32 evaluates a landscape if its mean losses agree with float64 to this part on the first samples of a few points. More
# samples average their rounding errors further, so that all of them agree to 1e-6.
FLOAT32_RTOL = 5e-7
# Samples that are compared; fewer where float64 runs point by point through convolutions.
PROBE_SAMPLES, PROBE_IMAGES = 256, 32
# Numbers in the points that are formed at a time for functional calls.
POINT_NUMBERS = 2**22
# Outputs that are handed to the criterion at a time: its calls cost more than so few numbers.
OUTPUT_NUMBERS = 2**18
Places = NDArray[np.int64]


class Evaluation:
    """The losses of a landscape on a subspace in one precision.

    Args:
        landscape: The model with its loss and data.
        subspace: The points θ₀ + Σᵢ xᵢ·dᵢ.
        sizes: Numbers of samples, ascending.
        dtype: Precision of the forward pass. Losses are computed in float64 from its outputs where data are tensors.
        path: "stack", "batch" or "module"; by default the fastest that agrees with the model.
    """

    def __init__(
        self,
        landscape: Landscape,
        subspace: Subspace,
        sizes: Sequence[int],
        dtype: torch.dtype,
        path: str | None = None,
    ) -> None:
        self.landscape, self.subspace, self.sizes, self.dtype = landscape, subspace, tuple(sizes), dtype
        self.path = path or landscape.path
        self._kept: SubspaceRays | None = None
        self._mover: Mover | None = None

    @torch.no_grad()
    def means(self, points: Floats) -> Means:
        """Return means over samples at points with coordinates x (points, axes); NaN where the model raises an error."""
        coordinates = torch.from_numpy(np.ascontiguousarray(points, dtype=np.float64))
        samples, classes = self.landscape.user.samples, self.landscape.classes
        if self.path != "module" and samples is not None:
            totals, together = (
                Totals(len(points), self.sizes),
                self._by_stack if self.path == "stack" else self._by_calls,
            )
            try:
                together(samples, coordinates, totals)
                return totals.means(classes=classes)
            except UserError:
                raise
            except Exception as error:  # somebody's model fails at one of the points: now one by one
                if is_machine_error(error):
                    raise
                self.path = "module"
        totals = Totals(len(points), self.sizes)
        self._by_module(coordinates, totals)
        return totals.means(classes=classes)

    # --- many points at a time ----------------------------------------------------------------------------------------

    def _by_stack(self, samples: Samples, coordinates: Tensor, totals: Totals) -> None:
        """Add losses layer by layer. The products of the first layer with a part of the samples fit into the memory."""
        user, axes, every = self.landscape.user, self.subspace.axes, np.arange(len(coordinates))
        if self._kept is not None:
            self._by_rays(self._kept, coordinates, totals, every)
            return
        width = RayBundle(user.model, self.subspace.layout, samples.part(0, 1), axes, self.dtype)
        numbers = (1 + len(axes)) * (width.stack.width if width.stack else 1) + samples.inputs[0].numel()
        fit = max(1, self.landscape.memory // (numbers * self.dtype.itemsize))
        for start in range(0, self.sizes[-1], fit):
            part = samples.part(start, min(start + fit, self.sizes[-1]))
            bundle = RayBundle(user.model, self.subspace.layout, part, axes, self.dtype)
            if bundle.stack is None:
                raise ValueError(f"expected a stack of layers for path 'stack', got {type(user.model).__name__}")
            rays = SubspaceRays(bundle.stack, self.subspace.minimum.to(bundle.block.device, self.dtype))
            self._by_rays(rays, coordinates, totals, every)
            if fit >= self.sizes[-1]:
                self._kept = rays

    def _by_calls(self, samples: Samples, coordinates: Tensor, totals: Totals) -> None:
        """Add losses by functional calls of many points at a time."""
        landscape, axes = self.landscape, self.subspace.axes
        landscape.copy.convert(self.dtype)
        together = max(2, POINT_NUMBERS // self.subspace.layout.n_params)
        for rows in torch.arange(len(coordinates)).split(together):
            block, part = coordinates[rows].to(axes) @ axes, samples.part(0, self.sizes[-1])
            rays = functional_rays(landscape.user.model, part, block, self.subspace.minimum, landscape.copy)
            self._by_rays(rays, torch.ones(len(block), dtype=torch.float64), totals, rows.numpy())

    def _by_rays(self, rays: TiledRays, coefficients: Tensor, totals: Totals, places: Places) -> None:
        """Add the losses of many points at a time on tiles of the samples.

        Outputs are few numbers, so that those of several points wait for one call of the criterion.
        """
        samples, n = rays.samples, len(rays.samples)
        budget = TILE_ELEMENTS[samples.inputs.device.type] // rays.width()
        span = max(1, min(n, budget))
        tiles = [(start, min(start + span, n)) for start in range(0, n, span)]
        per_sample = rays.at(torch.zeros(1, dtype=torch.long, device=samples.inputs.device), coefficients[:1])(
            0, 1
        ).numel()
        waiting: list[Tensor] = []
        first = 0
        for rows in torch.arange(len(coefficients)).split(max(1, budget // span)):
            outputs, stop = rays.at(rows.to(samples.inputs.device), coefficients[rows]), int(rows[-1]) + 1
            if n * per_sample > OUTPUT_NUMBERS:
                for tile in tiles:
                    self._add(totals, places[rows.numpy()], outputs(*tile), samples.part(*tile))
                continue
            waiting.append(torch.cat([outputs(*tile) for tile in tiles], dim=1))
            if (stop - first) * n * per_sample >= OUTPUT_NUMBERS or stop == len(coefficients):
                self._add(totals, places[first:stop], torch.cat(waiting), samples)
                waiting, first = [], stop

    # --- one point after another --------------------------------------------------------------------------------------

    def _by_module(self, coordinates: Tensor, totals: Totals) -> None:
        """Add the losses of points that are written into the private copy."""
        landscape, copy = self.landscape, self.landscape.copy
        if self._mover is None or copy.dtype != self.dtype:
            copy.convert(self.dtype)
            self._mover = Mover(self.subspace, copy.module)
        for place, point in zip(np.arange(len(coordinates))[:, None], coordinates.tolist(), strict=True):
            try:
                self._mover.move(point)
                if landscape.recalibrates:
                    recalibrate(copy, landscape.user.objective)
                self._add_batches(totals, place)
            except UserError:
                raise
            except Exception as error:  # somebody's model, far from where it was trained: a note counts it
                if is_machine_error(error):
                    raise
                name = type(error).__name__
                landscape.failures[name] = landscape.failures.get(name, 0) + 1
                totals.fail(place)

    def _add_batches(self, totals: Totals, place: Places) -> None:
        """Add one batch after another at the present point of the copy."""
        objective, copy = self.landscape.user.objective, self.landscape.copy
        if not isinstance(objective, SampleObjective):
            for values in objective.losses(copy, self.sizes, "loss"):
                totals.add(place, to_float64(values)[None], None)
            return
        tile = self.landscape.tile or objective.tile
        for start in range(0, self.sizes[-1], tile):
            part = objective.samples.part(start, min(start + tile, self.sizes[-1]))
            outputs = objective.outputs(copy, part.inputs)[None]
            self._add(totals, place, outputs if outputs.device.type == "mps" else outputs.double(), part)

    def _add(self, totals: Totals, places: Places, outputs: Tensor, part: Samples) -> None:
        """Add the losses and errors of outputs (points, samples, …)."""
        targets = part.targets.to(outputs.device)
        losses = part.criterion(outputs, targets)
        same = self.landscape.metric == "accuracy"
        wrong = losses if same else zero_one_loss(outputs, targets) if self.landscape.classes else None
        totals.add(places, to_float64(losses), wrong)


class PrecisionCheck:
    """Compares float32 with float64 on the first samples, at a few points at a time.

    Args:
        landscape: The model with its loss and data.
        subspace: The points θ₀ + Σᵢ xᵢ·dᵢ.
    """

    def __init__(self, landscape: Landscape, subspace: Subspace) -> None:
        self.landscape, user = landscape, landscape.user
        few = PROBE_IMAGES if landscape.tile else PROBE_SAMPLES
        size = landscape.n_samples if user.samples is None else min(few, landscape.n_samples)
        # Both keep what they prepare for the next points.
        self.rough = Evaluation(landscape, subspace, (size,), torch.float32)
        self.exact = Evaluation(landscape, subspace, (size,), torch.float64, "module")

    def choose(self, points: Floats) -> tuple[torch.dtype, float]:
        """Return the precision that resolves the losses at points, and how far float32 is from float64 in relative terms.

        Args:
            points: Coordinates x (points, axes) of a few points.

        Returns:
            The precision, and the largest relative difference; NaN if it could not be compared.
        """
        landscape, user = self.landscape, self.landscape.user
        if user.final_dtype != torch.float64:
            return user.dtype, math.nan
        if user.dtype == torch.float64:
            return torch.float64, 0.0
        before = dict(landscape.failures)
        rough, exact = self.rough.means(points).loss, self.exact.means(points).loss
        landscape.failures = before  # a point counts once, when all are evaluated
        fine = np.isfinite(exact)
        difference = np.abs(rough - exact)[fine] / np.maximum(np.abs(exact)[fine], np.finfo(np.float64).tiny)
        worst = float(np.max(difference, initial=0.0)) if np.array_equal(np.isfinite(rough), fine) else math.inf
        return (torch.float32 if worst <= FLOAT32_RTOL else torch.float64), worst
