"""Alignment, barriers between several models, curved paths, trajectories and their planes."""

import json
from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minima_volume import Trajectory, loss_line, loss_path
from minima_volume.errors import ResultsError, UserError
from minima_volume.landscapes.alignment import align
from minima_volume.landscapes.barriers import barrier_matrix
from minima_volume.landscapes.path import weights_at
from tests.landscapes.problems import flat, with_weights

DRAW = torch.Generator().manual_seed(0)
IMAGES = torch.randn(80, 2, 6, 6, generator=DRAW)
LABELS = (IMAGES[:, 0].sum((1, 2)) * IMAGES[:, 1, 0, 0] > 0).long()
CROSS = nn.CrossEntropyLoss()


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(72, 24), nn.ReLU(), nn.Linear(24, 16), nn.GELU(), nn.Linear(16, 2))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 6, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 2),
    )  # fmt: skip


def flattened_maps() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(80, 2))


def trained(model: nn.Module, steps: int = 60) -> nn.Module:
    adam = torch.optim.Adam(model.train().parameters(), 0.01)
    for _ in range(steps):
        adam.zero_grad()
        CROSS(model(IMAGES), LABELS).backward()
        adam.step()
    return model.eval()


def shuffled(model: nn.Module) -> nn.Module:
    """A copy whose units are permuted by hand, layer by layer, through the indices of its state dict."""
    copy = deepcopy(model)
    state = copy.state_dict()
    weighted = [name for name, part in model.named_children() if isinstance(part, nn.Linear | nn.Conv2d)]
    for here, after in pairwise(weighted):
        units = len(state[f"{here}.weight"])
        order = torch.randperm(units, generator=DRAW)
        follower = str(int(here) + 1)
        normalised = isinstance(dict(model.named_children())[follower], nn.BatchNorm2d)
        for name in state:
            layer, _, part = name.partition(".")
            if part != "num_batches_tracked" and (layer == here or (normalised and layer == follower)):
                state[name] = state[name][order]
        weight = state[f"{after}.weight"]
        pixels = weight.shape[1] // units
        columns = (order[:, None] * pixels + torch.arange(pixels)).flatten()
        state[f"{after}.weight"] = weight[:, columns]
    copy.load_state_dict(state)
    return copy


@pytest.mark.parametrize("make", [mlp, cnn, flattened_maps])
def test_alignment_turns_the_barrier_of_a_shuffled_copy_into_nothing(make: type[nn.Module]) -> None:
    model = trained(with_weights(make(), 0))
    other = shuffled(model)
    with torch.no_grad():
        torch.testing.assert_close(other(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-5)  # the same function
        again = align(model, other)
        assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    data = (IMAGES, LABELS)
    before = loss_line(model, other, CROSS, data, nodes=11, batch_norm="recalibrate", progress=False)
    after = loss_line(model, other, CROSS, data, nodes=11, align=True, batch_norm="recalibrate", progress=False)
    assert before.barrier > 0.02 and after.barrier < 1e-6  # rounding of one network's loss


def test_alignment_of_other_networks_brings_weights_closer_and_keeps_the_function() -> None:
    a, b = (trained(with_weights(mlp(), seed)) for seed in (0, 1))
    again = align(a, b)
    with torch.no_grad():
        torch.testing.assert_close(again(IMAGES), b(IMAGES), rtol=1e-4, atol=1e-5)
    assert (flat(again) - flat(a)).norm() < (flat(b) - flat(a)).norm()
    with pytest.raises(UserError, match="to align"):
        align(nn.TransformerEncoderLayer(4, 1, 4), nn.TransformerEncoderLayer(4, 1, 4))


def test_a_barrier_matrix_holds_the_barriers_of_all_pairs() -> None:
    models = [trained(with_weights(mlp(), seed), 30) for seed in range(3)]
    found = barrier_matrix(models, CROSS, (IMAGES, LABELS), nodes=7, progress=False)
    line = loss_line(models[2], models[1], CROSS, (IMAGES, LABELS), nodes=7, progress=False)
    assert found[1, 2] == found[2, 1] == pytest.approx(line.barrier, rel=1e-6)
    assert not found.diagonal().any() and (found >= 0).all()


# --- paths ------------------------------------------------------------------------------------------------------------


def test_paths_have_the_weights_of_their_definition() -> None:
    t = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(weights_at(t, "bezier")[1], [0.5625, 0.375, 0.0625])
    np.testing.assert_allclose(
        weights_at(t, "polygon"), [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]]
    )


@pytest.mark.parametrize("bend", ["bezier", "polygon"])
def test_a_path_goes_round_a_barrier_and_its_models_have_its_losses(bend: str) -> None:
    a, b = (trained(with_weights(mlp(), seed), 150) for seed in (0, 1))
    data = (IMAGES, LABELS)
    straight = loss_line(a, b, CROSS, data, nodes=11, progress=False)
    curve = loss_path(a, b, CROSS, data, bend=bend, steps=300, nodes=11, progress=False)
    assert straight.barrier > 0.1 and curve.barrier < 0.5 * straight.barrier and curve.length > straight.length
    with torch.no_grad():
        for index in (0, 3, 10):
            alone = float(CROSS(curve.model_at(curve.t[index]).double()(IMAGES.double()), LABELS))
            # Parameters of the model at a point are rounded to float32.
            assert curve.loss[index] == pytest.approx(alone, rel=1e-4)
    assert curve.inside(float(curve.loss.max())) and not curve.inside(0.99 * float(curve.loss.max()))


