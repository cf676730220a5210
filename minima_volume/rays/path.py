"""The fastest way to evaluate a user's model along rays, proved on that model."""

from typing import Literal

import torch
from torch import nn

from minima_volume.errors import is_memory_error
from minima_volume.networks.directions import draw_directions
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.objective import SampleObjective
from minima_volume.networks.private_copy import PrivateCopy, copy_model
from minima_volume.networks.sequential import is_stack
from minima_volume.networks.user_model import UserModel
from minima_volume.rays.base import Rays
from minima_volume.rays.bundle import RayBundle
from minima_volume.rays.functional import FunctionalRays
from minima_volume.rays.module import ModuleRays

# "stack": layer by layer; "batch": functional calls of many points at a time; "module": one point after another.
Path = Literal["stack", "batch", "module"]
# Samples and coefficients at which a fast evaluation has to give the model's own losses. At c = 1 every weight has moved by
# as much as its filter is long, so a bound, a branch or a reused tensor that depends on a weight shows.
PROOF_SAMPLES, PROOF_COEFFICIENTS = 64, (0.03, 0.3, 1.0)
# Largest relative difference of float64 losses, which differ by the order of sums only.
PROOF_RTOL = 1e-9


def fastest_path(user: UserModel, minimum: Minimum, copy: PrivateCopy) -> Path:
    """Return the fastest evaluation that agrees with the model at points along two random rays.

    Args:
        user: The model with its loss and data.
        minimum: Where the rays start, and what moves.
        copy: A private copy, whose losses count.

    Returns:
        "module" if no faster evaluation agrees.
    """
    if user.samples is None or user.objective.grad or user.final_dtype != torch.float64:
        return "module"
    small = minimum.layout.n_params <= FunctionalRays.VMAP_PARAMS
    candidates: list[Path] = ["stack"] if is_stack(user.model, user.samples.inputs.ndim) else []
    if not candidates and not small:
        return "module"
    block = draw_directions(0, range(2), minimum.layout.n_params)
    part = user.samples.part(0, PROOF_SAMPLES)
    index, c = torch.tensor([0, 1] * 3), torch.tensor(PROOF_COEFFICIENTS, dtype=torch.float64).repeat_interleave(2)
    copy.convert(torch.float64)
    try:
        wanted = ModuleRays(copy, SampleObjective(part, PROOF_SAMPLES), block, minimum).losses(index, c, len(part))
    except Exception as error:  # the model does not run at one of these points, where only "module" counts as outside
        if is_memory_error(error):
            raise
        return "module"
    if candidates:
        stacked = RayBundle(user.model, minimum.layout, part, block, torch.float64).rays(minimum)
        if _agrees(stacked, index, c, wanted):
            return "stack"
    if not small:
        return "module"
    functional = functional_rays(user.model, part, block, minimum, copy)
    return "batch" if functional.batched and _agrees(functional, index, c, wanted) else "module"


def functional_rays(
    model: nn.Module, samples: Samples, block: torch.Tensor, minimum: Minimum, like: PrivateCopy
) -> FunctionalRays:
    """Return rays by functional calls, in the precision and on the device of a private copy.

    They have a copy of their own: a call that fails can leave tensors of a transformation in a module.
    """
    where = like.device, like.dtype
    return FunctionalRays(copy_model(model, *where), samples.to(*where), block.to(*where), minimum.to(*where))


def _agrees(rays: Rays, index: torch.Tensor, c: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Return whether rays give the wanted losses."""
    try:
        found = rays.losses(index, c, wanted.shape[1])
    except Exception:  # somebody's model under a transformation that it was not written for, or without room for it
        return False
    scale = float(wanted.nan_to_num(0, 0, 0).abs().max())
    return torch.allclose(found, wanted, rtol=PROOF_RTOL, atol=PROOF_RTOL * scale, equal_nan=True)
