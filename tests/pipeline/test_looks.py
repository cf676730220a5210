"""What closer looks at the rays of a study found is recorded, and printed where it matters."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minima_volume.crossings.sweep import Sweep, sweep_crossings
from minima_volume.pipeline import random_perturbs
from tests import study_runs


def test_rays_json_counts_what_the_looks_found(
    tmp_path: Path, stages: study_runs.Stages, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def doubtful(*args: Any, **options: Any) -> Sweep:
        found = sweep_crossings(*args, **options)
        changed = []
        for number, one in enumerate(found.crossings):
            marks = np.zeros_like(one.uncertain)
            marks[:3, 1] = number == 1  # three rays of each block, of the second minimum
            changed.append(replace(one, uncertain=marks, earlier=~marks))
        return found._replace(crossings=changed)

    monkeypatch.setattr(random_perturbs, "sweep_crossings", doubtful)
    folder = study_runs.run(stages, tmp_path, repeats=[0])
    looks = json.loads((folder / "repeat_0" / "rays.json").read_text())["looks"]
    assert looks == {"0": {"earlier": 30, "uncertain": 0}, "16": {"earlier": 30, "uncertain": 6}}
    said = capsys.readouterr().out
    assert "level 16: 6 of 30 rays oscillate too fast" in said and "level 0:" not in said
