"""One measurement along blocks of directions: made once for the whole model and once for each layer alone."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from minima_volume.crossings.continuation import BISECTION
from minima_volume.crossings.scan import Target
from minima_volume.crossings.sweep import Sweep, tolerance_for
from minima_volume.errors import NumericsError
from minima_volume.estimators.diagnostics import diagnose, unconverged_verdict
from minima_volume.estimators.gaussian import gaussian_profile
from minima_volume.estimators.radial import Floats
from minima_volume.estimators.volume import Volume, estimate_volume, log_radii
from minima_volume.measurement import Measurement
from minima_volume.networks.directions import direction_norms, draw_directions
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import Layout, Parameters
from minima_volume.rays.preconditioner import Preconditioner


@dataclass(frozen=True)
class Plan:
    """What stays the same for the whole model and each of its layers."""

    model: nn.Module
    samples: Samples
    loss: float  # mean at the minimum, from the model as the user calls it
    target: Target
    threshold: float
    n_directions: int
    seed: int
    memory: int

    def measured(
        self,
        parameters: Parameters,
        layout: Layout,
        normalise: bool,
        sigmas: Sequence[float] | None,
        preconditioner: Preconditioner | None,
        tick: Callable[[int], object],
    ) -> Measurement:
        """The measurement with the parameters of `layout` moved and all others fixed."""
        minimum = Minimum.of(parameters, layout, normalise=normalise)
        parts = list(self._swept(minimum, preconditioner, tick))
        rays = _Rays(*(np.concatenate([part[name] for part in parts]) for name in _Rays.__dataclass_fields__))
        return self._judged(rays, layout.n_params, sigmas, preconditioner)

    def _swept(
        self, minimum: Minimum, preconditioner: Preconditioner | None, tick: Callable[[int], object]
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """The fields of `_Rays` for one batch of directions after another."""
        work = Sweep(self.model, [minimum], [[self.target]], self.samples, self.memory)
        # Twenty ticks of the bar, but no tiny batches: below a million numbers a call costs more than its arithmetic.
        batch = min(work.at_once, max(25, self.n_directions // 20, 2**20 // work.layout.n_params))
        for start in range(0, self.n_directions, batch):
            indices = range(start, min(start + batch, self.n_directions))
            block = draw_directions(self.seed, indices, work.layout.n_params)
            along = block if preconditioner is None else preconditioner.apply(block)
            lengths = direction_norms(block).numpy()
            crossings = work.along(along)[0]
            yield {
                "coefficients": crossings.coefficients[:, 0],
                "recrossed": crossings.recrossed[:, 0],
                "lengths": lengths,
                "stretches": np.log(direction_norms(along).numpy() / lengths),
                "at_zero": crossings.at_zero,
            }
            tick(len(indices))

    def _judged(
        self, rays: "_Rays", n: int, sigmas: Sequence[float] | None, preconditioner: Preconditioner | None
    ) -> Measurement:
        """Volume, verdict and profile from the crossings."""
        log_det = preconditioner.log_determinant if preconditioner else 0.0
        volume = estimate_volume(rays.coefficients, rays.lengths, n, recrossed=rays.recrossed)
        censored, at_zero = np.isnan(rays.coefficients), float(rays.at_zero[0])
        logs = np.full(len(censored), -np.inf)
        verdict, profile, error = unconverged_verdict(len(censored)), None, math.nan
        if volume.status != "unconverged":
            logs = log_radii(rays.coefficients, rays.lengths)
            verdict = diagnose(n * logs, n_censored=int(censored.sum()), n_recrossed=volume.n_recrossed)
            # A single direction has no error: NaN stays NaN.
            error = math.hypot(np.fmax(volume.log_volume_se, verdict.bulk_error), self._tolerance(n))
            # Per direction dw the Gaussian measure of A's image is |det A|·‖A w‖⁻ⁿ (`preconditioned`).
            weights = log_det - n * rays.stretches if preconditioner else None
            profile = gaussian_profile(logs + rays.stretches, n, sigmas=sigmas, censored=censored, log_weights=weights)
        self._check_same(at_zero)
        value = 1 - at_zero if self.target.metric == "accuracy" else at_zero
        return Measurement(
            n, len(self.samples), self.seed, self.target.metric, self.threshold, value, _shifted(volume, log_det), error,
            verdict, profile, logs, censored, log_det,
        )  # fmt: skip

    def _check_same(self, at_zero: float) -> None:
        """Raise NumericsError if the engine saw another model than the user calls."""
        if self.target.metric == "loss" and not math.isclose(at_zero, self.loss, rel_tol=1e-3, abs_tol=1e-5):
            raise NumericsError(
                f"Expected the model's own mean loss of {self.loss:.6g} at the minimum, got {at_zero:.6g}: its parameters "
                "are not all that it depends on; wrap it in a module without hooks or state."
            )

    def _tolerance(self, n: int) -> float:
        """Nats that the solver leaves open in n·ln r."""
        return n * (BISECTION if self.target.metric == "accuracy" else tolerance_for(n))


@dataclass(frozen=True)
class _Rays:
    """First crossings, ‖g‖ and ln(‖A·g‖/‖g‖) of all rays (directions,), and the height at the minimum, once per batch."""

    coefficients: Floats
    recrossed: NDArray[np.bool_]
    lengths: Floats
    stretches: Floats
    at_zero: Floats


def _shifted(volume: Volume, log_det: float) -> Volume:
    """The volume in u from that in A⁻¹u; the published grid rule knows no preconditioner."""
    if log_det == 0.0:
        return volume
    return replace(
        volume,
        log_volume=volume.log_volume + log_det,
        typical_log_volume=volume.typical_log_volume + log_det,
        log_volume_grid=math.nan,
    )
