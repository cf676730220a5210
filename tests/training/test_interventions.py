"""Interventions: wrong labels, nested prefixes, class ratios, and sentences where the data are too few."""

import runpy
from collections import Counter

import pytest
import torch

from minima_volume.errors import DataError
from minima_volume.pipeline.study import Study
from minima_volume.training.datasets import Dataset
from minima_volume.training.interventions import (
    DEPENDS_ON_LARGEST_LEVEL,
    INTERVENTIONS,
    imbalanced_base,
    imbalanced_extra,
    more_data,
    noise,
    poison,
)
from tests.project import ROOT


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Return 3,000 samples whose inputs hold their index; a quarter are of class 0, the others of classes 1 to 9."""
    index = torch.arange(3000)
    inputs = torch.stack([index, torch.ones(3000)], dim=1).float()
    targets = torch.where(index % 4 == 0, 0, index % 9 + 1)
    return Dataset("numbered", inputs, targets, inputs, targets, "cross_entropy", 10, {})


def true_labels(dataset: Dataset, inputs: torch.Tensor) -> torch.Tensor:
    """Return the labels that the data set has for these inputs."""
    return dataset.targets[inputs[:, 0].long()]


@pytest.mark.parametrize(
    ("name", "most"),
    [
        *((name, 2000) for name in INTERVENTIONS if name not in DEPENDS_ON_LARGEST_LEVEL),
        *((name, 400) for name in DEPENDS_ON_LARGEST_LEVEL),
    ],
)
@pytest.mark.parametrize("extra", [0, 1, 7, 100])
def test_levels_are_prefixes_of_any_larger_pool(name: str, most: int, extra: int, dataset: Dataset) -> None:
    small, large = (INTERVENTIONS[name](dataset, 60, count, 4) for count in (extra, most))
    assert (
        small.base == large.base == 60 and len(small.inputs) == len(small.targets) == len(small.indices) == 60 + extra
    )
    assert torch.equal(small.indices, large.indices[: 60 + extra])
    assert torch.equal(small.inputs, large.inputs[: 60 + extra])
    # A stored minimum is kept when a larger level is added to the study, so its data must stay the same.
    assert torch.equal(small.targets, large.targets[: 60 + extra])


@pytest.mark.parametrize("name", INTERVENTIONS)
def test_seeds_differ_and_repeat(name: str, dataset: Dataset) -> None:
    first, again, other = (INTERVENTIONS[name](dataset, 60, 100, seed) for seed in (4, 4, 5))
    assert torch.equal(first.inputs, again.inputs) and torch.equal(first.targets, again.targets)
    assert not torch.equal(first.inputs[:60], other.inputs[:60])
    assert not torch.equal(first.inputs[60:], other.inputs[60:])


def test_duplicates_repeat_the_base_in_order(dataset: Dataset) -> None:
    pool, base = INTERVENTIONS["duplicates"](dataset, 20, 47, 1), more_data(dataset, 20, 0, 1)
    for row in range(67):
        assert torch.equal(pool.inputs[row], base.inputs[row % 20]) and pool.targets[row] == base.targets[row % 20]
        assert pool.indices[row] == base.indices[row % 20]


@pytest.mark.parametrize("name", [name for name in INTERVENTIONS if name != "duplicates"])
def test_indices_point_at_the_inputs_and_none_is_used_twice(name: str, dataset: Dataset) -> None:
    pool = INTERVENTIONS[name](dataset, 200, 300, 1)
    real = pool.indices >= 0
    assert torch.equal(dataset.inputs[pool.indices[real]], pool.inputs[real])
    assert len(set(pool.indices[real].tolist())) == int(real.sum())
    assert bool(real.all()) == (name != "noise")


@pytest.mark.parametrize("name", INTERVENTIONS)
def test_the_base_is_clean(name: str, dataset: Dataset) -> None:
    pool = INTERVENTIONS[name](dataset, 200, 300, 2)
    assert torch.equal(pool.targets[:200], true_labels(dataset, pool.inputs[:200]))


def test_global_generators_are_neither_used_nor_changed(dataset: Dataset) -> None:
    for name in INTERVENTIONS:
        torch.manual_seed(1)
        first, state = INTERVENTIONS[name](dataset, 50, 50, 0), torch.random.get_rng_state()
        torch.manual_seed(2)
        assert torch.equal(INTERVENTIONS[name](dataset, 50, 50, 0).inputs, first.inputs)
        torch.manual_seed(1)
        assert torch.equal(torch.random.get_rng_state(), state)


def test_more_data_is_a_sample_without_replacement(dataset: Dataset) -> None:
    pool = more_data(dataset, 1000, 2000, 0)
    assert sorted(pool.indices.tolist()) == list(range(3000))
    assert torch.equal(pool.targets, true_labels(dataset, pool.inputs))


def test_poison_is_always_wrong_and_uniform(dataset: Dataset) -> None:
    shifts: Counter[int] = Counter()
    for seed in range(5):
        pool = poison(dataset, 1000, 2000, seed)
        shift = (pool.targets - true_labels(dataset, pool.inputs))[1000:] % 10
        assert (shift != 0).all() and (pool.targets >= 0).all() and (pool.targets < 10).all()
        shifts.update(shift.tolist())
    assert set(shifts) == set(range(1, 10))
    # 10⁴ draws of nine classes: χ² with 8 degrees of freedom is below 26 in 99.9 % of all cases.
    assert sum((count - 10_000 / 9) ** 2 / (10_000 / 9) for count in shifts.values()) < 26


def test_poison_shares_its_inputs_with_the_clean_pool(dataset: Dataset) -> None:
    assert torch.equal(poison(dataset, 60, 90, 3).indices, more_data(dataset, 60, 90, 3).indices)


def test_poison_of_two_classes_flips(dataset: Dataset) -> None:
    halves = Dataset("halves", dataset.inputs, dataset.targets % 2, dataset.inputs, dataset.targets % 2, "", 2, {})
    pool = poison(halves, 10, 90, 0)
    assert torch.equal(pool.targets[10:], 1 - true_labels(halves, pool.inputs)[10:])


def test_noise_has_the_moments_of_the_data() -> None:
    inputs = 3 + 2 * torch.randn(500, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(500) % 10
    blobs = Dataset("blobs", inputs, targets, inputs, targets, "cross_entropy", 10, {})
    pool = noise(blobs, 20, 1000, 0)
    made = pool.inputs[20:]
    assert made.shape == (1000, 1, 4, 4) and made.dtype == inputs.dtype and (pool.indices[20:] == -1).all()
    # 16,000 draws of deviation 2 have standard errors of 0.016 (mean) and 0.011 (deviation); the bounds are four of each.
    assert made.mean().item() == pytest.approx(inputs.mean().item(), abs=0.064)
    assert made.std().item() == pytest.approx(inputs.std().item(), abs=0.045)
    counts = torch.bincount(pool.targets[20:], minlength=10)
    # Binomial counts of mean 100 and deviation 9.5; the bound is four deviations.
    assert len(counts) == 10 and (counts - 100).abs().max() < 38


def test_imbalanced_base(dataset: Dataset) -> None:
    pool = imbalanced_base(dataset, 500, 800, 0)
    assert int((pool.targets[:500] == 0).sum()) == 450  # nine of ten, exactly
    for prefix in (10, 50, 330):
        assert int((pool.targets[:prefix] == 0).sum()) == 9 * prefix // 10
    # The extras are an ordinary sample of the 2,500 other samples, of which 300 are of class 0.
    assert (pool.targets[500:] == 0).double().mean().item() == pytest.approx(0.12, abs=4 * (0.12 * 0.88 / 800) ** 0.5)


def test_imbalanced_extra(dataset: Dataset) -> None:
    pool = imbalanced_extra(dataset, 1000, 300, 0)
    # A quarter of an ordinary base is of class 0, within four binomial errors.
    assert (pool.targets[:1000] == 0).double().mean().item() == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 1000) ** 0.5)
    for extra in (10, 100, 300):
        assert int((pool.targets[1000 : 1000 + extra] == 0).sum()) == 9 * extra // 10


def test_imbalanced_extra_where_class_0_runs_short(dataset: Dataset) -> None:
    pool = imbalanced_extra(dataset, 1000, 1500, 0)
    left = 750 - int((pool.targets[:1000] == 0).sum())
    assert left < 0.9 * 1500
    for extra in (1, 10, 100, 777, 1500):  # all that are left, with the same share at every level
        assert int((pool.targets[1000 : 1000 + extra] == 0).sum()) == -(-left * extra // 1500)
    assert not torch.equal(
        imbalanced_extra(dataset, 1000, 100, 0).indices, pool.indices[:1100]
    )  # so it is in DEPENDS_ON_LARGEST_LEVEL


@pytest.mark.parametrize(
    ("name", "base", "extra", "numbers"),
    [
        ("data", 2000, 1001, ("3000", "3001")),
        ("poison", 2999, 2, ("3000", "3001")),
        ("noise", 3001, 5, ("3000", "3001")),
        ("imbalanced_base", 900, 0, ("810", "750")),
        ("imbalanced_base", 500, 2501, ("2500", "2501")),
        ("imbalanced_extra", 2000, 1001, ("748", "747")),
        ("imbalanced_extra", 3001, 0, ("3000", "3001")),
    ],
)
def test_too_few_samples_are_refused_with_numbers(
    name: str, base: int, extra: int, numbers: tuple[str, ...], dataset: Dataset
) -> None:
    with pytest.raises(DataError, match=r"(?s)Expected .*numbered.*got .*: lower") as caught:
        INTERVENTIONS[name](dataset, base, extra, 0)
    assert all(number in str(caught.value).replace(",", "") for number in numbers)


# Training samples of each class, as published.
CLASSES = {
    "mnist": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "cifar10": [5000] * 10,
    "digits": [130] * 9 + [127],
    "swiss_roll": [500] * 2,
    "modulo": [97] * 97,
}
ROWS = {
    name: study for path in ROOT.glob("*/config.py") for name, study in runpy.run_path(str(path))["STUDIES"].items()
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("scale", ["quick", "paper"])
def test_every_study_finds_its_samples(name: str, scale: str) -> None:
    study: Study = ROWS[name].at_scale(scale)
    assert study.data in CLASSES, f"add the class counts of {study.data} to CLASSES"
    labels = torch.repeat_interleave(torch.arange(len(CLASSES[study.data])), torch.tensor(CLASSES[study.data]))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    inputs = torch.zeros(len(labels), 1)
    dataset = Dataset("counts", inputs, labels, inputs, labels, "", len(CLASSES[study.data]), {})
    for repeat in range(10):
        pool = INTERVENTIONS[study.intervention](dataset, study.base, study.n_extra, study.data_seed + repeat)
        assert len(pool.targets) == study.base + study.n_extra
        part = {"imbalanced_base": pool.targets[: study.base], "imbalanced_extra": pool.targets[study.base :]}
        uneven = part.get(study.intervention)
        if uneven is not None:
            left = CLASSES[study.data][0] - int((pool.targets[: study.base] == 0).sum())
            share = min(0.9, left / len(uneven)) if study.intervention == "imbalanced_extra" else 0.9
            assert (uneven == 0).double().mean().item() == pytest.approx(
                share, abs=0.01
            )  # up to one sample in the last ten
