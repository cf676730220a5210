"""The page that compares four methods on small minima: known bodies, and what it calls apart."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from benchmarks import local_volumes as bench
from minima_volume.testing.ellipsoid import Ellipsoid

ROW = bench.Row("study", 0, 0.1, "independent steps", -1.0, 0.1, "ok", 2.0)


@pytest.fixture
def ball() -> bench.Basin:
    """L(u) = ‖u‖²/2 below 0.02 in six dimensions: the ball of radius 0.2."""
    potential = Ellipsoid(torch.ones(6).numpy())
    return bench.Basin(potential, potential, 0.02, (0.05, 0.1, 0.5), np.full(50, math.log(0.2)))


def test_all_methods_on_a_ball(ball: bench.Basin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "DRAWS", 2000)
    exact = [chi2.logcdf((0.2 / sigma) ** 2, 6) for sigma in ball.sigmas]
    for name, method in bench.METHODS.items():
        found = method(ball)
        for truth, (value, error, verdict) in zip(exact, found, strict=True):
            if name == "independent steps" and truth < -6:
                assert math.isnan(value) and "inside" in verdict  # 2,000 steps of which three at most are inside
            else:
                # Four errors: twelve numbers with fixed seeds, whose errors come from four runs each.
                assert abs(value - truth) < 4 * error + 1e-9, name
    assert exact[0] > -0.1 and exact[2] < -6


def test_apart_counts_only_methods_that_say_ok() -> None:
    rows = [ROW, replace(ROW, method="subset simulation", value=-1.5, error=0.3)]
    rows += [replace(ROW, method="rays", value=-90.0, verdict="max-dominated")]
    assert bench.worst(rows) == pytest.approx(0.5 / math.hypot(0.1, 0.3))
    assert math.isnan(bench.worst(rows[1:]))


def test_the_page_says_why_a_number_is_missing() -> None:
    rows = [replace(ROW, method=name, value=-1.25, verdict="drift") for name in bench.METHODS]
    rows[0] = replace(rows[0], value=math.nan, error=math.nan, verdict="0 of 6,000 inside")
    last = bench.page(rows).splitlines()[-1]
    assert last == (
        "| `study` | 0 | 0.1 | 0 of 6,000 inside | -1.25 ± 0.1 (drift) | -1.25 ± 0.1 (drift) | -1.25 ± 0.1 (drift) | — "
        "| 2 and 2 |"
    )
