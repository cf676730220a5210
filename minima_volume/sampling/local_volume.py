"""The result of a sampler: the Gaussian local volume at several widths, with two independent error estimates."""

import sys
from dataclasses import dataclass

import numpy as np

from minima_volume.estimators.radial import Floats
from minima_volume.text import encodable


@dataclass(frozen=True, kw_only=True)
class LocalVolume:
    """The Gaussian local volume ln γ_σ = ln P(L(u) ≤ τ), u ~ N(0, σ²I), in nats.

    Attributes:
        sigmas: Widths σ (sigmas,) in filter norms.
        log_gamma: ln γ at each width (sigmas,).
        log_gamma_se: Standard error (sigmas,) from the spread of the replicas.
        log_gamma_within_se: Standard error (sigmas,) from autocorrelations within the chains.
        drift: Estimate from the later half of the draws minus that from the earlier half (sigmas,).
        replica_log_gamma: Estimate of each replica alone (sigmas, replicas).
        status: "ok" or the reason for doubt (sigmas,); see `chain_status`.
        n_values: Number of points at which only the loss was evaluated.
    """

    sigmas: Floats
    log_gamma: Floats
    log_gamma_se: Floats
    log_gamma_within_se: Floats
    drift: Floats
    replica_log_gamma: Floats
    status: tuple[str, ...]
    n_values: int

    def at(self, sigma: float) -> int:
        """Return the index of the width closest to `sigma`."""
        return int(np.argmin(np.abs(np.log(self.sigmas / sigma))))

    def __str__(self) -> str:
        """Return a line for each width, as stdout can write it."""
        rows = zip(self.sigmas, self.log_gamma, self.error(), self.status, strict=True)
        lines = [
            f"σ = {width:<8.3g} ln γ = {value:.4g} ± {error:.2g} nats  {word}" for width, value, error, word in rows
        ]
        return encodable("\n".join(lines), sys.stdout)

    def error(self) -> Floats:
        """Return the larger of the two standard errors (sigmas,)."""
        return np.fmax(self.log_gamma_se, self.log_gamma_within_se)
