"""Volumes of neural-network minima along random filter-normalised rays."""

from importlib import import_module
from typing import Any

__version__ = "0.2.0.dev0"

# Public names by the module that defines them, in groups.
_HOMES = {
    # any model in one call
    "measure_volume": "minima_volume.measure",
    "local_volume": "minima_volume.measure_local",
    "loss_line": "minima_volume.landscapes.line",
    "loss_plane": "minima_volume.landscapes.loss_plane",
    "loss_path": "minima_volume.landscapes.path",
    "Trajectory": "minima_volume.landscapes.trajectory",
    "Measurement": "minima_volume.measurement",
    "ThresholdCurve": "minima_volume.threshold_curve",
    # from radii to what can be said
    "gaussian_profile": "minima_volume.estimators.gaussian",
    "diagnose": "minima_volume.estimators.diagnostics",
    "compare": "minima_volume.estimators.comparison",
    "rank": "minima_volume.estimators.comparison",
    # directions shaped to the basin
    "Preconditioner": "minima_volume.rays.preconditioner",
    "fit_preconditioner": "minima_volume.rays.preconditioner",
    # the Gaussian local volume without rays
    "NetworkPotential": "minima_volume.sampling.potential",
    "subset_simulation": "minima_volume.sampling.subset",
    "tethered_hmc": "minima_volume.sampling.tethered",
    "elliptical_slice_path": "minima_volume.sampling.elliptical",
    # errors
    "UserError": "minima_volume.errors",
    "DataError": "minima_volume.errors",
    "NumericsError": "minima_volume.errors",
    "ResultsError": "minima_volume.errors",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Public names load their module, and with it torch, only when asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'minima_volume' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
