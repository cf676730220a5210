"""What is done to a training set: less data, wrong labels, noise, imbalance. Levels are nested prefixes of one pool."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from minima_volume.errors import DataError
from minima_volume.training.datasets import Dataset


@dataclass(frozen=True)
class Pool:
    """`base` samples, then the extras in the order in which levels add them; `indices` into the data set, −1 if made."""

    inputs: Tensor
    targets: Tensor
    indices: Tensor
    base: int


def _choose(dataset: Dataset, count: int, seed: int, what: str) -> np.ndarray:
    """`count` different training indices in random order, the same first ones for any count."""
    if count > len(dataset.inputs):
        raise DataError(
            f"Expected at most {len(dataset.inputs)} training samples of {dataset.name}, got {count} for {what}: "
            "lower the levels."
        )
    return np.random.default_rng(seed).permutation(len(dataset.inputs))[:count]


def more_data(dataset: Dataset, base: int, extra: int, seed: int) -> Pool:
    """Extras are further clean samples."""
    chosen = torch.from_numpy(_choose(dataset, base + extra, seed, "base and extra data"))
    return Pool(dataset.inputs[chosen], dataset.targets[chosen], chosen, base)


def poison(dataset: Dataset, base: int, extra: int, seed: int) -> Pool:
    """Extras carry a label that is always wrong: shifted by 1…C−1 classes, uniformly."""
    pool = more_data(dataset, base, extra, seed)
    shift = torch.from_numpy(np.random.default_rng([seed, 1]).integers(1, dataset.n_classes, extra))
    targets = pool.targets.clone()
    targets[base:] = (targets[base:] + shift) % dataset.n_classes
    return Pool(pool.inputs, targets, pool.indices, base)


def noise(dataset: Dataset, base: int, extra: int, seed: int) -> Pool:
    """Extras are Gaussian inputs with the training set's overall mean and deviation, and random labels."""
    pool = more_data(dataset, base, 0, seed)
    # Two generators, so that images and labels of a lower level are the first ones of a higher.
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


def _uneven(dataset: Dataset, free: np.ndarray, others: np.ndarray, what: str) -> np.ndarray:
    """Some of the indices `free`: of the first i, others[i] are not of class 0."""
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


def imbalanced_base(dataset: Dataset, base: int, extra: int, seed: int) -> Pool:
    """The base has 90 % class 0; the extras are an ordinary sample of the rest."""
    free = _choose(dataset, len(dataset.inputs), seed, "the imbalanced base")
    first = _uneven(dataset, free, np.arange(base + 1) // 10, "the imbalanced base")
    # Class 0 was taken from the front of `free`, so what is left must be mixed again to be an ordinary sample.
    rest = np.random.default_rng([seed, 4]).permutation(free[~np.isin(free, first)])
    return _assembled(dataset, first, rest, extra)


def imbalanced_extra(dataset: Dataset, base: int, extra: int, seed: int) -> Pool:
    """The base is an ordinary sample; the extras have 90 % class 0, or all that is left of it if that is less.

    Either way every level has the same share of it, so where class 0 is short the lower levels depend on the highest.
    """
    first = _choose(dataset, base, seed, "the balanced base")
    rest = _choose(dataset, len(dataset.inputs), seed, "the extras")[base:]
    zeros, places = int((dataset.targets[rest] == 0).sum()), np.arange(extra + 1)
    short = extra - extra // 10 > zeros
    others = places * (extra - zeros) // extra if short else places // 10
    return _assembled(dataset, first, _uneven(dataset, rest, others, "the imbalanced extras"), extra)


def _assembled(dataset: Dataset, first: np.ndarray, rest: np.ndarray, extra: int) -> Pool:
    if extra > len(rest):
        raise DataError(f"Expected at most {len(rest)} extra samples of {dataset.name}, got {extra}: lower the levels.")
    chosen = torch.from_numpy(np.concatenate([first, rest[:extra]]))
    return Pool(dataset.inputs[chosen], dataset.targets[chosen], chosen, len(first))


INTERVENTIONS: dict[str, Callable[[Dataset, int, int, int], Pool]] = {
    "data": more_data,
    "poison": poison,
    "noise": noise,
    "imbalanced_base": imbalanced_base,
    "imbalanced_extra": imbalanced_extra,
}
# Those whose lower levels may depend on the highest: their minima are trained again when that changes.
DEPENDS_ON_LARGEST_LEVEL = ("imbalanced_extra",)