def test_a_closure_can_bend_a_path() -> None:
    def closure(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="none")

    a, b = (trained(with_weights(mlp(), seed), 150) for seed in (0, 1))
    batches = [((IMAGES[i : i + 40], LABELS[i : i + 40]), 0)[:1] for i in (0, 40)]
    curve = loss_path(a, b, lambda model, batch: closure(model, batch[0]), batches, steps=150, nodes=5, progress=False)
    straight = loss_line(a, b, CROSS, (IMAGES, LABELS), nodes=5, progress=False)
    assert curve.barrier < 0.7 * straight.barrier


# --- trajectories -----------------------------------------------------------------------------------------------------


def recorded(path: Path | None, seed: int, steps: int = 12) -> tuple[Trajectory, nn.Module, Tensor]:
    model, trajectory, rows = with_weights(mlp(), seed), Trajectory(path), []
    sgd = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for _ in range(steps):
        sgd.zero_grad()
        CROSS(model(IMAGES), LABELS).backward()
        sgd.step()
        trajectory.record(model)
        rows.append(flat(model))
    return trajectory, model, torch.stack(rows)


def test_the_pca_plane_is_that_of_a_singular_value_decomposition(tmp_path: Path) -> None:
    trajectory, model, rows = recorded(tmp_path / "run.bin", 0)
    np.testing.assert_array_equal(trajectory.checkpoints, rows.float().numpy())
    plane = trajectory.pca_plane(CROSS, (IMAGES, LABELS), nodes=5, progress=False)
    differences = rows - rows[-1]
    _, values, axes = torch.linalg.svd(differences, full_matrices=False)
    np.testing.assert_allclose(plane.explained, values[:2] ** 2 / (values**2).sum(), rtol=1e-6)
    (track,) = plane.tracks
    places = (differences @ axes[:2].T).numpy()
    np.testing.assert_allclose(np.abs(np.stack([track.x, track.y], axis=1)), np.abs(places), rtol=1e-6, atol=1e-6)
    away = differences - torch.from_numpy(places) @ axes[:2]
    np.testing.assert_allclose(track.distance, away.norm(dim=1), rtol=1e-5, atol=1e-6)
    (end,) = plane.models
    assert (end.x, end.y, end.distance) == pytest.approx((0, 0, 0), abs=1e-9)
    with torch.no_grad():
        assert end.loss == pytest.approx(float(CROSS(model(IMAGES), LABELS)), rel=1e-5)


def test_a_trajectory_goes_on_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "run.bin"
    first, model, rows = recorded(path, 0, 4)
    with path.open("ab") as stream:
        stream.write(b"half a checkpoint")
    again = Trajectory.open(path, model)
    assert len(again) == 4
    again.record(model)
    np.testing.assert_array_equal(again.checkpoints, torch.cat([rows, rows[-1:]]).float().numpy())
    with pytest.raises(ResultsError, match=r"Trajectory\.open"):
        Trajectory(path)
    with pytest.raises(ResultsError, match="another"):
        Trajectory.open(path, nn.Linear(2, 2))
    with pytest.raises(UserError, match="first call"):
        first.record(nn.Linear(2, 2))


def test_a_trajectory_without_checksums_is_read_as_before(tmp_path: Path) -> None:
    path = tmp_path / "run.bin"
    _, model, rows = recorded(path, 0, 4)
    Path(f"{path}.sums").unlink()
    header = Path(f"{path}.json")
    header.write_text(
        json.dumps({"kind": "minima_volume.trajectory/1", "shapes": json.loads(header.read_text())["shapes"]})
    )
    again = Trajectory.open(path, model)
    again.record(model)
    np.testing.assert_array_equal(again.checkpoints, torch.cat([rows, rows[-1:]]).float().numpy())
    assert not Path(f"{path}.sums").exists()
    path.unlink()
    with pytest.raises(ResultsError, match="Record it again"):
        Trajectory.open(path, model)


def test_several_runs_share_one_plane() -> None:
    (first, _, _), (second, _, _) = recorded(None, 0), recorded(None, 1)
    plane = first.pca_plane(CROSS, (IMAGES, LABELS), others={"other": second}, nodes=5, progress=False)
    assert [track.name for track in plane.tracks] == ["run", "other"]
    assert plane.models[1].x == pytest.approx(plane.tracks[1].x[-1], rel=1e-6)
    assert all(plane.x[0] < x < plane.x[-1] for track in plane.tracks for x in track.x)
    with pytest.raises(UserError, match="three checkpoints"):
        Trajectory().pca_plane(CROSS, (IMAGES, LABELS))


def test_recording_leaves_the_model_and_random_state_alone() -> None:
    model = with_weights(mlp(), 3)
    before, state = flat(model), torch.get_rng_state()
    trajectory = Trajectory(only="weight")
    trajectory.record(model)
    assert torch.equal(flat(model), before) and torch.equal(torch.get_rng_state(), state)
    assert trajectory.checkpoints.shape == (1, sum(p.numel() for n, p in model.named_parameters() if "weight" in n))


def test_a_trajectory_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "run.sums").symlink_to(tmp_path / "precious")
    with pytest.raises(ResultsError, match=r"run\.sums"):
        Trajectory(tmp_path / "run").record(nn.Linear(1, 1))
    assert (tmp_path / "precious").read_text() == "mine"
