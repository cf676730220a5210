"""Crossings of several minima along blocks of directions.

All minima share the directions, their products with the data, and every float64 pass over the data.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from minima_volume.crossings.passes import float32_pass, float64_pass
from minima_volume.crossings.problem import MinimumState, StudyProblem, SweepProblem
from minima_volume.crossings.scan import Floats, Target, Targets
from minima_volume.networks.directions import direction_norms, draw_directions
from minima_volume.networks.minimum import Minimum, Samples

# Arrays of `Crossings` that are stored.
STORED = ("coefficients", "recrossed", "at_zero", "evaluations")
# Bytes that the rays in flight may keep. Two workers stay well below 4 GiB on the largest landscape of the paper.
MEMORY = 384 * 2**20


@dataclass(frozen=True)
class Crossings:
    """Where the rays of one minimum cross its targets; arrays are (rays, targets) unless said otherwise.

    Attributes:
        coefficients: First crossing c. 0 if the minimum itself is above the threshold (unconverged), NaN if the ray stays
            below it up to c = 1 (censored).
        recrossed: Whether the ray was seen below the threshold again at a scan node beyond its first crossing.
        at_zero: Means at the minimum (targets,).
        evaluations: Points evaluated, those of float64 included (rays,).
        uncertain: Where there is still room for an earlier crossing.
        earlier: Where the scan had stepped over a crossing, which was found afterwards.
    """

    coefficients: Floats
    recrossed: NDArray[np.bool_]
    at_zero: Floats
    evaluations: NDArray[np.int64]
    uncertain: NDArray[np.bool_]
    earlier: NDArray[np.bool_]

    def stored(self) -> dict[str, NDArray[Any]]:
        """The arrays that the files of a study hold, by name."""
        return {name: getattr(self, name) for name in STORED}


class Work(NamedTuple):
    """Losses evaluated: by rays in float32, by rays in float64, and by the float64 corrections."""

    float32: int = 0
    float64: int = 0
    corrections: int = 0


class Sweep(NamedTuple):
    """Crossings of every minimum, the norms ‖g‖ of the directions (rays,), and the work that it took.

    A radius is r = c·‖g‖.
    """

    crossings: list[Crossings]
    norms: Floats
    work: Work


def sweep_crossings(
    model: nn.Module,
    minima: Sequence[Minimum],
    targets: Sequence[Sequence[Target]],
    samples: Samples,
    *,
    seed: int,
    indices: Sequence[int],
    memory: int = MEMORY,
) -> Sweep:
    """Find where the rays of several minima cross their targets, to `tolerance_for`; error rates to STEP_RTOL.

    Any split of the indices into calls, and any memory, gives the same crossings to the solver's tolerance.

    Args:
        model: The architecture; its own weights are not used.
        minima: Where the rays start. All share the directions.
        targets: Boundaries of each minimum.
        samples: The data set; a target's landscape holds the first `size` samples.
        seed: Seed of the directions.
        indices: Numbers of the directions.
        memory: Bytes that the rays in flight may keep. Data shared by all rays may take a quarter of that.

    Returns:
        Crossings of each minimum, norms of the directions, and the work.

    Raises:
        NumericsError: A mean loss along a ray is negative.
    """
    problem = StudyProblem(model, minima, [Targets.of(own) for own in targets], samples, memory)
    states = problem.initial_states
    parts, norms = [], []
    for start in range(0, len(indices), problem.batch_size):
        block = draw_directions(seed, indices[start : start + problem.batch_size], problem.layout.n_params)
        norms.append(direction_norms(block).numpy())
        found, states = cross_block(problem, block, states)
        parts.append(found)
    crossings = [_join([part[number] for part in parts]) for number in range(len(minima))]
    work = Work(
        sum(state.float32 for state in states),
        sum(state.float64 for state in states),
        problem.corrections,
    )
    return Sweep(crossings, np.concatenate(norms), work)


def _join(parts: Sequence[Crossings]) -> Crossings:
    """Crossings of one minimum along one block after another."""
    return Crossings(
        np.concatenate([part.coefficients for part in parts]),
        np.concatenate([part.recrossed for part in parts]),
        parts[0].at_zero,
        np.concatenate([part.evaluations for part in parts]),
        np.concatenate([part.uncertain for part in parts]),
        np.concatenate([part.earlier for part in parts]),
    )


def cross_block(
    problem: SweepProblem, block: Tensor, states: Sequence[MinimumState]
) -> tuple[list[Crossings], list[MinimumState]]:
    """Crossings of every minimum along a block of directions (rays, n), and the states after it."""
    bundle = problem.bundle(block, problem.dtype)
    tables, following = [], list(states)
    for number in range(len(problem.minima)):
        table, following[number] = float32_pass(problem, number, bundle, following)
        tables.append(table)
    del bundle  # its products are not needed in float64
    evaluated = float64_pass(problem, block, tables)
    following = [
        replace(state, float64=state.float64 + count) for state, count in zip(following, evaluated, strict=True)
    ]
    found = [
        Crossings(
            table.coefficients[:, :n],
            table.recrossed[:, :n],
            table.at_zero[:n],
            table.points,
            table.uncertain[:, :n],
            table.earlier[:, :n],
        )
        for table, n in zip(tables, map(len, problem.targets), strict=True)
    ]
    return found, following
