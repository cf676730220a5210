"""Films of tables, boundaries, checkpoints and grokking: what they draw equals their inputs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from minima_volume.errors import ResultsError
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import layout_of
from minima_volume.pipeline.repeat import Repeat
from minima_volume.pipeline.study import find_study
from minima_volume.planes import checkpoints, deformation, study_plane
from minima_volume.planes.study_plane import StudyPlane
from minima_volume.storage import archives, layout, tables
from tests.videos.films import TINY
from videos import boundary, descent, elements, grokking_path, growing_volume, render

ROWS = [
    # level, landscape, repeat, status, log volume, typical log volume
    (0, 0, 0, "ok", 10.0, 5.0), (0, 0, 1, "ok", 14.0, 7.0),
    (90, 0, 0, "ok", 8.0, 4.0), (90, 0, 1, "ok", 6.0, 2.0),
    (90, 90, 0, "ok", 5.0, 1.0), (90, 90, 1, "unconverged", float("-inf"), float("nan")),
]  # fmt: skip


def write_volumes(folder: Path, rows: Sequence[tuple[Any, ...]]) -> None:
    keys = ("level", "landscape", "repeat", "status", "log_volume", "typical_log_volume")
    common = {"data": "toys", "model": "net", "metric": "loss"}
    full = [{**common, **dict(zip(keys, row, strict=True)), "threshold": t} for row in rows for t in (0.1, 0.05)]
    write_text(folder, tables.table_text(growing_volume.COLUMNS, full))


def write_text(folder: Path, text: str) -> None:
    tables.write_tables(folder / "run.json", {folder / "volumes.csv": text}, {"settings": {"base": 10}})


def test_curves_are_the_rows_of_the_table(no_results: Path) -> None:
    folder = layout.study_folder("quick", "toys")
    write_volumes(folder, ROWS)
    table = growing_volume.Table.read(folder)
    assert (table.threshold, table.base, table.absent) == (0.1, 10, 1) and "1 values not drawn" in table.words()
    small, large = table.curves("log_volume")
    assert (small.n_train, small.means.tolist(), small.spreads.tolist()) == (10, [12.0], [2.0])
    assert (large.sizes.tolist(), large.means.tolist(), large.spreads.tolist()) == ([10, 100], [7.0, 5.0], [1.0, 0.0])
    sizes, means, _ = large.until(10 * np.sqrt(10))  # half way on the logarithmic axis
    assert sizes[-1] == pytest.approx(31.6228, abs=1e-4) and means.tolist() == [7.0, pytest.approx(6.0)]
    assert large.until(1000)[1].tolist() == [7.0, 5.0]
    made = growing_volume.film("toys", "quick", no_results, 10)
    first, last = (render.picture(made.scene, state, TINY.width, TINY.height) for state in (0, made.states[-1]))
    assert first != last


@pytest.mark.parametrize("cell", ["", "-inf", "nan"])
def test_missing_volumes_are_counted_and_not_drawn(cell: str, no_results: Path) -> None:
    folder = layout.study_folder("quick", "toys")
    write_volumes(folder, ROWS[:5])
    path = folder / "volumes.csv"
    write_text(folder, path.read_text().replace("90,0.1,loss,ok,5,1", f"90,0.1,loss,ok,{cell},1"))
    table = growing_volume.Table.read(folder)
    assert table.absent == 1 and table.curves("log_volume")[1].sizes.tolist() == [10]
    assert not table.curves("log_volume")[1].reaches_own(1000)  # no dot where the volume is not known


def test_a_table_without_volumes_is_refused(no_results: Path) -> None:
    folder = layout.study_folder("quick", "toys")
    for rows in ((), ROWS[-1:]):
        write_volumes(folder, rows)
        with pytest.raises(ResultsError, match="got none that is finite"):
            growing_volume.film("toys", "quick", no_results, 10)


def test_a_boundary_deforms_up_to_the_threshold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deformation, "STEPS", 5)
    monkeypatch.setattr(deformation, "SIDE", 9)
    inputs = torch.tensor([[x, y] for x in (-2.0, -1.0, 1.0, 2.0) for y in (-1.0, 1.0)])
    model = nn.Sequential(nn.Linear(2, 1))
    weights = {"0.weight": torch.tensor([[3.0, 0.0]]), "0.bias": torch.zeros(1)}
    minimum = Minimum.of(weights, layout_of(weights))
    samples = Samples(inputs, (inputs[:, 0] > 0).long(), loss_of_logits)
    number, arrays = deformation.deform(model, minimum, samples, threshold=0.3, seed=0)
    assert arrays["losses"][0] < 0.3
    assert arrays["losses"][-1] == pytest.approx(0.3, rel=1e-4)  # float32 logits along a ray solved to 10⁻⁶
    assert (arrays["losses"][:-1] < 0.3).all()
    assert arrays["radii"][0] == 0 and np.allclose(np.diff(arrays["radii"], n=2), 0)
    np.testing.assert_allclose(
        arrays["logits"][0], 3 * np.broadcast_to(arrays["side"], (9, 9)), rtol=1e-3
    )  # x along rows
    assert not arrays["wrong"][0].any()
    info = {"scale": "quick", "data": "toys", "model": "net", "n_train": 8, "threshold": 0.3, "direction": number}
    archives.write_arrays(tmp_path / "boundary.npz", info, arrays)
    scene = boundary.Boundary(tmp_path / "boundary.npz")
    assert len({render.picture(scene, state, TINY.width, TINY.height) for state in (0, 2, 4)}) == 3
    with pytest.raises(ResultsError, match="Expected a direction among 20"):
        deformation.deform(model, minimum, samples, threshold=1e9, seed=0)


def loss_of_logits(outputs: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of logits (…, N, 1), by torch's own function."""
    logits = outputs.squeeze(-1)
    return nn.functional.binary_cross_entropy_with_logits(
        logits, targets.to(logits).expand_as(logits), reduction="none"
    )


