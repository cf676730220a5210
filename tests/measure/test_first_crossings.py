"""First crossings along rays of real networks against dense scans."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minima_volume import measure_volume
from minima_volume.networks.directions import draw_directions
from tests.measure.zoo.curves import NETWORKS, earlier_crossings, narrow_sines

RAYS = 40


def crossings(found: Any) -> list[float]:
    """Return c of each ray, from ln r = ln c + ln ‖g‖; NaN for a censored one."""
    norms = draw_directions(0, range(len(found.log_radii)), found.n_params).double().norm(dim=1).numpy()
    return np.where(found.censored, np.nan, np.exp(found.log_radii) / norms).tolist()


@pytest.mark.parametrize(("name", "build", "rise"), NETWORKS, ids=[name for name, _, _ in NETWORKS])
def test_no_crossing_is_stepped_over(name: str, build: Callable[[], Any], rise: float) -> None:
    model, loss, data = build()
    threshold = float(loss(model(data[0]), data[1]).detach()) + rise
    found = measure_volume(model, loss, data, threshold=threshold, n_directions=RAYS, progress=False)
    assert earlier_crossings(model, loss, data, threshold, crossings(found)) == 0
    assert "may be too high" not in found.verdict.sentence


def test_rays_that_the_scan_steps_over_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model, loss, data = narrow_sines()
    before = measure_volume(model, loss, data, threshold=0.3, n_directions=RAYS, progress=False)
    # Without a look between the nodes a third of the rays has an earlier crossing.
    monkeypatch.setattr("minima_volume.crossings.refine.BUDGET", 0)
    scanned = measure_volume(model, loss, data, threshold=0.3, n_directions=RAYS, progress=False)
    assert "may be too high" in scanned.verdict.sentence
    missed = earlier_crossings(model, loss, data, 0.3, crossings(scanned))
    assert missed > RAYS // 4
    assert earlier_crossings(model.float(), loss, data, 0.3, crossings(before)) == 0
    assert before.log_volume < scanned.log_volume - 100
