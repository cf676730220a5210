"""Volumes at several thresholds along the same rays, and their slope."""

import math
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from minima_volume.estimators.comparison import bootstrap_estimates
from minima_volume.measurement import Measurement, from_plain, json_path, plain, read_saved
from minima_volume.storage.archives import write_json
from minima_volume.summary import label, with_error
from minima_volume.text import encodable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KIND = "minima_volume.threshold_curve/1"


class Slope(NamedTuple):
    """d ln E[rⁿ]/d ln τ between two thresholds, with its standard error."""

    value: float
    error: float


@dataclass(frozen=True)
class ThresholdCurve:
    """Measurements of one minimum along the same directions at several thresholds, the largest basin first.

    Attributes:
        measurements: One for each threshold.

    Example:
        With a loss of ‖w‖²/3 the volume of {loss ≤ τ} is proportional to τ^{3/2}.

        >>> import torch
        >>> from minima_volume import measure_volume
        >>> model = torch.nn.Linear(3, 1, bias=False).eval()
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> data = (torch.eye(3), torch.zeros(3, 1))
        >>> curve = measure_volume(
        ...     model, torch.nn.MSELoss(), data, threshold=[0.03, 0.01], n_directions=100, normalise=False, progress=False
        ... )
        >>> len(curve), round(curve.slopes[0].value, 4)
        (2, 1.5)
    """

    measurements: tuple[Measurement, ...]

    def __len__(self) -> int:
        return len(self.measurements)

    @overload
    def __getitem__(self, index: int) -> Measurement: ...
    @overload
    def __getitem__(self, index: slice) -> "ThresholdCurve": ...
    def __getitem__(self, index: int | slice) -> "Measurement | ThresholdCurve":
        """Return one measurement, or some of them."""
        found = self.measurements[index]
        return found if isinstance(found, Measurement) else ThresholdCurve(found)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The thresholds, in the order of the measurements."""
        return tuple(found.threshold for found in self.measurements)

    @property
    def slopes(self) -> tuple[Slope, ...]:
        """d ln E[rⁿ]/d ln τ between neighbouring thresholds, with paired bootstrap errors; NaN beside unconverged ones."""
        return tuple(_slope(*pair) for pair in pairwise(self.measurements))

    def __str__(self) -> str:
        """Return a table of thresholds, volumes, verdicts and slopes, as the terminal can show it."""
        rows = [("threshold", "ln E[rⁿ] (nats)", "typical (nats)", "slope to the next", "verdict")]
        for found, slope in zip(self.measurements, [*self.slopes, None], strict=True):
            volume = found.volume
            rows.append(
                (
                    f"{found.threshold:g}",
                    with_error(found.log_volume, found.log_volume_se),
                    with_error(volume.typical_log_volume, volume.typical_log_volume_se),
                    with_error(*slope) if slope else "",
                    label(found.verdict),
                )
            )
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [
            "  ".join([*(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=False)), row[4]]) for row in rows
        ]
        return encodable("\n".join(line.rstrip() for line in lines), sys.stdout)

    def save(self, path: str | Path) -> None:
        """Write the curve as one JSON file.

        Args:
            path: The file to write, with the suffix .json.

        Raises:
            ResultsError: If the file cannot be written or has another suffix.
        """
        write_json(json_path(path), {"kind": KIND, "measurements": [plain(found) for found in self.measurements]})

    @classmethod
    def load(cls, path: str | Path) -> "ThresholdCurve":
        """Read a curve that `save` wrote.

        Args:
            path: The file to read.

        Returns:
            The curve.

        Raises:
            ResultsError: If the file is missing, damaged or holds something else.
        """

        def build(content: dict[str, Any]) -> ThresholdCurve:
            return cls(tuple(from_plain(part) for part in content["measurements"]))

        return read_saved(path, KIND, "curve of thresholds", build)

    def plot(self) -> "Figure":
        """Plot ln E[rⁿ] and n·E[ln r] against the threshold.

        Returns:
            A figure with error bars; crosses mark volumes that cannot be trusted.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5, 3.6), layout="constrained")
        axes = figure.subplots()
        for trusted, marker in ((True, "o"), (False, "x")):
            chosen = [found for found in self.measurements if found.verdict.trusted == trusted]
            if chosen:
                errors = [0.0 if math.isnan(found.log_volume_se) else found.log_volume_se for found in chosen]
                axes.errorbar(
                    [found.threshold for found in chosen], [found.log_volume for found in chosen], errors, fmt=marker,
                    color="C3", label="ln E[rⁿ]" if trusted else "ln E[rⁿ], not converged",
                )  # fmt: skip
        typical = [found.volume.typical_log_volume for found in self.measurements]
        axes.plot(self.thresholds, typical, "--", color="C0", label="n E[ln r]")
        axes.set(xscale="log", xlabel="threshold", ylabel="log volume (nats)")
        axes.legend(frameon=False)
        return figure


def _slope(one: Measurement, other: Measurement) -> Slope:
    """Return the slope between two measurements along the same directions."""
    step = math.log(one.threshold / other.threshold)
    if "unconverged" in (one.verdict.word, other.verdict.word) or len(one.log_radii) < 2:
        return Slope(math.nan, math.nan)
    full, resampled = bootstrap_estimates(np.stack([one.log_radii, other.log_radii]), one.n_params)
    return Slope(float(full[0] - full[1]) / step, float(np.std(resampled[:, 0] - resampled[:, 1], ddof=1)) / abs(step))
