"""The rays of somebody's model, followed one batch after another, each of which can be kept in a file."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minima_volume.crossings.audit import audit
from minima_volume.crossings.model_problem import ModelProblem
from minima_volume.crossings.noise import rounding_error
from minima_volume.crossings.scan import Floats
from minima_volume.crossings.sweep import cross_block
from minima_volume.networks.directions import direction_norms, draw_directions
from minima_volume.rays.preconditioner import Preconditioner
from minima_volume.storage.ray_file import RayFile

# A bar gets twenty ticks, but batches hold this many rays, or this many numbers: below that a call costs more than its
# arithmetic.
TICKS, FEWEST_RAYS, FEWEST_NUMBERS = 20, 25, 2**20

# Share of the rays whose crossing the scan had stepped over from which the loss is said to oscillate: some oscillate faster
# than the closest look. Chosen on the networks of docs/other-models.md.
OSCILLATING = 0.05


@dataclass(frozen=True)
class ModelRays:
    """The rays of one minimum.

    Attributes:
        coefficients: First crossings c (directions, thresholds): 0 if the minimum is above the threshold, NaN if the ray
            stays below it up to c = 1.
        recrossed: Whether a ray was seen below the threshold again further out (directions, thresholds).
        norms: ‖g‖ of the directions (directions,).
        stretches: ln(‖A·g‖/‖g‖) of the preconditioner A (directions,).
        rounding: What rounding does to n·ln r, in nats.
        notes: What a reader of the radii has to know.
        doubt: Why radii may be too long; "" if nothing was seen.
    """

    coefficients: Floats
    recrossed: NDArray[np.bool_]
    norms: Floats
    stretches: Floats
    rounding: float
    notes: tuple[str, ...]
    doubt: str


def follow_rays(
    problem: ModelProblem,
    n_directions: int,
    seed: int,
    *,
    shape: Preconditioner | None = None,
    kept: RayFile,
    name: str = "",
    tick: Callable[[int], object] = lambda count: None,
) -> ModelRays:
    """Find the crossings of one minimum along random directions.

    Args:
        problem: The sweep.
        n_directions: Number of directions.
        seed: Seed of the directions.
        shape: Preconditioner A of the directions.
        kept: File that the rays are appended to, and whose rays are not followed again.
        name: Name of the rays in that file.
        tick: Called with the number of rays that were finished.

    Returns:
        The rays.
    """
    n = problem.layout.n_params
    batch = min(problem.batch_size, max(FEWEST_RAYS, n_directions // TICKS, FEWEST_NUMBERS // n))
    known = {key: values[:n_directions] for key, values in kept.known(name).items()}
    parts, first = [known] if known else [], len(known["norms"]) if known else 0
    states = problem.initial_states
    tick(first)
    for start in range(first, n_directions, batch):
        indices = range(start, min(start + batch, n_directions))
        block = draw_directions(seed, indices, n)
        shaped = block if shape is None else shape.apply(block)
        norms = direction_norms(block).numpy()
        (found,), states = cross_block(problem, shaped, states)
        part = {
            "coefficients": found.coefficients,
            "recrossed": found.recrossed,
            "uncertain": found.uncertain,
            "earlier": found.earlier,
            "evaluations": found.evaluations,
            "norms": norms,
            "stretches": np.log((norms if shape is None else direction_norms(shaped).numpy()) / norms),
        }
        kept.extend(name, part)
        parts.append(part)
        tick(len(indices))
        del block, shaped  # an audit draws its own
    every = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    # Also of rays that were kept, so that an interrupted measurement ends like any other.
    is_loss = problem.targets[0].is_loss.all()
    rounding = rounding_error(problem, seed, every["coefficients"], shape) if is_loss else 0.0
    uncertain, earlier = (int(every.pop(key).any(axis=1).sum()) for key in ("uncertain", "earlier"))
    audited = audit(problem, seed, every["coefficients"], int(every.pop("evaluations").sum()), shape)
    doubt = ""
    if audited.missed or audited.longest_missed or uncertain or earlier > OSCILLATING * n_directions:
        doubt = (
            f"Some rays may cross the threshold earlier than was found, so the number may be too high: {audited.missed} "
            f"of {audited.looked} random rays and {audited.longest_missed} of the {audited.longest} longest do, "
            f"{uncertain} of {n_directions} oscillate too fast to tell, and {earlier} re-enter before the scan's next point."
        )
    notes = (*problem.user.notes, *problem.notes(rounding), audited.sentence())
    return ModelRays(**every, rounding=rounding, notes=notes, doubt=doubt)
