"""A measured volume with everything that says how far to trust it: printed, drawn, saved and loaded."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minima_volume.errors import ResultsError
from minima_volume.estimators.diagnostics import Verdict
from minima_volume.estimators.gaussian import Profile, ProfilePoint
from minima_volume.estimators.radial import Floats
from minima_volume.estimators.volume import Volume
from minima_volume.networks.losses import Metric
from minima_volume.storage.archives import read_json, write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KIND = "minima_volume.measurement/1"
# JSON has no numbers for these.
WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True)
class Measurement:
    """The volume of a minimum, or of one layer's share of it, in nats without the ball's constant.

    `log_volume` ± `log_volume_se`: ln E[rⁿ] and the larger of the bootstrap's error and the bulk's, solver's tolerance
    included. `log_radii`, `censored` (directions,): ln r of every ray and whether it only reached the cap. For
    preconditioned rays they are radii in the preconditioner's own coordinates and `log_determinant` is in the volumes.
    `profile` is None where there is no basin. `layers`: the same with only one layer's parameters moved, by layer.
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
        """What a person wants to know first."""
        volume = self.volume
        lines = [
            f"log volume  {volume.log_volume:,.2f} ± {self.log_volume_se:.2g} nats  (ln E[rⁿ], n = {self.n_params:,})",
            f"typical     {volume.typical_log_volume:,.2f} ± {volume.typical_log_volume_se:.2g} nats  (n·E[ln r])",
            f"minimum     {self.metric} {self.value_at_minimum:.4g} over {self.n_samples:,} samples; "
            f"threshold {self.threshold:g}",
            f"verdict     {self.verdict.word}: {self.verdict.sentence}",
        ]
        lines += [f"profile     {_line(point)}" for point in (self.profile.points if self.profile else ())]
        lines += [
            f"layer       {name}: {part.log_volume:,.2f} ± {part.log_volume_se:.2g} nats, n = {part.n_params:,}, "
            f"{part.verdict.word}"
            for name, part in self.layers.items()
        ]
        return "\n".join(lines)

    def save(self, path: str | Path) -> None:
        """Write everything as one JSON file, whole or not at all."""
        write_json(Path(path), {"kind": KIND, **_plain(self)})

    @classmethod
    def load(cls, path: str | Path) -> "Measurement":
        """Read what `save` wrote; ResultsError if the file is missing, damaged or something else."""
        if not Path(path).exists():
            raise ResultsError(f"Expected a saved measurement in {path}, got no file: check the path.")
        content = read_json(Path(path))
        if content.pop("kind", None) != KIND:
            raise ResultsError(f"Expected a saved measurement in {path}, got another JSON file: check the path.")
        try:
            return _measurement(_numbers(content))
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise ResultsError(
                f"Expected a saved measurement in {path}, got: {error}. Measure and save again."
            ) from error

    def plot(self) -> "Figure":
        """Two panels: the rays' n·ln r with the volume's place, and ln γ_σ with its error where it is trusted."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        terms = self.n_params * self.log_radii + self.log_determinant
        left.hist(terms[np.isfinite(terms)], bins=30, color="0.7")
        left.set(xlabel="n ln r of a ray (nats)", ylabel="rays", title=self.verdict.word)
        if math.isfinite(self.log_volume):
            left.axvline(self.log_volume, color="C3", label="ln E[rⁿ]")
            left.axvline(self.volume.typical_log_volume, color="C0", linestyle="--", label="n E[ln r]")
            left.legend(frameon=False)
        points = self.profile.points if self.profile else ()
        for trusted, marker in ((True, "o"), (False, "x")):
            chosen = [point for point in points if point.trusted == trusted]
            right.errorbar(
                [point.sigma for point in chosen], [point.log_gamma for point in chosen],
                [point.log_gamma_se for point in chosen], fmt=marker, label="trusted" if trusted else "not trusted",
            )  # fmt: skip
        right.set(xlabel="σ (filter units)", ylabel="ln γ_σ (nats)")
        if points:
            right.set_xscale("log")
            right.legend(frameon=False)
        return figure


def _line(point: ProfilePoint) -> str:
    upper = f" to {point.log_gamma_upper:,.2f}" if point.verdict.word == "censored" else ""
    word = point.verdict.word
    return f"σ = {point.sigma:<8.3g} ln γ = {point.log_gamma:,.2f}{upper} ± {point.log_gamma_se:.2g} nats, {word}"


def _plain(value: Any) -> Any:
    """Dataclasses, arrays and mappings as what JSON holds; numbers that it has not as words."""
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
    """The inverse of `_plain` for numbers."""
    if isinstance(value, dict):
        return {key: _numbers(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_numbers(part) for part in value]
    return WORDS.get(value, value) if isinstance(value, str) else value


def _measurement(content: dict[str, Any]) -> Measurement:
    profile = content["profile"] and Profile(
        tuple(
            ProfilePoint(**{**point, "verdict": Verdict(**point["verdict"])}) for point in content["profile"]["points"]
        )
    )
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
