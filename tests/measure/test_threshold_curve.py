"""Curves of the volume over the threshold: slopes against exact powers, and what two measurements may share."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from minima_volume import Measurement, ThresholdCurve, compare, measure_volume, rank
from minima_volume.errors import ResultsError, UserError
from minima_volume.estimators import comparison
from minima_volume.estimators.diagnostics import unconverged_verdict
from minima_volume.estimators.volume import estimate_volume

N = 6
THRESHOLDS = (0.002, 0.02, 0.007)


class Bowl(nn.Module):
    """Its output is Σ hᵢ uᵢ², so that the basin at threshold τ is √τ times the one at 1."""

    def __init__(self, curvatures: tuple[float, ...]) -> None:
        super().__init__()
        self.u = nn.Parameter(torch.zeros(len(curvatures), dtype=torch.float64))
        self.register_buffer("h", torch.tensor(curvatures, dtype=torch.float64))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return (self.h * self.u**2).sum().expand(len(inputs), 1)


def measured(threshold: float, curvatures: tuple[float, ...] = (1, 2, 3, 4, 5, 6), **options: Any) -> Measurement:
    """Measure a bowl."""
    data = torch.zeros(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    given: dict[str, Any] = {"n_directions": 120, "normalise": False, "progress": False} | options
    return measure_volume(Bowl(curvatures).eval(), lambda outputs, _: outputs[:, 0], data, threshold=threshold, **given)


@pytest.fixture(scope="module")
def curve() -> ThresholdCurve:
    """The bowl at three thresholds."""
    return ThresholdCurve(tuple(measured(threshold) for threshold in THRESHOLDS))


def test_a_curve_is_a_sequence_by_falling_threshold(curve: ThresholdCurve) -> None:
    assert [each.threshold for each in curve] == sorted(THRESHOLDS, reverse=True)
    assert len(curve) == 3 and curve[-1].threshold == 0.002 and [each.threshold for each in curve[:2]] == [0.02, 0.007]


def test_the_slope_of_a_quadratic_loss_is_half_the_dimension(curve: ThresholdCurve) -> None:
    # All rays shorten by the same factor, so nothing but the solver's tolerance of 0.01 nats is left, over ln 2.9.
    for slopes in (curve.slopes, curve.typical_slopes):
        assert [(slope.upper, slope.lower) for slope in slopes] == [(0.02, 0.007), (0.007, 0.002)]
        for slope in slopes:
            assert slope.slope == pytest.approx(N / 2, abs=0.01) and slope.error < 0.01


def test_the_error_of_a_slope_is_that_of_the_paired_difference() -> None:
    # Radii of the smaller threshold vary on their own: the typical slope is a mean, whose error has a closed form.
    rng = np.random.default_rng(0)
    upper, lower = measured(0.02, n_directions=400), measured(0.01, n_directions=400)
    lower = replace(lower, log_radii=lower.log_radii + rng.normal(0, 0.05, 400))
    (slope,) = ThresholdCurve((upper, lower)).typical_slopes
    gaps = N * (upper.log_radii - lower.log_radii)
    assert slope.slope == pytest.approx(gaps.mean() / math.log(2), abs=1e-9)
    # The spread of 1,000 resamples is known to 2 %; five times that.
    assert slope.error == pytest.approx(gaps.std() / 20 / math.log(2), rel=0.1)


def test_an_unconverged_minimum_has_no_slope(curve: ThresholdCurve) -> None:
    zero = np.zeros(120)
    nothing = estimate_volume(zero, np.ones(120), N, recrossed=zero.astype(bool))
    above = replace(
        curve[2], verdict=unconverged_verdict(120), volume=nothing, log_radii=np.full(120, -np.inf), profile=None
    )
    found = ThresholdCurve((curve[0], curve[1], above))
    assert [math.isnan(slope.slope) for slope in found.slopes] == [False, True]
    assert "unconverged" in str(found) and "nan ± nan" in str(found)


def test_a_curve_is_printed_saved_loaded_and_plotted(curve: ThresholdCurve, tmp_path: Path) -> None:
    quiet = tuple(replace(found, notes=()) for found in curve)
    lines = str(replace(curve, measurements=(*quiet[:2], replace(quiet[2], notes=("A sentence.",))))).splitlines()
    assert len(lines) == 5 and lines[0].startswith("threshold") and lines[-1] == "note  A sentence."
    assert [line.split()[0] for line in lines[1:4]] == ["0.02", "0.007", "0.002"]
    curve.save(tmp_path / "curve.json")
    again = ThresholdCurve.load(tmp_path / "curve.json")
    assert again == curve and str(again) == str(curve)
    assert len(curve.plot().axes[0].containers) >= 2
    with pytest.raises(ResultsError, match=r"Expected a saved measurement in .*, got another JSON file"):
        Measurement.load(tmp_path / "curve.json")
    with pytest.raises(ResultsError, match=r"ends in \.json"):
        curve.save(tmp_path / "curve.npz")


def test_measurements_that_share_no_directions_make_no_curve(curve: ThresholdCurve) -> None:
    for changes in ({"seed": 1}, {"metric": "accuracy"}, {"n_samples": 9}, {"n_params": 7}):
        with pytest.raises(UserError, match=next(iter(changes))):
            ThresholdCurve((curve[0], replace(curve[1], **changes)))
    short = replace(curve[1], log_radii=curve[1].log_radii[:-1])
    with pytest.raises(UserError, match="n_directions 120, 119"):
        ThresholdCurve((curve[0], short))


@pytest.mark.parametrize("statistic", ["log_volume", "typical", "gamma"])
def test_comparing_measurements_is_comparing_their_radii(statistic: comparison.Statistic) -> None:
    found = [measured(0.02, (scale, 2, 3, 4, 5, 6)) for scale in (1.0, 9.0, 3.0)]
    logs = np.stack([each.log_radii for each in found])
    options: dict[str, Any] = {"statistic": statistic, "sigma": 0.05 if statistic == "gamma" else None}
    assert compare(found[0], found[1], **options) == compare(logs, N, 0, 1, **options)
    ours, plain = rank(found, **options), rank(logs, N, **options)
    assert ours.order == plain.order == (0, 2, 1) and ours.confidence == plain.confidence
    if statistic == "typical":
        exact = [each.volume.typical_log_volume for each in found]
        assert compare(found[0], found[1], **options).difference == pytest.approx(exact[0] - exact[1], abs=1e-9)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 5}, "got seed 0, 5: measure all with the same seed"), ({"n_params": 9}, "n_params 6, 9"),
        ({"log_determinant": 1.0}, "log determinants 0.0, 1.0: measure all with the same preconditioner"),
        ({"log_radii": np.zeros(3)}, "n_directions 120, 3"),
        ({"coordinates": "filter-normalised"}, "coordinates raw, filter-normalised: measure all with the same normalise"),
        ({"log_radii": np.full(120, -np.inf)}, "remove unconverged minima"),
    ],
)  # fmt: skip
def test_measurements_that_share_no_directions_are_not_compared(changes: dict[str, Any], said: str) -> None:
    found = measured(0.02)
    other = replace(found, **changes)
    with pytest.raises(UserError, match=said):
        compare(found, other)
    with pytest.raises(UserError, match=said):
        rank([found, other])
    # Another metric of the same minimum may be compared.
    assert compare(found, replace(found, metric="accuracy")).difference == 0
