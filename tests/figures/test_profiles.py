"""The figure of losses along rays draws its table and refuses a damaged one."""

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

from figs import profiles
from minima_volume.analysis import tables
from minima_volume.errors import ResultsError
from minima_volume.storage import layout
from minima_volume.storage import tables as storage_tables
from tests.figures.made_up_results import LEVELS, Rows, assert_readable, nested, write

pytestmark = pytest.mark.usefixtures("folders")
STUDY, RADII = "mnist_data", np.linspace(-2, 2, 5)


def profiled(damage: Callable[[Rows], Rows] = lambda rows: rows) -> None:
    """Write two minima whose losses are exponentials of r², along three directions."""
    write(STUDY, nested(STUDY))
    rows = [
        {"repeat": 0, "level": level, "n_train": 20 + level, "direction": direction, "radius": radius, "base_loss": 0.1,
         "train_loss": 0.01 * np.exp(radius**2 * (1 + direction)), "test_loss": 1.0}
        for level in (LEVELS[0], LEVELS[-1]) for direction in range(3) for radius in RADII
    ]  # fmt: skip
    path = layout.study_folder("paper", STUDY) / layout.PROFILES
    text = "\n".join([",".join(layout.PROFILE_COLUMNS), *(",".join(map(str, row.values())) for row in damage(rows))])
    storage_tables.write_tables(path.with_suffix(".json"), {path: text}, {})


def test_profiles_draw_every_ray_and_the_mean_of_its_logarithm(picture: Callable[..., Figure]) -> None:
    write(STUDY, nested(STUDY))
    with pytest.raises(ResultsError, match=r"profiles of mnist_data, got none: run `make profiles SCALE=paper`"):
        profiles.draw(STUDY, "paper")
    assert profiles.draw("mnist_poison", "paper") == []
    profiled()
    figure = picture(profiles, STUDY)
    for axes, n_train in zip(figure.axes[:2], (20, 20 + LEVELS[-1]), strict=True):
        assert f"trained on {n_train:,} samples" in axes.get_title(loc="left")
        rays, (mean, *_) = axes.lines[:3], [line for line in axes.lines if line.get_linewidth() == 1.6]
        np.testing.assert_allclose(rays[1].get_ydata(), 0.01 * np.exp(2 * RADII**2))
        np.testing.assert_allclose(mean.get_ydata(), 0.01 * np.exp(2 * RADII**2))  # directions 0, 1 and 2
    points = [line for line in figure.axes[2].lines if line.get_marker() == "o"]
    assert len(points) == len(LEVELS)
    assert_readable(figure)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda rows: [{**rows[0], "train_loss": ""}, *rows[1:]], "losses above 0 in all profiles"),
        (lambda rows: rows[:-1], "the same radii along every ray"),
        (lambda rows: [*rows, rows[0]], "every row of mnist_data once"),
    ],
)
def test_damaged_profiles_are_refused(damage: Callable[[Rows], Rows], message: str) -> None:
    profiled(damage)
    with pytest.raises(ResultsError, match=message):
        tables.profiles("paper", STUDY)
