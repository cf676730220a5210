"""Rays of any module or closure: θ* + c·(s∘g) is written into a private copy once per point."""

from collections.abc import Sequence

import torch
from torch import Tensor

from minima_volume.errors import UserError, is_machine_error
from minima_volume.networks.losses import Kind, sum_float64
from minima_volume.networks.minimum import Minimum
from minima_volume.networks.objective import Objective
from minima_volume.networks.private_copy import PrivateCopy
from minima_volume.rays.base import Rays


class ModuleRays(Rays):
    """Rays of any module, point by point.

    A point at which the model raises an error lies outside, like one at which its loss is NaN: a scale that became
    negative, a matrix that is no longer positive definite.

    Args:
        copy: The copy that is moved.
        objective: What is averaged.
        block: Directions g (rays, n).
        minimum: Origin of the rays.
        batched: The same rays, many points at a time, if that is faster.
        failures: Errors that the model raises, by their class, with the number of points: counted here.
    """

    def __init__(
        self,
        copy: PrivateCopy,
        objective: Objective,
        block: Tensor,
        minimum: Minimum,
        batched: Rays | None = None,
        failures: dict[str, int] | None = None,
    ) -> None:
        super().__init__(len(block))
        self.copy, self.objective, self.block, self.minimum = copy, objective, block, minimum
        self.batched = batched
        self.failures = {} if failures is None else failures

    def sums(self, rays: Tensor, coefficients: Tensor, sizes: Sequence[int], kind: Kind = "loss") -> Tensor:
        """Sum losses or errors over nested data sets at many points; see `Rays.sums`."""
        if self.batched is not None:
            try:
                return self.batched.sums(rays, coefficients, sizes, kind)
            except (RuntimeError, ValueError, ArithmeticError):  # a point raises an error, or vmap meets a branch
                self.batched = None
        result, sizes = torch.full((len(rays), len(sizes)), torch.nan, dtype=torch.float64), list(sizes)
        for row, (ray, c) in enumerate(zip(rays.tolist(), coefficients.tolist(), strict=True)):
            done, total = 0, 0.0
            for values in self._losses(ray, c, sizes, kind):
                done, total = done + len(values), total + float(sum_float64(values))
                if done in sizes:
                    result[row, sizes.index(done)] = total
        return result

    def losses(self, rays: Tensor, coefficients: Tensor, size: int, start: int = 0) -> Tensor:
        """Losses (k, size − start) at many points; see `Rays.losses`."""
        points = zip(rays.tolist(), coefficients.tolist(), strict=True)
        return torch.stack([torch.cat(self._losses(ray, c, [size], "loss"))[start:] for ray, c in points])

    def _losses(self, ray: int, c: float, sizes: Sequence[int], kind: Kind) -> list[Tensor]:
        """Return the losses of one batch after another at one point; nothing if the model raises an error there."""
        self.sample_evaluations += sizes[-1]
        self.copy.move(self.minimum, self.block[ray], c)
        try:
            return list(self.objective.losses(self.copy, sizes, kind))
        except UserError:
            raise
        except Exception as error:  # outside, like NaN: counted here, and named in a note of the measurement
            if c == 0 or is_machine_error(error):
                raise
            name = type(error).__name__
            self.failures[name] = self.failures.get(name, 0) + 1
            return []
