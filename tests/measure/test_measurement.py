"""Measurements: printed, plotted, saved and loaded without loss, and damaged files are reported to library users."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from minima_volume import Measurement, gaussian_profile, measure_volume
from minima_volume.errors import ResultsError
from tests.project import ROOT

STORED = (ROOT / "tests" / "stored" / "measurement.json").read_text()


def measured(**changes: Any) -> Measurement:
    """The measurement of two linear layers with all weights 0, whose loss is ‖W₂W₁‖²/3."""
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 1, bias=False)).eval()
    for weight in model.parameters():
        nn.init.zeros_(weight)
    settings: dict[str, Any] = {"threshold": 0.01, "n_directions": 20, "normalise": False} | changes
    return measure_volume(model, nn.MSELoss(), (torch.eye(3), torch.zeros(3, 1)), **settings)


def test_print_plot_save_and_load(tmp_path: Path) -> None:
    found = measured(per_layer=True)
    assert all(word in str(found) for word in ("log volume", "verdict", "profile", "layer", "nats"))
    found.save(tmp_path / "volume.json")
    again = Measurement.load(tmp_path / "volume.json")
    assert str(again) == str(found) and again.layers.keys() == found.layers.keys() == {"0", "1"}
    np.testing.assert_array_equal(again.log_radii, found.log_radii)
    np.testing.assert_array_equal(again.censored, found.censored)
    # NaN differs from itself, but not when printed.
    assert repr(again.profile) == repr(found.profile) and repr(again.volume) == repr(found.volume)
    figure = again.plot()
    assert len(figure.axes) == 2 and figure.axes[0].patches
    figure.savefig(tmp_path / "volume.png")


def test_saved_files_are_strict_json(tmp_path: Path) -> None:
    found = replace(measured(), log_volume_se=math.inf, value_at_minimum=math.nan, profile=None)
    found.save(tmp_path / "volume.json")

    def refuse(word: str) -> float:
        raise ValueError(word)

    json.loads((tmp_path / "volume.json").read_text(), parse_constant=refuse)
    again = Measurement.load(tmp_path / "volume.json")
    assert again.log_volume_se == math.inf and math.isnan(again.value_at_minimum) and again.profile is None


def test_every_point_of_the_profile_is_plotted_under_its_verdict() -> None:
    profile = gaussian_profile(np.random.default_rng(3).normal(0, 0.2, 400), 100)
    words = {point.verdict.word for point in profile.points}
    assert words == {"converged", "max-dominated"}
    right = replace(measured(), profile=profile).plot().axes[1]
    assert {text.get_text() for text in right.get_legend().get_texts()} == words
    drawn = {
        bars.get_label(): (bars.lines[0].get_marker(), len(bars.lines[0].get_xdata())) for bars in right.containers
    }
    trusted = sum(point.trusted for point in profile.points)
    assert drawn == {"converged": ("o", trusted), "max-dominated": ("x", len(profile.points) - trusted)}


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "{}", '{"kind": "minima_volume.measurement/1"}',
        STORED.replace('"word": "max-dominated"', '"word": "fine"'), STORED.replace('"n_samples": 16', '"n_samples": "a"'),
    ],
    ids=["empty", "cut", "a list", "of no kind", "without fields", "unknown verdict", "text for a number"],
)  # fmt: skip
def test_damaged_files_are_reported_without_talk_of_make(text: str, tmp_path: Path) -> None:
    assert text != STORED
    (tmp_path / "volume.json").write_text(text)
    with pytest.raises(ResultsError, match=r"volume\.json") as caught:
        Measurement.load(tmp_path / "volume.json")
    assert "make target" not in str(caught.value)
