"""Measurements: printed, plotted, saved and loaded without loss, and damaged files are reported to library users."""

import json
import math
import re
from copy import deepcopy
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from torch import nn

from minima_volume import Measurement, gaussian_profile, measure_volume
from minima_volume.errors import ResultsError
from minima_volume.estimators.gaussian import Profile
from minima_volume.reports.numbers import with_error
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
    assert again == found and str(again) == str(found) and again.layers.keys() == found.layers.keys() == {"0", "1"}
    np.testing.assert_array_equal(again.log_radii, found.log_radii)
    np.testing.assert_array_equal(again.censored, found.censored)
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


def test_a_measurement_equals_its_copy_and_no_other() -> None:
    found = replace(measured(per_layer=True), value_at_minimum=math.nan, notes=("A sentence.",))
    assert found == deepcopy(found) and found != "another thing"
    radii = found.log_radii.copy()
    radii[-1] += 1e-12
    layers = {name: replace(part, seed=7) for name, part in found.layers.items()}
    for changes in ({"log_radii": radii}, {"seed": 1}, {"notes": ()}, {"layers": layers}, {"value_at_minimum": 0.1},
                    {"log_radii": found.log_radii[:-1]}, {"profile": None}):  # fmt: skip
        assert found != replace(found, **changes), changes


def test_notes_are_saved_loaded_and_printed_after_the_verdict(tmp_path: Path) -> None:
    found = replace(measured(), notes=("Two rows are zero.", "One ray in 40 was missed."))
    found.save(tmp_path / "volume.json")
    assert Measurement.load(tmp_path / "volume.json") == found
    lines = [line.split(maxsplit=1) for line in str(found).splitlines()]
    verdict = next(i for i, line in enumerate(lines) if line[0] == "verdict")
    assert lines[verdict + 1 : verdict + 3] == [["note", "Two rows are zero."], ["note", "One ray in 40 was missed."]]
    assert "notes" not in json.loads(STORED) and Measurement.load(written(tmp_path, STORED)).notes == ()


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    """Write a file and return its path."""
    path = folder / "written.json"
    path.write_text(text, encoding=encoding)
    return path


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    plain = Measurement.load(written(tmp_path, STORED))
    assert Measurement.load(written(tmp_path, STORED, "utf-8-sig")) == plain


@pytest.mark.parametrize("name", ["volume.npz", "volume", "volume.json.gz", "volume.png"])
def test_other_suffixes_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"ends in \.json, got .*volume"):
        measured(n_directions=2).save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_files_that_no_measurement_is_in(tmp_path: Path) -> None:
    newer = STORED.replace("minima_volume.measurement/1", "minima_volume.measurement/2")
    cases = (
        (tmp_path, "got a folder: name the file in it"), (tmp_path / "none.json", "got no file: check the path"),
        (written(tmp_path, newer), "a measurement of version 1 in .*, got version 2: update minima_volume"),
    )  # fmt: skip
    assert newer != STORED
    for path, said in cases:
        with pytest.raises(ResultsError, match=said) as caught:
            Measurement.load(path)
        assert "make " not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (89.4567, 2.94, "89.5 ± 2.9"), (752_123.4, 4012, "752,100 ± 4,000"), (-0.070123, 0.0096, "-0.0701 ± 0.0096"),
        (5.0, 0.0996, "5.00 ± 0.10"), (5.0, 9.96, "5 ± 10"), (-1e-13, 9.2e-13, "0.0000 ± 9.2e-13"),
        (1.25, 0.0, "1.2500 ± 0"), (3.14159, math.nan, "3.14 ± nan"), (math.nan, math.nan, "nan ± nan"),
        (16_633.2, 616, "16,630 ± 620"),
    ],
)  # fmt: skip
def test_numbers_have_the_digits_of_their_errors(value: float, error: float, shown: str) -> None:
    assert with_error(value, error) == shown


def reported(found: Measurement) -> str:
    """The line of a summary that says what to report; empty if there is none."""
    return next((line for line in str(found).splitlines() if line.startswith("report")), "")


def test_what_to_report() -> None:
    profile = gaussian_profile(np.random.default_rng(3).normal(0, 0.2, 400), 100)
    found = replace(measured(), profile=profile)
    assert found.verdict.word == "max-dominated"
    largest = max(point.sigma for point in profile.points if point.verdict.word == "converged")
    assert f"at σ = {largest:.3g}, the largest width that converged" in reported(found)
    wide = Profile(tuple(point for point in profile.points if point.sigma > largest))
    assert "no width of the profile converged" in reported(replace(found, profile=wide))
    good = replace(found.verdict, word="converged")
    assert not reported(replace(found, verdict=good)) and not reported(replace(found, profile=None))


def test_layers_are_aligned() -> None:
    found = measured()
    lines = str(replace(found, layers={"0": found, "a.long.name": found})).splitlines()
    layers = [line for line in lines if line.startswith("layer")]
    assert len(layers) == 2 and len({line.index("n = ") for line in layers}) == 1


def test_the_page_needs_no_other_file() -> None:
    found = replace(measured(per_layer=True), notes=("a < b & c",))
    pages = HTMLParser(), found.to_html()
    pages[0].feed(pages[1])
    assert "<svg" in pages[1] and "a &lt; b &amp; c" in pages[1] and pages[1].count("<table>") == 2
    assert not re.findall(r"(?:src|href)=\"(?!#)", pages[1].replace('xlink:href="#', ""))
    assert found.to_html() == pages[1]


def test_plots_leave_the_users_settings_alone() -> None:
    with matplotlib.rc_context({"font.size": 31.0, "lines.linewidth": 9.0}):
        before = dict(matplotlib.rcParams)
        figure = measured().plot()
        assert dict(matplotlib.rcParams) == before
    assert figure.axes[0].xaxis.label.get_size() < 10


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "{}", '{"kind": "minima_volume.measurement/1"}',
        STORED.replace('"word": "max-dominated"', '"word": "fine"'), STORED.replace('"n_samples": 16', '"n_samples": "a"'),
        STORED.replace('"seed": 3', '"seed": null'), STORED[: len(STORED) // 2],
        STORED.replace('"n_params"', '"n_parameters"'),
    ],
    ids=["empty", "cut", "a list", "of no kind", "without fields", "unknown verdict", "text for a number",
         "no seed", "half", "an unknown field"],
)  # fmt: skip
def test_damaged_files_are_reported_without_talk_of_make(text: str, tmp_path: Path) -> None:
    assert text != STORED
    (tmp_path / "volume.json").write_text(text)
    with pytest.raises(ResultsError, match=r"volume\.json") as caught:
        Measurement.load(tmp_path / "volume.json")
    assert "make target" not in str(caught.value)
