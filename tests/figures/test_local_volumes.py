"""The figures of local volumes against their tables: values, rays beside them, and studies without any."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from matplotlib.figure import Figure

from figs import draw, local_overview, local_volumes
from minima_volume.drawing import style
from minima_volume.storage import layout, tables
from tests.figures.made_up_results import LEVELS, lines, nested, write

pytestmark = pytest.mark.usefixtures("folders")
VALUES = {0.05: (-0.5, -1.0, -2.0), 0.1: (-3.0, -6.0, None)}  # the deepest level stops at the first width


def write_local(study: str, **changed: Any) -> None:
    """Write a study with local volumes in both units, and rays at one width."""
    folder = write(study, nested(study))
    rows = [
        {"study": study, "repeat": 0, "level": level, "landscape": 0, "threshold": 0.1, "norms": norms, "sigma": sigma,
         "status": "ok", "log_gamma": value * (1 if norms == "own" else 0.5), "log_gamma_se": 0.1,
         "log_gamma_within_se": 0.2, "n_params": 100, "test_loss": 0.4, "test_accuracy": 0.9, **changed}
        for sigma, values in VALUES.items()
        for level, value in zip(LEVELS, values, strict=True)
        for norms in ("own", "first")
        if value is not None and (norms == "own" or level)
    ]  # fmt: skip
    tables.write_recorded_table(folder / layout.LOCAL_VOLUMES, layout.LOCAL_VOLUME_COLUMNS, rows)
    rays = [
        {"study": study, "repeat": 0, "level": level, "threshold": 0.1, "estimator": "gamma", "sigma": 0.05,
         "value": value, "error": 0.1, "verdict": word}
        for level, value, word in zip(LEVELS, (-0.55, -1.1, -900.0), ("converged", "converged", "max-dominated"),
                                      strict=True)
    ]  # fmt: skip
    tables.write_recorded_table(folder / layout.ORDERINGS, layout.ORDERING_COLUMNS, rays)


def test_each_study_shows_the_width_that_most_levels_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept: list[Figure] = []
    monkeypatch.setattr(style, "save", lambda figure, path: kept.append(figure) or [path])
    write_local("mnist_data")
    write("cifar_data", nested("cifar_data"))  # has no local volumes
    assert local_overview.draw("paper")
    axes = kept[0].axes[0]
    assert "0.05" in axes.get_title(loc="left")
    own, first = lines(axes, "o")
    # Places are logarithms of 20, 50 and 300 samples.
    x = pytest.approx([0, 2 * math.log(50 / 20) / math.log(300 / 20), 2])
    assert own == (x, [-0.5, -1.0, -2.0]) and first == (x, [-0.5, -0.5, -1.0])
    assert [y for _, y in lines(axes, "s")] == [[-0.55, -1.1]]  # rays that converged, and no others


def test_a_study_without_a_trusted_value_is_left_out() -> None:
    write_local("mnist_data", status="below floor")
    assert local_overview.draw("paper") == []


def test_a_damaged_table_is_named_and_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    write_local("mnist_data")
    (layout.study_folder("paper", "mnist_data") / layout.LOCAL_VOLUMES).write_text("study\nmnist_data\n")
    draw.main([], "paper")
    assert "local_overview: Expected the columns" in capsys.readouterr().out


def test_a_study_shows_every_width_and_its_rays(picture: Callable[..., Figure]) -> None:
    write_local("mnist_data")
    own, first = picture(local_volumes, "mnist_data").axes[:2]
    drawn = [sorted(part.get_offsets()[:, 1].tolist()) for part in own.collections if len(part.get_offsets())]
    assert [-2.0, -1.0, -0.5] in drawn and [-6.0, -3.0] in drawn
    assert [-1.1, -0.55] in drawn and [pytest.approx(-27)] in drawn  # two rays, and one below the axis
    assert [-1.0, -0.5, -0.5] in [sorted(part.get_offsets()[:, 1].tolist()) for part in first.collections]