def test_unseen_pairs_follow_the_seen_ones(example: Any, tmp_path: Path) -> None:
    repeat = Repeat(find_study("modulo_grokking").at_scale("quick"), 0)
    samples, base = checkpoints.ordered_samples(repeat), repeat.study.base
    torch.testing.assert_close(samples.inputs[:base], repeat.samples.inputs[:base])
    numbers = samples.inputs.reshape(-1, 2, 97).argmax(-1)
    assert len(torch.unique(numbers, dim=0)) == len(samples) == 97 * 97
    data = two_sizes(example[0])
    train, unseen = (10**heights for heights in grokking_path._two_landscapes(data))
    drawn = np.maximum(train, unseen) < data.ceiling
    assert drawn.mean() > 0.5
    mixed = ((10 * train + 30 * unseen) / 40)[drawn]
    np.testing.assert_allclose(mixed, data.plane.mean_loss[1][drawn], rtol=1e-9)


def two_sizes(data: StudyPlane, **info: Any) -> StudyPlane:
    """The example at two data sizes, 10 and 40."""
    return replace(
        data, info=data.info | info, plane=replace(data.plane, sizes=(10, 40), mean_loss=data.plane.mean_loss[[0, 1]])
    )


def test_grokking_is_drawn(example: Any, tmp_path: Path) -> None:
    track = [{"epoch": e, "x": x, "y": y, "distance": 0.0, "train_accuracy": 1.0, "unseen_accuracy": u}
             for e, x, y, u in ((100, 0, 0, 0.0), (400, 1, 0, 0.1), (1600, 0, 1, 0.9))]  # fmt: skip
    study_plane.write(tmp_path / "plane.npz", two_sizes(example[0], checkpoints=track))
    scene = grokking_path.Grokking(tmp_path / "plane.npz")
    states = (0, grokking_path.STEPS // 2, grokking_path.STEPS - 1)
    assert len({render.picture(scene, state, TINY.width, TINY.height) for state in states}) == 3
    moments = elements.Track(track, grokking_path.STEPS)
    middle = grokking_path.STEPS // 2
    assert moments.epochs[middle] == pytest.approx(400) and moments.of("x")[middle] == pytest.approx(1)


def test_a_descent_is_drawn(example: Any, tmp_path: Path) -> None:
    track = [{"epoch": e, "x": x, "y": 0.1, "distance": x, "train_loss": 1.0 - x, "test_loss": 2.0 - x}
             for e, x in ((0, 0.9), (9, 0.5), (99, 0.0))]  # fmt: skip
    plane = replace(example[0].plane, explained=(0.9, 0.05))
    data = StudyPlane(example[0].info | {"checkpoints": track, "corners": [], "n_train": 40}, plane)
    study_plane.write(tmp_path / "plane.npz", data)
    scene = descent.Descent(tmp_path / "plane.npz")
    states = (0, descent.STEPS // 2, descent.STEPS - 1)
    assert len({render.picture(scene, state, TINY.width, TINY.height) for state in states}) == 3
    moments = elements.Track(track, descent.STEPS, first=1)
    middle = descent.STEPS // 2  # evenly in the logarithm of 1 + epoch
    assert moments.epochs[[0, middle, -1]] == pytest.approx([0, 9, 99])
    assert moments.of("distance")[middle] == pytest.approx(0.5)
