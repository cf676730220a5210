"""The result of a measurement: volume, errors and diagnostics, which can be printed, plotted, saved and loaded."""

import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minima_volume.errors import ResultsError, extra
from minima_volume.estimators.diagnostics import TRUST, Verdict
from minima_volume.estimators.gaussian import Profile, ProfilePoint
from minima_volume.estimators.radial import Floats
from minima_volume.estimators.volume import Volume
from minima_volume.networks.losses import Metric
from minima_volume.storage.archives import read_json, write_json
from minima_volume.text import encodable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KIND = "minima_volume.measurement/1"
ADVICE = "Measure and save again."
# JSON has no numbers for these.
NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True)
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

    @property
    def log_volume(self) -> float:
        """ln E[rⁿ] in nats; NaN for an unconverged minimum."""
        return self.volume.log_volume

    def __str__(self) -> str:
        """Return a summary as stdout can write it: volumes, minimum, verdict, profile and layers, one per line."""
        volume = self.volume
        lines = [
            f"log volume  {volume.log_volume:,.2f} ± {self.log_volume_se:.2g} nats  (ln E[rⁿ], n = {self.n_params:,})",
            f"typical     {volume.typical_log_volume:,.2f} ± {volume.typical_log_volume_se:.2g} nats  (n·E[ln r])",
            f"minimum     {self.metric} {self.value_at_minimum:.4g} over {self.n_samples:,} samples; "
            f"threshold {self.threshold:g}",
            f"verdict     {_label(self.verdict)}: {self.verdict.sentence}",
        ]
        lines += [f"profile     {_line(point)}" for point in (self.profile.points if self.profile else ())]
        lines += [
            f"layer       {name}: {part.log_volume:,.2f} ± {part.log_volume_se:.2g} nats, n = {part.n_params:,}, "
            f"{_label(part.verdict)}"
            for name, part in self.layers.items()
        ]
        return encodable("\n".join(lines), sys.stdout)

    def save(self, path: str | Path) -> None:
        """Write the measurement as one JSON file.

        Args:
            path: The file to write.

        Raises:
            ResultsError: If the file cannot be written.
        """
        write_json(Path(path), {"kind": KIND, **_plain(self)})

    @classmethod
    def load(cls, path: str | Path) -> "Measurement":
        """Read a measurement that `save` wrote.

        Args:
            path: The file to read.

        Returns:
            The measurement.

        Raises:
            ResultsError: If the file is missing, damaged or holds something else.
        """
        if not Path(path).exists():
            raise ResultsError(f"Expected a saved measurement in {path}, got no file: check the path.")
        content = read_json(Path(path), advice=ADVICE)
        if content.pop("kind", None) != KIND:
            raise ResultsError(f"Expected a saved measurement in {path}, got another JSON file: check the path.")
        try:
            found = _measurement(_numbers(content))
            str(found)  # a value of a wrong type and an unknown verdict raise here and not later
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise ResultsError(f"Expected a saved measurement in {path}, got: {error}. {ADVICE}") from error
        return found

    def plot(self) -> "Figure":
        """Plot the measurement.

        Returns:
            A figure with two panels: the distribution of n·ln r over the rays with the volume estimates, and ln γ_σ with
            its standard error, where crosses mark estimates that cannot be trusted.
        """
        with extra("plot", "plot()"):
            from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        terms = self.n_params * self.log_radii + self.log_determinant
        left.hist(terms[np.isfinite(terms)], bins=30, color="0.7")
        left.set(xlabel="n ln r of a ray (nats)", ylabel="rays", title=_label(self.verdict))
        if math.isfinite(self.log_volume):
            left.axvline(self.log_volume, color="C3", label="ln E[rⁿ]")
            left.axvline(self.volume.typical_log_volume, color="C0", linestyle="--", label="n E[ln r]")
            left.legend(frameon=False)
        points = self.profile.points if self.profile else ()
        for word in dict.fromkeys(point.verdict.word for point in points):
            chosen, trust = [point for point in points if point.verdict.word == word], TRUST["verdict"][word]
            right.errorbar(
                [point.sigma for point in chosen], [point.log_gamma for point in chosen],
                [point.log_gamma_se for point in chosen], fmt="o" if trust.trusted else "x", label=trust.label,
            )  # fmt: skip
        right.set(xlabel="σ (filter units)", ylabel="ln γ_σ (nats)")
        if points:
            right.set_xscale("log")
            right.legend(frameon=False)
        return figure


def _label(verdict: Verdict) -> str:
    """Return the label that a reader sees for a verdict."""
    return TRUST["verdict"][verdict.word].label


def _line(point: ProfilePoint) -> str:
    """Format one point of the profile."""
    upper = f" to {point.log_gamma_upper:,.2f}" if point.verdict.word == "censored" else ""
    estimate = f"{point.log_gamma:,.2f}{upper} ± {point.log_gamma_se:.2g} nats"
    return f"σ = {point.sigma:<8.3g} ln γ = {estimate}, {_label(point.verdict)}"


def _plain(value: Any) -> Any:
    """Convert dataclasses, arrays and mappings to what JSON holds; numbers that are not finite become words."""
    if isinstance(value, Measurement):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Volume | Verdict | Profile):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(part) for part in (value.tolist() if isinstance(value, np.ndarray) else value)]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(value: Any) -> Any:
    """Convert the words for numbers that are not finite back to numbers."""
    if isinstance(value, dict):
        return {key: _numbers(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_numbers(part) for part in value]
    return NON_FINITE.get(value, value) if isinstance(value, str) else value


def _measurement(content: dict[str, Any]) -> Measurement:
    """Build a measurement, and those of its layers, from what JSON holds."""
    profile = content["profile"]
    if profile:
        points = [ProfilePoint(**{**point, "verdict": Verdict(**point["verdict"])}) for point in profile["points"]]
        profile = Profile(tuple(points))
    return Measurement(
        **{
            **content,
            "volume": Volume(**content["volume"]),
            "verdict": Verdict(**content["verdict"]),
            "profile": profile,
            "log_radii": np.array(content["log_radii"], dtype=np.float64),
            "censored": np.array(content["censored"], dtype=bool),
            "layers": {name: _measurement(part) for name, part in content["layers"].items()},
        }
    )
