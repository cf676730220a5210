"""What every part of the package may know of a measurement, and which measurements share their directions."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from minima_volume.errors import UserError
from minima_volume.estimators.diagnostics import Verdict
from minima_volume.estimators.gaussian import Profile
from minima_volume.estimators.radial import Floats
from minima_volume.estimators.volume import Volume


class Measured(Protocol):
    """The fields of `minima_volume.Measurement` that are compared, printed and drawn; see there."""

    @property
    def n_params(self) -> int: ...
    @property
    def n_samples(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def metric(self) -> str: ...
    @property
    def threshold(self) -> float: ...
    @property
    def value_at_minimum(self) -> float: ...
    @property
    def volume(self) -> Volume: ...
    @property
    def log_volume(self) -> float: ...
    @property
    def log_volume_se(self) -> float: ...
    @property
    def verdict(self) -> Verdict: ...
    @property
    def profile(self) -> Profile | None: ...
    @property
    def log_radii(self) -> Floats: ...
    @property
    def censored(self) -> NDArray[np.bool_]: ...
    @property
    def log_determinant(self) -> float: ...
    @property
    def coordinates(self) -> str: ...
    @property
    def layers(self) -> "Mapping[str, Measured]": ...
    @property
    def notes(self) -> tuple[str, ...]: ...


def shared_radii(measurements: Sequence[Measured]) -> tuple[Floats, int]:
    """Return the radii of measurements that share their directions.

    Args:
        measurements: At least two of them.

    Returns:
        ln r, (measurements, directions), and the dimension n.

    Raises:
        UserError: If they do not share their directions.
    """
    if len(measurements) < 2:
        raise UserError(f"Expected at least two measurements, got {len(measurements)}: pass those to compare.")
    for name, values in (
        ("n_params", [each.n_params for each in measurements]),
        ("seed", [each.seed for each in measurements]),
        ("n_directions", [len(each.log_radii) for each in measurements]),
        ("preconditioner", [each.log_determinant for each in measurements]),
        # Saved by an earlier version, a measurement does not say it.
        ("normalise", [each.coordinates for each in measurements if each.coordinates]),
    ):
        if len(set(values)) > 1:
            shown = ", ".join(map(str, values))
            what = {"preconditioner": "log determinants", "normalise": "coordinates"}.get(name, name)
            raise UserError(
                f"Expected measurements along the same directions, got {what} {shown}: measure all with "
                f"the same {name}."
            )
    return np.stack([each.log_radii for each in measurements]), measurements[0].n_params
