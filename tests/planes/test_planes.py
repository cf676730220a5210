"""Losses on planes through minima and along random directions, against plain loops."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from minima_volume.errors import ResultsError
from minima_volume.networks import directions
from minima_volume.networks.losses import cross_entropy
from minima_volume.networks.parameters import parameters_of
from minima_volume.pipeline.minima import folder_of, training_fingerprint
from minima_volume.pipeline.study import Repeat, find_study
from minima_volume.planes import checkpoints, grid, random_plane, sources
from minima_volume.planes import plane as planes
from minima_volume.storage import archives, layout, tables
from minima_volume.training.models import mlp
from minima_volume.training.trainer import evaluate
from tests.videos.films import Serial, small_plane, some_minima


class Branched(nn.Module):
    """A network that is not a plain stack of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.left(x)) * self.right(x)


@pytest.mark.parametrize("make", [lambda: mlp(5, 7, 3), Branched])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    # Sums over 37 samples in another order: a few hundred roundings of 10⁻¹⁶; float32 losses carry 10⁻⁷ each.
    [(torch.float64, 1e-13), (torch.float32, 2e-6)],
)
def test_mean_losses_equal_a_plain_loop(
    make: Callable[[], nn.Module], dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(planes.TILE_ELEMENTS, "cpu", 150)  # several spans of samples and several calls per row
    plane, x, sizes = small_plane(make, dtype), np.linspace(-0.5, 1.5, 5), np.array([3, 10, 11, 37])
    found = planes.row_sums(plane, x, x[1:4], sizes) / sizes[:, None, None]
    a, b, c = plane.corners
    for j, y in enumerate(x[1:4]):
        for i, at in enumerate(x):
            moved = {name: a[name] + at * (b[name] - a[name]) + y * (c[name] - a[name]) for name in a}
            outputs = functional_call(plane.model, moved, (plane.samples.inputs,))
            losses = nn.functional.cross_entropy(outputs, plane.samples.targets, reduction="none")
            wanted = [losses[:size].mean().item() for size in sizes]
            np.testing.assert_allclose(found[:, j, i], wanted, rtol=tolerance)


def test_corners_are_the_minima_and_the_model_is_unchanged() -> None:
    plane, x, sizes = small_plane(lambda: mlp(5, 7, 3), torch.float64), np.linspace(-0.5, 1.5, 5), np.array([20, 37])
    before = parameters_of(plane.model)
    data = grid.Grid({}, x, x, sizes, planes.row_sums(plane, x, x, sizes) / sizes[:, None, None])
    for found, corner in zip(data.at_corners(), plane.corners, strict=True):
        losses = cross_entropy(functional_call(plane.model, corner, (plane.samples.inputs,)), plane.samples.targets)
        np.testing.assert_allclose(found, [losses[:20].mean().item(), losses.mean().item()], rtol=1e-12)
    assert all(torch.equal(before[name], tensor) for name, tensor in plane.model.named_parameters())
    lengths = plane.geometry()
    flat = [torch.cat([tensor.flatten() for tensor in corner.values()]) for corner in plane.corners]
    assert lengths["length_b"] == pytest.approx((flat[1] - flat[0]).norm().item(), rel=1e-12)


def test_an_interrupted_plane_resumes(tmp_path: Path) -> None:
    plane, x, sizes = small_plane(lambda: mlp(5, 7, 3), torch.float32), np.linspace(-0.5, 1.5, 11), np.array([10, 37])
    info = {"fingerprint": "one", "threshold": 0.1}
    whole = planes.compute_grid(tmp_path / "whole.npz", plane, x, sizes, info, Serial())
    path, stopped = tmp_path / "parts.npz", Serial(stop=2)
    with pytest.raises(KeyboardInterrupt):
        planes.compute_grid(path, plane, x, sizes, info, stopped)
    kept = sorted((tmp_path / "parts.rows").glob("*.npz"))
    times = [block.stat().st_mtime_ns for block in kept]
    assert len(kept) == 2 and not path.exists()
    with pytest.raises(KeyboardInterrupt):
        planes.compute_grid(path, plane, x, sizes, info, Serial(stop=2))
    assert [block.stat().st_mtime_ns for block in kept] == times  # found, not computed again
    planes.compute_grid(path, plane, x, sizes, info, Serial())
    np.testing.assert_array_equal(grid.read(path).mean_loss, grid.read(whole).mean_loss)
    idle = Serial()
    planes.compute_grid(path, plane, x, sizes, info, idle)
    assert idle.done == 0 and not (tmp_path / "parts.rows").exists()
    planes.compute_grid(path, plane, x, sizes, info | {"fingerprint": "other"}, idle)
    assert idle.done == 3


def test_data_sizes_rise_in_equal_ratios_and_include_all_marks() -> None:
    sizes = planes.data_sizes([600, 6000, 60_000], 401)
    assert {600, 6000, 60_000} <= set(sizes) and len(sizes) == 401
    assert (np.diff(sizes) > 0).all() and (sizes[1:] / sizes[:-1]).max() < 1.02


def test_colours_span_decades_around_the_threshold() -> None:
    x = np.array([0.0, 1.0])
    losses = np.array([[[2e-3, 0.5], [3.0, np.inf]], [[1e-9, 0.5], [3e4, np.nan]]])
    narrow = grid.Grid(
        {"threshold": 0.1}, x, x, np.array([1, 2]), np.where(np.isfinite(losses[[0, 0]]), losses[[0, 0]], 4)
    )
    assert (narrow.floor, narrow.ceiling) == (1e-3, 10.0)
    wide = grid.Grid({"threshold": 0.1}, x, x, np.array([1, 2]), losses)
    assert (wide.floor, wide.ceiling) == (1e-4, 100.0)
    np.testing.assert_allclose(wide.drawn(1), [[-4, np.log10(0.5)], [2, 2]])
    names = list(wide.decades().values())
    assert names[0].startswith("≤") and names[-1].startswith("≥") and len(names) == 7
    assert not any("≤" in name or "≥" in name for name in narrow.decades().values())
    holed = replace(narrow, mean_loss=np.where(losses == 3.0, np.nan, narrow.mean_loss))
    assert list(holed.decades().values())[-1].startswith("≥")  # what is no number is drawn at the top and said to be


def test_random_planes_equal_a_plain_loop() -> None:
    repeat = Repeat(find_study("modulo_grokking").at_scale("quick"), 0)
    samples, minimum = checkpoints.ordered_samples(repeat).part(0, 50), some_minima(repeat)[200]
    x = np.linspace(-8, 8, 3)
    seen, unseen = random_plane.two_losses(random_plane.plane_at(repeat, minimum, samples), x, 30, Serial())
    first, second = directions.draw_directions(repeat.study.direction_seed, [0, 1], minimum.layout.n_params)
    at_minimum = minimum.layout.flatten(minimum.parameters)
    for j, i in np.ndindex(3, 3):
        step = x[i] * first / first.norm() + x[j] * second / second.norm()
        moved = minimum.layout.split(at_minimum + minimum.scales * step)
        outputs = functional_call(repeat.model, moved, (samples.inputs,))
        losses = (outputs - nn.functional.one_hot(samples.targets, 97)).square().mean(dim=1)
        # float32 with weights that were subtracted and added again
        assert (seen[j, i], unseen[j, i]) == pytest.approx(
            (losses[:30].mean().item(), losses[30:].mean().item()), rel=1e-4
        )


def test_only_minima_with_the_present_settings_are_loaded_and_only_those_asked_for(no_results: Path) -> None:
    study = find_study("modulo_data").at_scale("quick")
    repeat = Repeat(study, 0)
    for level, minimum in some_minima(repeat).items():
        tensors = {layout.parameter_key(name): tensor for name, tensor in minimum.parameters.items()}
        fits = training_fingerprint(repeat, level) if level == study.levels[0] else "of other settings"
        archives.write_tensors(layout.minimum_path(folder_of(repeat, "quick"), level), {"fingerprint": fits}, tensors)
    first, last = study.levels[0], study.levels[-1]
    _, found = sources.load_trained(study, "quick", [first], repeat.settings)
    assert list(found) == [first]  # the others would not have been accepted
    with pytest.raises(
        ResultsError, match=rf"levels \[{last}\].* got older ones: run `make results/quick/modulo_data/"
    ):
        sources.load_trained(study, "quick", [first, last], repeat.settings)


def test_slices_hold_the_loss_of_the_minima(no_results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ResultsError, match=r"`make results/quick/modulo_data/repeat_0/minima\.json SCALE=quick`"):
        random_plane.write_slices("modulo_data", "quick")
    monkeypatch.setitem(random_plane.SIDE, "quick", 3)
    monkeypatch.setattr(random_plane, "run_tasks", lambda tasks, **_: [task() for task in tasks])
    for name, levels in (("modulo_data", (0, 2634)), ("modulo_grokking", (200, 400))):
        repeat = Repeat(find_study(name).at_scale("quick"), 0)
        minima = some_minima(repeat)
        stored = {level: ({}, minimum) for level, minimum in minima.items()}
        monkeypatch.setattr(sources, "load_trained", lambda *_, found=(repeat, stored): found)
        rows = tables.read_table(random_plane.write_slices(name, "quick"), layout.SLICE_COLUMNS)
        assert len(rows) == 18
        centres = [row for row in rows if float(row["radius_1"]) == float(row["radius_2"]) == 0]
        assert tuple(int(row["level"]) for row in centres) == levels
        for row in centres:
            n_train, parameters = int(row["n_train"]), minima[int(row["level"])].parameters
            assert n_train == repeat.study.n_train(int(row["level"]))
            samples = checkpoints.ordered_samples(repeat)
            losses, _ = evaluate(repeat.model, parameters, samples.inputs, samples.targets, samples.criterion)
            assert float(row["seen_loss"]) == pytest.approx(losses[:n_train].mean().item(), rel=1e-4)  # five digits
            assert float(row["unseen_loss"]) == pytest.approx(losses[n_train:].mean().item(), rel=1e-4)
