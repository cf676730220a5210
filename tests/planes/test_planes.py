"""Planes of studies: their numbers against plain loops, what is stored of them, and where they come from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from minima_volume.errors import ResultsError
from minima_volume.landscapes import survey as surveys
from minima_volume.networks import directions
from minima_volume.networks.minimum import Samples
from minima_volume.networks.parameters import Parameters
from minima_volume.pipeline.minima import folder_of, training_fingerprint
from minima_volume.pipeline.repeat import Repeat
from minima_volume.pipeline.study import find_study
from minima_volume.planes import checkpoints, descent, profiles, random_plane, sources, study_plane, through_minima
from minima_volume.storage import archives, layout, tables
from minima_volume.training.trainer import evaluate
from tests.videos.films import some_minima

SIZES = [10, 40, 90]


def quick(name: str) -> Repeat:
    """The first repeat of a study at quick scale."""
    return Repeat(find_study(name).at_scale("quick"), 0)


def corners_of(repeat: Repeat) -> list[Parameters]:
    """Three untrained networks."""
    return [minimum.parameters for minimum in some_minima(repeat).values()][:3]


def mean_losses(repeat: Repeat, moved: Parameters, samples: Samples) -> list[float]:
    """Mean losses over the first samples in float64."""
    double = {name: value.double() for name, value in moved.items()}
    losses = samples.criterion(functional_call(repeat.model, double, (samples.inputs.double(),)), samples.targets)
    return [float(losses[:size].mean()) for size in SIZES]


def test_planes_through_minima_equal_a_plain_loop(tmp_path: Path) -> None:
    repeat = quick("digits_data")
    corners, samples = corners_of(repeat), repeat.samples.part(0, 90)
    path = tmp_path / "plane.npz"
    plane = through_minima.plane_through(path, repeat, corners, samples, nodes=5, sizes=SIZES)
    a, b, c = (torch.cat([p.double().flatten() for p in corner.values()]) for corner in corners)
    first = (b - a) / (b - a).norm()
    second = (c - a) - ((c - a) @ first) * first
    second /= second.norm()
    for j, i in np.ndindex(5, 5):
        flat, moved, start = a + plane.x[i] * first + plane.y[j] * second, {}, 0
        for name, value in corners[0].items():
            moved[name] = flat[start : start + value.numel()].view_as(value)
            start += value.numel()
        # Float32 passes that agree with float64 to 5e-7 on probed points.
        np.testing.assert_allclose(plane.mean_loss[:, j, i], mean_losses(repeat, moved, samples), rtol=1e-6)
    for mark, corner in zip(plane.models, corners, strict=True):
        np.testing.assert_allclose(mark.mean_loss, mean_losses(repeat, corner, samples), rtol=1e-6)


def test_a_stored_plane_reads_back_and_its_points_are_deleted(tmp_path: Path) -> None:
    repeat, path = quick("digits_data"), tmp_path / "some_plane.npz"
    plane = through_minima.plane_through(
        path, repeat, corners_of(repeat), repeat.samples.part(0, 90), nodes=5, sizes=SIZES
    )
    assert through_minima.points_of(path).exists()
    headers = [{"level": level, "n_train": n, "test_accuracy": 0.5} for level, n in ((0, 30), (70, 100), (270, 300))]
    info = through_minima.describe(repeat, "quick", headers) | {"fingerprint": "one"}
    assert through_minima.store(path, info, plane) == path
    assert not through_minima.points_of(path).exists()
    found = study_plane.read(path)
    np.testing.assert_array_equal(found.at_corners(), [mark.mean_loss for mark in plane.models])
    assert found.info["one_initialisation"] and [corner["letter"] for corner in found.info["corners"]] == [
        "A",
        "B",
        "C",
    ]
    assert study_plane.is_current(path, "one") and not study_plane.is_current(path, "other")
    path.unlink()
    assert not study_plane.is_current(path, "one")


def test_an_interrupted_plane_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repeat, samples = quick("digits_data"), quick("digits_data").samples.part(0, 90)
    whole = through_minima.plane_through(
        tmp_path / "whole.npz", repeat, corners_of(repeat), samples, nodes=7, sizes=SIZES
    )
    evaluated: list[int] = []
    means = surveys.Evaluation.means

    def counted(self: Any, points: Any) -> Any:
        if self.sizes[-1] == 90 and len(points) > surveys.PROBES:
            if len(evaluated) == 3:
                raise KeyboardInterrupt
            evaluated.append(len(points))
        return means(self, points)

    monkeypatch.setattr(surveys.Evaluation, "means", counted)
    monkeypatch.setattr(surveys, "BLOCKS", 6)
    path = tmp_path / "parts.npz"
    with pytest.raises(KeyboardInterrupt):
        through_minima.plane_through(path, repeat, corners_of(repeat), samples, nodes=7, sizes=SIZES)
    done = sum(evaluated)
    evaluated.clear()
    found = through_minima.plane_through(path, repeat, corners_of(repeat), samples, nodes=7, sizes=SIZES)
    assert done + sum(evaluated) == 7 * 7 + 3  # with the three minima, none of them twice
    np.testing.assert_array_equal(found.mean_loss, whole.mean_loss)


def test_data_sizes_rise_in_equal_ratios_and_include_all_marks() -> None:
    sizes = through_minima.data_sizes([600, 6000, 60_000], 401)
    assert {600, 6000, 60_000} <= set(sizes) and len(sizes) == 401
    assert (np.diff(sizes) > 0).all() and (sizes[1:] / sizes[:-1]).max() < 1.02


def test_colours_span_decades_around_the_threshold(example: Any) -> None:
    data = example[0]
    losses = np.array([[[2e-3, 0.5], [3.0, np.inf]], [[1e-9, 0.5], [3e4, np.nan]]])

    def with_losses(values: Any) -> study_plane.StudyPlane:
        return replace(data, plane=replace(data.plane, mean_loss=values, sizes=(1, 2)))

    narrow = with_losses(np.where(np.isfinite(losses[[0, 0]]), losses[[0, 0]], 4))
    assert (narrow.floor, narrow.ceiling) == (1e-3, 10.0)
    wide = with_losses(losses)
    assert (wide.floor, wide.ceiling) == (1e-4, 100.0)
    np.testing.assert_allclose(wide.drawn(1), [[-4, np.log10(0.5)], [2, 2]])
    names = list(wide.decades().values())
    assert names[0].startswith("≤") and names[-1].startswith("≥") and len(names) == 7
    assert not any("≤" in name or "≥" in name for name in narrow.decades().values())
    holed = with_losses(np.where(losses == 3.0, np.nan, narrow.plane.mean_loss))
    assert list(holed.decades().values())[-1].startswith("≥")  # what is no number is drawn at the top and said to be


def test_random_planes_equal_a_plain_loop() -> None:
    repeat = quick("modulo_grokking")
    samples, minimum = checkpoints.ordered_samples(repeat).part(0, 50), some_minima(repeat)[200]
    x = np.linspace(-8, 8, 3)
    seen, unseen = random_plane.two_losses(repeat, minimum, samples, x, 30)
    first, second = directions.draw_directions(repeat.study.direction_seed, [0, 1], minimum.layout.n_params).double()
    at_minimum, inputs = minimum.layout.flatten(minimum.parameters).double(), samples.inputs.double()
    for j, i in np.ndindex(3, 3):
        step = x[i] * first / first.norm() + x[j] * second / second.norm()
        moved = minimum.layout.split(at_minimum + minimum.scales.double() * step)
        outputs = functional_call(repeat.model, moved, (inputs,))
        losses = (outputs - nn.functional.one_hot(samples.targets, 97)).square().mean(dim=1)
        # Float32 passes that agree with float64 to 5e-7 on probed points; the difference of two sums has more.
        assert (seen[j, i], unseen[j, i]) == pytest.approx(
            (losses[:30].mean().item(), losses[30:].mean().item()), rel=5e-6
        )


def test_only_minima_with_the_present_settings_are_loaded_and_only_those_asked_for(no_results: Path) -> None:
    repeat = quick("modulo_data")
    study = repeat.study
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
    for name, levels in (("modulo_data", (0, 2634)), ("modulo_grokking", (200, 400))):
        repeat = quick(name)
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


def test_checkpoints_lie_on_their_plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repeat = quick("modulo_grokking")
    minima = some_minima(repeat)
    stored = {epoch: ({"level": epoch, "n_train": repeat.study.base, "test_accuracy": 0.0, "fingerprint": str(epoch)}, m)
              for epoch, m in minima.items()}  # fmt: skip
    few = checkpoints.ordered_samples(repeat)
    monkeypatch.setattr(sources, "load_trained", lambda *_: (repeat, stored))
    monkeypatch.setattr(checkpoints, "ordered_samples", lambda _: few.part(0, repeat.study.base + 20))
    monkeypatch.setitem(checkpoints.NODES, "quick", 3)
    data = study_plane.read(checkpoints.checkpoint_plane("modulo_grokking", "quick", tmp_path))
    track = {row["epoch"]: row for row in data.info["checkpoints"]}
    assert list(track) == list(minima)
    for corner, mark in zip(data.info["corners"], data.corners, strict=True):
        row = track[corner["level"]]
        assert (row["x"], row["y"]) == pytest.approx((mark.x, mark.y), rel=1e-9, abs=1e-9)
        assert row["distance"] == pytest.approx(0, abs=1e-5 * np.ptp(data.plane.x))  # float32 weights


def test_corners_of_a_run_are_the_start_the_first_fit_and_the_end() -> None:
    rows = [
        {"epoch": e, "train_accuracy": t} for e, t in ((100, 0.5), (200, 0.9), (400, 0.995), (800, 1.0), (1600, 1.0))
    ]
    assert checkpoints.corners_of(rows) == (100, 400, 1600)
    assert checkpoints.corners_of(rows[:3]) == (100, 200, 400)
    with pytest.raises(ResultsError, match="three checkpoints"):
        checkpoints.corners_of(rows[:2])


def test_a_descent_starts_at_the_initial_weights_and_ends_in_the_minimum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = find_study("digits_data").at_scale("quick")
    short = replace(study, levels=(0, 70), recipe=replace(study.recipe, epochs=6))
    monkeypatch.setattr(sources, "open_study", lambda *_: (short, quick("digits_data").settings))
    monkeypatch.setitem(descent.NODES, "quick", 3)
    data = study_plane.read(descent.descent_plane("digits_data", "quick", tmp_path))
    rows = data.info["checkpoints"]
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 4, 5, 6]
    assert (rows[-1]["x"], rows[-1]["y"], rows[-1]["distance"]) == pytest.approx((0, 0, 0), abs=1e-6)
    assert rows[0]["train_loss"] > rows[-1]["train_loss"] == pytest.approx(data.plane.models[0].loss, rel=1e-6)
    squares = sum(row["x"] ** 2 + row["y"] ** 2 + row["distance"] ** 2 for row in rows)
    along = [sum(row[axis] ** 2 for row in rows) / squares for axis in ("x", "y")]
    np.testing.assert_allclose(data.plane.explained, along, rtol=1e-5)  # float32 checkpoints
    assert study_plane.is_current(tmp_path / "descent_plane.npz", data.info["fingerprint"])


def test_profiles_hold_the_losses_on_three_sets_of_samples(no_results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ResultsError, match=r"`make results/quick/digits_data/repeat_0/minima\.json SCALE=quick`"):
        profiles.write_profiles("digits_data", "quick")
    repeat = quick("digits_data")
    monkeypatch.setitem(profiles.NODES, "quick", 3)
    monkeypatch.setattr(profiles, "DIRECTIONS", 2)
    level = repeat.study.levels[1]
    minimum = some_minima(repeat)[level]
    rows = list(profiles.rows_of(repeat, level, minimum, "quick"))
    assert [(row["direction"], row["radius"]) for row in rows] == [(d, r) for d in (0, 1) for r in (-60.0, 0.0, 60.0)]
    n_train, data = repeat.study.n_train(level), repeat.dataset
    block = directions.draw_directions(repeat.study.direction_seed, [0, 1], minimum.layout.n_params).double()
    for row in rows:
        g = block[row["direction"]]
        step = row["radius"] * minimum.scales.double() * g / g.norm()
        moved = minimum.layout.split(minimum.layout.flatten(minimum.parameters).double() + step)
        for name, (inputs, targets) in {
            "base_loss": (repeat.samples.inputs[:30], repeat.samples.targets[:30]),
            "train_loss": (repeat.samples.inputs[:n_train], repeat.samples.targets[:n_train]),
            "test_loss": (data.test_inputs, data.test_targets),
        }.items():
            losses = repeat.criterion(functional_call(repeat.model, moved, (inputs.double(),)), targets)
            assert float(row[name]) == pytest.approx(losses.mean().item(), rel=6e-5)  # five digits
