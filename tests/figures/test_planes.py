"""Figures of stored planes, rays and minima: they draw the contents of the files and refuse files of another run."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from figs import boundaries, radii, rank_stability, slices
from minima_volume.analysis import dense, tables
from minima_volume.analysis import radii as analysis_radii
from minima_volume.errors import ResultsError
from minima_volume.storage import archives, layout
from minima_volume.storage import tables as storage_tables
from minima_volume.training import datasets
from minima_volume.training.models import build_model
from tests.figures import made_up_results
from tests.figures.made_up_results import (
    LEVELS,
    N_DIRECTIONS,
    Rows,
    assert_readable,
    caption,
    nested,
    row,
    some_rays,
    with_rays,
    write,
)

pytestmark = pytest.mark.usefixtures("folders")


def sliced(
    study: str, levels: tuple[int, int], damage: Callable[[Rows], Rows] = lambda rows: rows, **changed: Any
) -> None:
    """Write planes of two minima whose loss is a paraboloid over the radii, and their table."""
    radius = np.linspace(-8, 8, 5)
    cells = [
        {"repeat": 0, "level": level, "n_train": 20 + level, "radius_1": x, "radius_2": y,
         "seen_loss": 0.003 + (x * x + 4 * y * y) / 2000, "unseen_loss": 0.02}
        for level in levels for y in radius for x in radius
    ]  # fmt: skip
    write(study, [row(study, 0, level, 0, 0.01, unseen_accuracy=level / 1000) for level in levels], thresholds=(0.01, 0.005),
          data="modulo", **changed)  # fmt: skip
    path = layout.study_folder("paper", study) / "slices.csv"
    text = "\n".join([",".join(layout.SLICE_COLUMNS), *(",".join(map(str, c.values())) for c in damage(cells))])
    storage_tables.write_tables(path.with_suffix(".json"), {path: text}, {})


def test_slices_draw_both_studies_side_by_side(picture: Callable[..., Figure]) -> None:
    sliced("modulo_grokking", (100, 400), level_means="epochs")
    with pytest.raises(ResultsError, match=r"slices of modulo_data, got none: run `make slices SCALE=paper`"):
        slices.draw("modulo_grokking", "paper")
    sliced("modulo_data", (0, 280))
    assert slices.draw("modulo_data", "paper") == []
    figure = picture(slices, "modulo_grokking")
    panels = figure.axes[:8]
    titles = [axes.get_title(loc="left").split("$   ")[1] for axes in panels]
    assert titles[:4] == [
        "20 pairs,\n5 epochs",
        "300 pairs,\n5 epochs",
        "120 pairs,\n100 epochs",
        "420 pairs,\n400 epochs",
    ]
    assert titles[4:] == ["accuracy\n0.000", "accuracy\n0.280", "accuracy\n0.100", "accuracy\n0.400"]
    radius = np.linspace(-8, 8, 5)
    x, y = np.meshgrid(radius, radius)
    for axes in panels[:4]:
        assert np.asarray(axes.images[0].get_array()) == pytest.approx(
            0.003 + (x**2 + 4 * y**2) / 2000
        )  # x runs to the right
        assert axes.images[0].get_extent() == [-10, 10, -10, 10]  # pixels of width 4, centred on the radii
        assert len(axes.collections) == 2  # both thresholds are crossed
    assert not any(axes.collections for axes in panels[4:])  # a loss of 0.02 crosses none
    assert "loss 1/97 = 0.0103" in caption(figure)
    assert_readable(figure)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda rows: [{**rows[0], "unseen_loss": ""}, *rows[1:]], "losses above 0 in all slices"),
        (lambda rows: [{**rows[0], "seen_loss": "-inf"}, *rows[1:]], "losses above 0 in all slices"),
        (lambda rows: rows[:-1], "complete planes"),
        (lambda rows: [*rows, rows[0]], "every row of modulo_data once"),
        (lambda rows: [{**rows[0], "radius_1": ""}, *rows[1:]], "a number in every row of column radius_1"),
    ],
)
def test_damaged_slices_are_refused(damage: Callable[[Rows], Rows], message: str) -> None:
    sliced("modulo_data", (0, 280), damage)
    with pytest.raises(ResultsError, match=message):
        tables.slices("paper", "modulo_data")


def test_radii_are_those_of_the_rays(picture: Callable[..., Figure]) -> None:
    with_rays("study", some_rays())
    found = analysis_radii.radii("paper", "study", 0, tables.volumes("paper", "study"))
    norms = np.linspace(30.0, 33.0, N_DIRECTIONS)
    assert np.exp(found[280, 0.05].logs) == pytest.approx(some_rays()[280][:, 1] * norms)
    assert np.exp(found[0, 0.1].logs[:3]) == pytest.approx(norms[:3]) and found[0, 0.1].censored.sum() == 3
    assert not found[30, 0.05].inside
    folder = layout.repeat_folder("paper", "study", 0)
    archives.write_arrays(layout.block_path(folder, N_DIRECTIONS, N_DIRECTIONS + 25), {}, {})  # left by a longer run
    assert analysis_radii.radii("paper", "study", 0, tables.volumes("paper", "study")).keys() == found.keys()
    heights, beyond = radii.counts(found[0, 0.1], np.array([0.0, 1e9]))
    assert (heights.tolist(), beyond) == ([N_DIRECTIONS - 3], 3)
    figure = picture(radii, "study")
    said = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert sorted(said) == ["3 never cross", "above the threshold"]
    assert_readable(figure)


def test_rays_that_are_missing_or_of_another_run_are_refused() -> None:
    write("bare", nested("bare"))
    for module in (radii, rank_stability):
        with pytest.raises(ResultsError, match=r"the rays of repeat 0, got only tables: run `make bare SCALE=paper`"):
            module.draw("bare", "paper")
    with_rays("study", some_rays())
    other = some_rays()
    other[0][5, 0] = np.nan
    names = ("volumes.csv", "run.json")
    kept = {name: (layout.study_folder("paper", "study") / name).read_bytes() for name in names}
    with_rays("study", other)
    for name, content in kept.items():
        (layout.study_folder("paper", "study") / name).write_bytes(content)
    with pytest.raises(ResultsError, match="the rays of study to be those of its table"):
        radii.draw("study", "paper")


def test_rank_stability_of_a_known_case(picture: Callable[..., Figure]) -> None:
    n = 40
    # Only the last direction makes the first minimum the larger one, so k directions agree with probability k/n.
    logs = np.stack([np.r_[np.zeros(n - 1), 60.0], np.ones(n)])
    for statistic in rank_stability.STATISTICS.values():
        for size in (1, 10, 20):
            error = math.sqrt(size / n * (1 - size / n) / rank_stability.SUBSETS)
            assert rank_stability.probability(logs, size, statistic) == pytest.approx(size / n, abs=4 * error)
        assert rank_stability.probability(logs, n, statistic) == 1
        shifted = np.stack([logs[0], logs[0] - 1, logs[0] - 2])
        assert rank_stability.probability(shifted, 1, statistic) == 1
    assert rank_stability.same_order(np.array([[1.0, 2, 2], [1, 2, 3]]), np.array([0.0, 5, 5])).tolist() == [
        True,
        False,
    ]
    with_rays("study", some_rays())
    assert_readable(picture(rank_stability, "study"))


def test_rank_stability_of_four_thresholds_is_drawn_in_two_rows(
    picture: Callable[..., Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    thresholds = (0.1, 0.05, 0.02, 0.01)
    monkeypatch.setattr(made_up_results, "THRESHOLDS", thresholds)
    rays = {level: np.repeat(np.nan_to_num(logs, nan=9.0), 2, axis=1) for level, logs in some_rays().items()}
    with_rays("study", rays, thresholds=thresholds)
    figure = picture(rank_stability, "study")
    assert [axes.get_subplotspec().num1 for axes in figure.axes] == [0, 1, 2, 3]
    assert figure.axes[0].get_gridspec().get_geometry() == (2, 2)
    assert_readable(figure)


def swiss(study: str, damage: bool = False, levels: tuple[int, ...] = LEVELS) -> torch.nn.Sequential:
    model = build_model("swiss_x5")
    tensors = {f"parameters.{name}": value.detach() for name, value in model.state_dict().items()}
    if damage:
        tensors["parameters.1.bias"] = torch.full_like(tensors["parameters.1.bias"], float("nan"))
    for level in levels:
        path = layout.minimum_path(layout.repeat_folder("paper", study, 0), level)
        archives.write_tensors(path, {}, {**tensors, "indices": torch.arange(3), "targets": torch.zeros(3)})
    write(study, [row(study, 0, level, 0, 0.1) for level in levels], data="swiss_roll", intervention="poison")
    return model


def test_boundaries_agree_with_the_network_in_torch(picture: Callable[..., Figure]) -> None:
    model = swiss("spirals")
    path = layout.minimum_path(layout.repeat_folder("paper", "spirals", 0), 0)
    points = np.random.default_rng(0).uniform(-13, 13, (50, 2))
    with torch.no_grad():
        expected = model.double()(torch.from_numpy(points))[:, 0].numpy()
    assert dense.outputs(dense.read_layers(path), points)[:, 0] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    figure = picture(boundaries, "spirals")
    assert "20 points\n+ 280 mislabelled" in figure.axes[2].get_title(loc="left")
    assert_readable(figure)
    swiss("five", levels=(0, 10, 20, 50, 100))  # the second line of panels is not full
    assert_readable(picture(boundaries, "five"))
    sound = path.read_bytes()
    path.write_bytes(sound[:200])
    with pytest.raises(ResultsError, match="Expected a minimum in"):
        boundaries.draw("spirals", "paper")
    path.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))  # one bit of the values
    with pytest.raises(ResultsError, match="Expected the checksum written with"):
        boundaries.draw("spirals", "paper")
    path.unlink()
    with pytest.raises(ResultsError, match="the minima of repeat 0, got only tables"):
        boundaries.draw("spirals", "paper")
    swiss("spirals", damage=True)
    with pytest.raises(ResultsError, match="finite weights"):
        boundaries.draw("spirals", "paper")
    write("digits", nested("digits"))
    assert boundaries.draw("digits", "paper") == []


def test_the_drawn_spirals_are_those_of_the_data() -> None:
    data = datasets.load("swiss_roll", 0)
    points, targets = data.test_inputs.numpy(), data.test_targets.numpy()
    for number, arm in enumerate(boundaries.arms()):
        away = np.linalg.norm(points[targets == number][:, None] - arm, axis=2).min(axis=1)
        # Noise of deviation 0.3 in the plane: at most 5 deviations from the arm, which is far less than the end of an arm
        # moves with its turns, and 0.3·√(2/π) on average, a little more near the centre, where the arm is curved.
        assert away.max() < 1.5 and away.mean() == pytest.approx(0.3 * math.sqrt(2 / math.pi), rel=0.1)
        # The outer end of the arm is reached, and not passed by more than the noise.
        assert np.linalg.norm(arm[-1]) == pytest.approx(np.linalg.norm(points, axis=1).max(), abs=1.5)
