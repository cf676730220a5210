"""The volume of one minimum as a function of the threshold, with its logarithmic slope."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from minima_volume.errors import UserError
from minima_volume.estimators.comparison import Statistic, bootstrap_estimates
from minima_volume.estimators.measured import shared_radii
from minima_volume.measurement import Measurement, measurement_from
from minima_volume.reports.files import read_result, write_result
from minima_volume.reports.numbers import aligned, with_error
from minima_volume.reports.pictures import plot_curve
from minima_volume.reports.summary import label
from minima_volume.text import encodable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KIND = "minima_volume.threshold_curve/1"


@dataclass(frozen=True)
class Slope:
    """The slope d ln V/d ln τ between two neighbouring thresholds.

    Attributes:
        upper: The larger threshold.
        lower: The smaller threshold.
        slope: (ln V(upper) − ln V(lower))/(ln upper − ln lower); NaN if a minimum is unconverged at one of them.
        error: Its standard error, from a bootstrap over the common directions.
    """

    upper: float
    lower: float
    slope: float
    error: float


@dataclass(frozen=True)
class ThresholdCurve(Sequence[Measurement]):
    """Measurements of one minimum at several thresholds, along the same directions.

    It is a sequence: `len(curve)`, `curve[0]` and `for measurement in curve` work.

    Attributes:
        measurements: The measurements, sorted by falling threshold.

    Example:
        The loss grows with the square of the distance, so the volume is proportional to τ^(n/2) with n = 3.

        >>> import torch
        >>> from minima_volume import measure_volume
        >>> model = torch.nn.Linear(3, 1, bias=False).eval()
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> data = (torch.eye(3), torch.zeros(3, 1))
        >>> options = {"n_directions": 100, "normalise": False, "progress": False}
        >>> curve = ThresholdCurve(
        ...     tuple(measure_volume(model, torch.nn.MSELoss(), data, threshold=t, **options) for t in (0.01, 0.03))
        ... )
        >>> [f"{slope.slope:.3f}" for slope in curve.slopes]
        ['1.500']
    """

    measurements: tuple[Measurement, ...]

    def __post_init__(self) -> None:
        """Sort the measurements, and refuse those that are not of one minimum along the same directions."""
        found = tuple(sorted(self.measurements, key=lambda each: -each.threshold))
        if not found:
            raise UserError("Expected at least one measurement, got none: measure at one or more thresholds.")
        if len(found) > 1:
            shared_radii(found)
        for name in ("metric", "n_samples"):
            values = dict.fromkeys(getattr(each, name) for each in found)
            if len(values) > 1:
                shown = ", ".join(map(str, values))
                raise UserError(
                    f"Expected measurements of one minimum, got {name} {shown}: measure all on the same data."
                )
        if len({each.threshold for each in found}) < len(found):
            thresholds = [each.threshold for each in found]
            raise UserError(f"Expected different thresholds, got {thresholds}: leave out the repeated ones.")
        object.__setattr__(self, "measurements", found)

    def __len__(self) -> int:
        """Return the number of thresholds."""
        return len(self.measurements)

    @overload
    def __getitem__(self, index: int) -> Measurement: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Measurement, ...]: ...
    def __getitem__(self, index: int | slice) -> Measurement | tuple[Measurement, ...]:
        """Return the measurement at one place, counted from the largest threshold."""
        return self.measurements[index]

    @property
    def slopes(self) -> tuple[Slope, ...]:
        """d ln E[rⁿ]/d ln τ between neighbouring thresholds, the largest first."""
        return tuple(_slope(*pair, "log_volume") for pair in pairwise(self.measurements))

    @property
    def typical_slopes(self) -> tuple[Slope, ...]:
        """The slopes of the typical volume n·E[ln r], which converges where ln E[rⁿ] does not."""
        return tuple(_slope(*pair, "typical") for pair in pairwise(self.measurements))

    def __str__(self) -> str:
        """Return a table as stdout can write it: a row per threshold, with the slopes to the next one."""
        rows = [
            ("threshold", "ln E[rⁿ] (nats)", "n·E[ln r] (nats)", "verdict", "d ln E[rⁿ]/d ln τ", "d n·E[ln r]/d ln τ")
        ]
        slopes = [[*map(_cell, found), ""] for found in (self.slopes, self.typical_slopes)]
        for each, *both in zip(self.measurements, *slopes, strict=True):
            volume = each.volume
            rows.append(
                (
                    f"{each.threshold:g}", with_error(volume.log_volume, each.log_volume_se),
                    with_error(volume.typical_log_volume, volume.typical_log_volume_se), label(each.verdict), *both,
                )
            )  # fmt: skip
        notes = [f"note  {sentence}" for sentence in dict.fromkeys(note for each in self for note in each.notes)]
        # Spelled before the columns are aligned, because spellings are longer.
        return "\n".join([*aligned([[encodable(cell, sys.stdout) for cell in row] for row in rows]), *notes])

    def save(self, path: str | Path) -> None:
        """Write the curve as one JSON file.

        Args:
            path: The file to write. Its name ends in .json.

        Raises:
            ResultsError: If the name has another end or the file cannot be written.
        """
        write_result(Path(path), KIND, self)

    @classmethod
    def load(cls, path: str | Path) -> "ThresholdCurve":
        """Read a curve that `save` wrote.

        Args:
            path: The file to read.

        Returns:
            The curve.

        Raises:
            ResultsError: If the file is missing, damaged, of a newer version, or holds something else.
        """
        return read_result(Path(path), KIND, _curve_from)

    def plot(self) -> "Figure":
        """Plot both volumes against the threshold.

        Returns:
            A figure with one panel, in which hollow marks are values of ln E[rⁿ] that cannot be trusted.

        Raises:
            UserError: If matplotlib is not installed.
        """
        return plot_curve(self.measurements)


def _slope(upper: Measurement, lower: Measurement, statistic: Statistic) -> Slope:
    """Slope between two thresholds; its error keeps the correlation along common directions."""
    step = math.log(upper.threshold / lower.threshold)
    unconverged = any(each.verdict.word == "unconverged" for each in (upper, lower))
    if unconverged or len(upper.log_radii) < 2:
        return Slope(upper.threshold, lower.threshold, math.nan, math.nan)
    radii, n = shared_radii((upper, lower))
    full, resampled = bootstrap_estimates(radii, n, statistic=statistic)
    error = float((resampled[:, 0] - resampled[:, 1]).std(ddof=1)) / step
    return Slope(upper.threshold, lower.threshold, float(full[0] - full[1]) / step, error)


def _cell(found: Slope) -> str:
    """Format a slope for the table."""
    return "—" if math.isnan(found.slope) else with_error(found.slope, found.error)


def _curve_from(content: dict[str, Any]) -> ThresholdCurve:
    """Build a curve from what JSON holds."""
    try:
        return ThresholdCurve(tuple(map(measurement_from, content["measurements"])))
    except UserError as error:
        raise ValueError(str(error)) from error
