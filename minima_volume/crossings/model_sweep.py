"""The rays of somebody's model, followed one batch after another or on the workers of a cluster."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minima_volume.cluster.engine import Cluster
from minima_volume.crossings.audit import audit
from minima_volume.crossings.model_batches import Home, ModelBatch, compute_batches
from minima_volume.crossings.model_problem import ModelProblem
from minima_volume.crossings.noise import rounding_error
from minima_volume.crossings.scan import Floats
from minima_volume.crossings.sweep import cross_block
from minima_volume.networks.directions import direction_norms, draw_directions
from minima_volume.rays.preconditioner import Preconditioner
from minima_volume.storage.ray_file import RayFile

# Share of the rays whose crossing the scan had stepped over from which the loss is said to oscillate: some oscillate faster
# than the closest look. Chosen on the networks of docs/other-models.md.
OSCILLATING = 0.05

Part = dict[str, NDArray[Any]]  # arrays whose first axis is the direction


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
    cluster: Cluster | None = None,
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
        cluster: Whose workers follow the rays; by default this process.

    Returns:
        The rays.
    """
    size = problem.batch_for(n_directions)
    known = {key: values[:n_directions] for key, values in kept.known(name).items()}
    first = len(known["norms"]) if known else 0
    tick(first)
    parts = _Parts([known] if known else [], first, kept, name, tick)
    batches = [
        RayBatch(seed=seed, start=start, stop=min(start + size, n_directions))
        for start in range(first, n_directions, size)
    ]
    compute_batches(batches, Home(problem, shape, parts.add), cluster)
    every = parts.joined()
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


@dataclass
class _Parts:
    """What is known of the rays, in the order of their directions; batches may end in any order."""

    parts: list[Part]
    next: int
    kept: RayFile
    name: str
    tick: Callable[[int], object]
    waiting: dict[int, Part] = field(default_factory=dict)

    def add(self, start: int, part: Part) -> None:
        """Take the rays from direction `start` on, and keep those that follow on what is kept."""
        self.waiting[start] = part
        self.tick(len(part["norms"]))
        while part := self.waiting.pop(self.next, {}):
            self.kept.extend(self.name, part)
            self.parts.append(part)
            self.next += len(part["norms"])

    def joined(self) -> Part:
        """All rays."""
        return {key: np.concatenate([part[key] for part in self.parts]) for key in self.parts[0]}


@dataclass(frozen=True, kw_only=True)
class RayBatch(ModelBatch[Part]):
    """The rays along some directions of one minimum."""

    @property
    def name(self) -> str:
        """What the task is called in messages."""
        return f"rays {self.start} to {self.stop - 1}"

    def follow(self, problem: ModelProblem, shape: Preconditioner | None) -> Part:
        """Return the rays; see `ModelBatch.follow`."""
        block = draw_directions(self.seed, range(self.start, self.stop), problem.layout.n_params)
        shaped = block if shape is None else shape.apply(block)
        norms = direction_norms(block).numpy()
        (found,), problem.states = cross_block(problem, shaped, problem.states)
        return {
            "coefficients": found.coefficients,
            "recrossed": found.recrossed,
            "uncertain": found.uncertain,
            "earlier": found.earlier,
            "evaluations": found.evaluations,
            "norms": norms,
            "stretches": np.log((norms if shape is None else direction_norms(shaped).numpy()) / norms),
        }
