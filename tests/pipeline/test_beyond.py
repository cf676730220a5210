"""Landscapes beyond the training sets: which there are, and that crossings there equal those of each landscape alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minima_volume.crossings.scan import Target
from minima_volume.crossings.sweep import sweep_crossings
from minima_volume.errors import UserError
from minima_volume.pipeline.local_volumes import BEYOND_SIGMAS, minimum_rows
from minima_volume.pipeline.minima import load_minima, training_fingerprint
from minima_volume.pipeline.random_perturbs import ray_fingerprint
from minima_volume.pipeline.repeat import Repeat
from minima_volume.pipeline.train_models import train_models
from minima_volume.storage import layout
from tests import study_runs

BEYOND = replace(study_runs.TINY, landscapes="beyond", intervention="data", thresholds=(0.05,), accuracies=())


def test_every_minimum_has_the_same_landscapes_within_the_data() -> None:
    sizes = {level: [BEYOND.base + extra for extra in BEYOND.landscapes_of(level)] for level in BEYOND.levels}
    first, *others = sizes.values()
    assert all(other == first for other in others)
    own = [BEYOND.n_train(level) for level in BEYOND.levels]
    assert set(own) <= set(first) and max(first) == max(own) and min(first) == BEYOND.base
    # 1/64 to twice as many samples, as far as there are any.
    wanted = {
        size + round(size * share) for size in own for share in (1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2)
    }
    assert set(first) == {*own, *(size for size in wanted if size <= max(own))}


def test_minima_are_those_of_the_nested_study_and_rays_are_not() -> None:
    one, other = (Repeat(replace(BEYOND, landscapes=rule), 0) for rule in ("nested", "beyond"))
    level = BEYOND.levels[-1]
    assert training_fingerprint(one, level) == training_fingerprint(other, level)
    assert ray_fingerprint(one, level) != ray_fingerprint(other, level)


def test_levels_that_are_not_samples_are_refused() -> None:
    with pytest.raises(UserError, match="levels that are extra samples with landscapes beyond them"):
        replace(BEYOND, level_means="model_seed").validate()


def test_crossings_beyond_the_training_set_are_those_of_each_landscape_alone(
    no_results: Path,
) -> None:
    study_runs.run_stage(train_models, layout.ROOT, BEYOND, [0])
    repeat = Repeat(BEYOND, 0)
    minima = load_minima(repeat, "paper")
    level = min(minima)
    minimum, targets = minima[level][1], repeat.study.targets(level)

    def solve(wanted: list[Target]) -> tuple[np.ndarray, np.ndarray]:
        largest = max(target.size for target in wanted)
        found = sweep_crossings(
            repeat.model, [minimum], [wanted], repeat.samples.part(0, largest), seed=0, indices=range(10)
        ).crossings[0]
        return found.coefficients, found.at_zero

    together, heights = solve(targets)
    assert (heights < 0.05).any() and (heights > 0.05).any()  # it fits its own samples and leaves the threshold beyond
    for place, target in enumerate(targets):
        alone, height = solve([target])
        assert height[0] == pytest.approx(heights[place], rel=1e-6)  # float32 sums in another order
        # Each is solved to 1e-5 of a ray; a minimum above the threshold has crossings at 0 in both.
        np.testing.assert_allclose(together[:, place], alone[:, 0], rtol=3e-5)
    rows = minimum_rows(repeat, "paper", minima, level).rows()
    assert {row["sigma"] for row in rows if "sigma" in row} <= set(BEYOND_SIGMAS)
    assert [row["landscape"] for row in rows] == list(repeat.study.landscapes_of(level))
    assert [row["status"] == "unconverged" for row in rows] == [height >= 0.05 for height in heights]
