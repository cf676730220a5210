"""The result of a measurement: volume, errors and diagnostics, which can be compared, printed, plotted, saved and loaded."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minima_volume.estimators.diagnostics import Verdict
from minima_volume.estimators.gaussian import Profile, ProfilePoint
from minima_volume.estimators.radial import Floats
from minima_volume.estimators.volume import Volume
from minima_volume.networks.losses import Metric
from minima_volume.reports.files import LEFT_OUT_IF_EMPTY, plain, read_result, write_result
from minima_volume.reports.page import page
from minima_volume.reports.pictures import plot_measurement
from minima_volume.reports.summary import summary
from minima_volume.text import encodable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KIND = "minima_volume.measurement/1"


@dataclass(frozen=True, eq=False)
class Measurement:
    """The volume of a minimum in nats, without the ball's constant.

    Attributes:
        n_params: Number n of parameters that move.
        n_samples: Number of samples in the landscape.
        seed: Seed of the directions.
        metric: "loss" or "accuracy".
        threshold: The loss or accuracy at which the basin ends.
        value_at_minimum: Loss or accuracy at the minimum.
        volume: All volume estimates.
        log_volume_se: Standard error of ln E[rⁿ] in nats: the larger of that of the bootstrap and that of the verdict,
            with the solver's tolerance added in quadrature.
        verdict: Diagnosis of ln E[rⁿ].
        profile: The Gaussian local volume ln γ_σ; None for an unconverged minimum.
        log_radii: ln r of every ray, (directions,). For preconditioned rays r is the radius in the coordinates of the
            preconditioner.
        censored: Whether a ray reaches the cap inside the basin, (directions,).
        log_determinant: ln |det A| of the preconditioner, which is part of the volumes; 0 without one.
        layers: The same measurement with only the parameters of one layer moved, by the layer's name.
        notes: Sentences about this measurement that a reader of its numbers must know.
        coordinates: "filter-normalised" or "raw"; empty if it was saved by a version that did not write it.

    Example:
        With inputs that are unit vectors and targets 0, the mean squared error of a linear model with three weights w is
        ‖w‖²/3. The loss stays at or below 0.03 in the ball of radius 0.3 around w = 0.

        >>> import math, torch
        >>> from minima_volume import measure_volume
        >>> model = torch.nn.Linear(3, 1, bias=False).eval()
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> data = (torch.eye(3), torch.zeros(3, 1))
        >>> result = measure_volume(
        ...     model, torch.nn.MSELoss(), data, threshold=0.03, n_directions=100, normalise=False, progress=False
        ... )
        >>> print(f"{result.log_volume:.2f}, exactly {3 * math.log(0.3):.2f}: {result.verdict.word}")
        -3.61, exactly -3.61: converged
    """

    n_params: int
    n_samples: int
    seed: int
    metric: Metric
    threshold: float
    value_at_minimum: float
    volume: Volume
    log_volume_se: float
    verdict: Verdict
    profile: Profile | None
    log_radii: Floats
    censored: NDArray[np.bool_]
    log_determinant: float = 0.0
    layers: Mapping[str, "Measurement"] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=(), metadata=LEFT_OUT_IF_EMPTY)
    coordinates: str = field(default="", metadata=LEFT_OUT_IF_EMPTY)

    @property
    def log_volume(self) -> float:
        """ln E[rⁿ] in nats; NaN for an unconverged minimum."""
        return self.volume.log_volume

    def __eq__(self, other: object) -> bool:
        """Whether all fields are equal. NaN equals NaN, so that a measurement equals its copy."""
        return bool(plain(self) == plain(other)) if isinstance(other, Measurement) else NotImplemented

    def __str__(self) -> str:
        """Return a summary as stdout can write it: volumes, minimum, verdict, notes, what to report, profile and layers."""
        return encodable(summary(self), sys.stdout)

    def save(self, path: str | Path) -> None:
        """Write the measurement as one JSON file.

        Args:
            path: The file to write. Its name ends in .json.

        Raises:
            ResultsError: If the name has another end or the file cannot be written.
        """
        write_result(Path(path), KIND, self)

    @classmethod
    def load(cls, path: str | Path) -> "Measurement":
        """Read a measurement that `save` wrote.

        Args:
            path: The file to read.

        Returns:
            The measurement.

        Raises:
            ResultsError: If the file is missing, damaged, of a newer version, or holds something else.
        """
        return read_result(Path(path), KIND, measurement_from)

    def plot(self) -> "Figure":
        """Plot the measurement.

        Returns:
            A figure with two panels: the distribution of n·ln r over the rays with the volume estimates, and ln γ_σ with
            its standard error, where crosses mark estimates that cannot be trusted.

        Raises:
            UserError: If matplotlib is not installed.
        """
        return plot_measurement(self)

    def to_html(self) -> str:
        """Return the measurement as a web page that needs no other file.

        Returns:
            HTML with the summary, the figure of `plot`, and tables of the profile and the layers.

        Raises:
            UserError: If matplotlib is not installed.
        """
        return page(self)


def measurement_from(content: dict[str, Any]) -> Measurement:
    """Build a measurement, and those of its layers, from what JSON holds.

    Args:
        content: Fields by name.

    Returns:
        The measurement.

    Raises:
        ValueError: If a field is of another type. TypeError, KeyError and AttributeError are raised for others.
    """
    profile = content["profile"]
    if profile:
        points = [ProfilePoint(**{**point, "verdict": Verdict(**point["verdict"])}) for point in profile["points"]]
        profile = Profile(tuple(points))
    found = Measurement(
        **{
            **content,
            "volume": Volume(**content["volume"]),
            "verdict": Verdict(**content["verdict"]),
            "profile": profile,
            "log_radii": np.array(content["log_radii"], dtype=np.float64),
            "censored": np.array(content["censored"], dtype=bool),
            "layers": {name: measurement_from(part) for name, part in content["layers"].items()},
            "notes": tuple(content.get("notes", ())),
        }
    )
    numbers = {"n_params": int, "n_samples": int, "seed": int, "threshold": float, "log_volume_se": float}
    for name, kind in numbers.items():
        if not isinstance(getattr(found, name), kind | int):
            raise ValueError(f"{name} is {getattr(found, name)!r}")
    summary(found)  # a value of a wrong type and an unknown verdict raise here and not later
    return found
