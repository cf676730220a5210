"""What is done to a training set: more data, wrong labels, noise, class imbalance.

Every intervention returns a pool whose first samples are the base. Each level trains on the base and its first extras,
so levels are nested.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from minima_volume.errors import DataError
from minima_volume.training.datasets import Dataset


@dataclass(frozen=True)
class Pool:
    """The samples of one repeat: the base, then the extras in the order in which levels add them.

    Attributes:
        inputs: Inputs (N, …).
        targets: Labels (N,), wrong ones included.
        indices: Where each sample is in the data set (N,); −1 for noise.
        base: Number of base samples.
    """

    inputs: Tensor
    targets: Tensor
    indices: Tensor
    base: int


def more_data(dataset: Dataset, base: int, extra: int, seed: int) -> Pool:
    """Draw extras that are further clean samples.

    Args:
        dataset: Where samples are drawn from, each at most once.
        base: Number of base samples.
        extra: Number of extra samples.
        seed: Seed of the choice.

    Raises:
        DataError: The data set is too small.
    """
    chosen = torch.from_numpy(_choose(dataset, base + extra, seed, "base and extra data"))
    return Pool(dataset.inputs[chosen], dataset.targets[chosen], chosen, base)


def poison(dataset: Dataset, base: int, extra: int, seed: int) -> Pool:
    """Draw extras whose labels are always wrong: shifted by 1 to C − 1 classes, uniformly.

    Args:
        dataset: Where samples are drawn from, each at most once.
        base: Number of base samples.
        extra: Number of extra samples.
        seed: Seed of the choice and of the labels.

    Raises:
        DataError: The data set is too small.

    Example:
        >>> import torch
        >>> from minima_volume.training.datasets import Dataset
        >>> inputs, labels = torch.arange(6.0).unsqueeze(1), torch.tensor([0, 1, 2, 0, 1, 2])
        >>> pool = poison(Dataset("six", inputs, labels, inputs, labels, "cross_entropy", 3, {}), base=4, extra=2, seed=0)
        >>> (pool.targets == labels[pool.indices]).tolist()
        [True, True, True, True, False, False]
    """
    pool = more_data(dataset, base, extra, seed)
    shift = torch.from_numpy(np.random.default_rng([seed, 1]).integers(1, dataset.n_classes, extra))
    targets = pool.targets.clone()
    targets[base:] = (targets[base:] + shift) % dataset.n_classes
    return Pool(pool.inputs, targets, pool.indices, base)


def duplicates(dataset: Dataset, base: int, extra: int, seed: int) -> Pool:
    """Draw extras that repeat the base in its order: a larger training set without more information.

    Args:
        dataset: Where base samples are drawn from.
        base: Number of base samples.
        extra: Number of extra samples.
        seed: Seed of the choice.

    Raises:
        DataError: The data set is too small.

    Example:
        >>> import torch
        >>> from minima_volume.training.datasets import Dataset
        >>> inputs, labels = torch.arange(6.0).unsqueeze(1), torch.tensor([0, 1, 2, 0, 1, 2])
        >>> six = Dataset("six", inputs, labels, inputs, labels, "cross_entropy", 3, {})
        >>> pool = duplicates(six, base=2, extra=3, seed=0)
        >>> (pool.indices[:2].tolist() * 3)[:5] == pool.indices.tolist()
        True
    """
    pool = more_data(dataset, base, 0, seed)
    rows = torch.arange(base + extra) % base
    return Pool(pool.inputs[rows], pool.targets[rows], pool.indices[rows], base)


def noise(dataset: Dataset, base: int, extra: int, seed: int) -> Pool:
    """Draw extras that are Gaussian noise with the training set's overall mean and deviation, and random labels.

    Args:
        dataset: Where base samples are drawn from.
        base: Number of base samples.
        extra: Number of extra samples.
        seed: Seed of the choice, the noise and the labels.

    Raises:
        DataError: The data set is too small.
    """
    pool = more_data(dataset, base, 0, seed)
    # Two generators, so that the images and labels of a lower level are the first ones of a higher level.
    pixels, classes = np.random.default_rng([seed, 2]), np.random.default_rng([seed, 3])
    made = torch.from_numpy(pixels.standard_normal((extra, *dataset.inputs.shape[1:]), dtype=np.float32))
    labels = torch.from_numpy(classes.integers(0, dataset.n_classes, extra))
    inputs = made * dataset.inputs.std() + dataset.inputs.mean()
    return Pool(
        torch.cat([pool.inputs, inputs]),
        torch.cat([pool.targets, labels]),
        torch.cat([pool.indices, torch.full((extra,), -1)]),
        base,
    )


def imbalanced_base(dataset: Dataset, base: int, extra: int, seed: int) -> Pool:
    """Draw a base with 90 % class 0, and extras that are an ordinary sample of the rest.

    Args:
        dataset: Where samples are drawn from, each at most once.
        base: Number of base samples.
        extra: Number of extra samples.
        seed: Seed of the choice.

    Raises:
        DataError: The data set has too few samples, or too few of class 0.
    """
    free = _choose(dataset, len(dataset.inputs), seed, "the imbalanced base")
    first = _imbalanced(dataset, free, np.arange(base + 1) // 10, "the imbalanced base")
    # The base took class 0 from the front of `free`, so the rest is shuffled again to be an ordinary sample.
    rest = np.random.default_rng([seed, 4]).permutation(free[~np.isin(free, first)])
    return _pool(dataset, first, rest, extra)


def imbalanced_extra(dataset: Dataset, base: int, extra: int, seed: int) -> Pool:
    """Draw an ordinary base, and extras with 90 % class 0, or with all that are left of class 0 if they are fewer.

    The share of class 0 is the same at every level, so if class 0 runs short, lower levels depend on the highest.

    Args:
        dataset: Where samples are drawn from, each at most once.
        base: Number of base samples.
        extra: Number of extra samples.
        seed: Seed of the choice.

    Raises:
        DataError: The data set has too few samples, or too few of other classes.
    """
    first = _choose(dataset, base, seed, "the balanced base")
    rest = _choose(dataset, len(dataset.inputs), seed, "the extras")[base:]
    zeros, places = int((dataset.targets[rest] == 0).sum()), np.arange(extra + 1)
    short = extra - extra // 10 > zeros
    others = places * (extra - zeros) // extra if short else places // 10
    return _pool(dataset, first, _imbalanced(dataset, rest, others, "the imbalanced extras"), extra)


def _choose(dataset: Dataset, count: int, seed: int, what: str) -> np.ndarray:
    """Return `count` different training indices in random order; a smaller count gives the first of them."""
    if count > len(dataset.inputs):
        raise DataError(
            f"Expected at most {len(dataset.inputs)} training samples of {dataset.name}, got {count} for {what}: "
            "lower the levels."
        )
    return np.random.default_rng(seed).permutation(len(dataset.inputs))[:count]


def _imbalanced(dataset: Dataset, free: np.ndarray, others: np.ndarray, what: str) -> np.ndarray:
    """Choose from the indices `free` such that among the first i there are others[i] outside class 0."""
    labels = dataset.targets.numpy()[free]
    slots = np.diff(others) > 0
    n_others, n_zeros = int(slots.sum()), int((~slots).sum())
    found = [int((labels != 0).sum()), int((labels == 0).sum())]
    if n_others > found[0] or n_zeros > found[1]:
        raise DataError(
            f"Expected {n_zeros} samples of class 0 and {n_others} others of {dataset.name} for {what}, "
            f"got {found[1]} and {found[0]}: lower the base or the levels."
        )
    order = np.empty(len(slots), dtype=free.dtype)
    order[slots], order[~slots] = free[labels != 0][:n_others], free[labels == 0][:n_zeros]
    return order


def _pool(dataset: Dataset, first: np.ndarray, rest: np.ndarray, extra: int) -> Pool:
    """Return the pool of the base `first` and the first `extra` of `rest`, both given as indices."""
    if extra > len(rest):
        raise DataError(f"Expected at most {len(rest)} extra samples of {dataset.name}, got {extra}: lower the levels.")
    chosen = torch.from_numpy(np.concatenate([first, rest[:extra]]))
    return Pool(dataset.inputs[chosen], dataset.targets[chosen], chosen, len(first))


INTERVENTIONS: dict[str, Callable[[Dataset, int, int, int], Pool]] = {
    "data": more_data,
    "poison": poison,
    "noise": noise,
    "duplicates": duplicates,
    "imbalanced_base": imbalanced_base,
    "imbalanced_extra": imbalanced_extra,
}
# Lower levels of these may depend on the highest level, so their minima are trained again when it changes.
DEPENDS_ON_LARGEST_LEVEL = ("imbalanced_extra",)
