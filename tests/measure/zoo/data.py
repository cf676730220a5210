"""Data as people hold them."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from tests.measure.zoo import CROSS_ENTROPY, ZOO, Built, classes, near, plain_height, seeded

KIND = "data"


def small() -> Any:
    """Return a small stack of layers."""
    return seeded(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)))


def held(data: Any, **options: Any) -> Built:
    """Return a measurement of data that hold the samples of `classes`."""
    model, loss_fn, _, found = near(small(), CROSS_ENTROPY, classes())
    return model, loss_fn, data, {**found, **options}


WHOLE = plain_height(CROSS_ENTROPY, classes())


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(zip(*classes(), strict=True))


class Items(Dataset[Any]):
    def __len__(self) -> int:
        return 64

    def __getitem__(self, i: int) -> Any:
        return classes()[0][i], int(classes()[1][i])


def _batches() -> list[Any]:
    x, y = classes()
    return [(x[i : i + 20], y[i : i + 20]) for i in range(0, 64, 20)]


for name, make in {
    "a list of single samples": lambda: list(zip(*classes(), strict=True)),
    "a list of single samples with targets that are int": lambda: [(x, int(y)) for x, y in zip(*classes(), strict=True)],
    "a data set": lambda: TensorDataset(*classes()), "a data set of tensors and int": Items,
    "a loader that shuffles": lambda: DataLoader(TensorDataset(*classes()), batch_size=10, shuffle=True),
    "a loader over a stream": lambda: DataLoader(Stream(), batch_size=16), "a generator, which can be read once": lambda:
    (batch for batch in _batches()), "a list of batches": _batches, "a list instead of a tuple": lambda: list(classes()),
    "int32 targets": lambda: (classes()[0], classes()[1].int()), "inputs that require gradients": lambda:
    (classes()[0].requires_grad_(), classes()[1]), "inputs of float64": lambda: (classes()[0].double(), classes()[1]),
}.items():  # fmt: skip
    ZOO.measured(KIND, name, height=WHOLE)(lambda make=make: held(make()))


class Averaging(nn.Module):
    """Averages tokens of any number."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(7, 6), nn.Linear(6, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.embedding(tokens).mean(dim=1))


def _ragged() -> list[Any]:
    draw = torch.Generator().manual_seed(6)
    return [(torch.randint(7, (8, n), generator=draw), torch.randint(3, (8,), generator=draw)) for n in (3, 5, 9)]


def _ragged_mean(model: nn.Module) -> Tensor:
    return torch.stack([CROSS_ENTROPY(model(x), y) for x, y in _ragged()]).mean()


@ZOO.measured(KIND, "batches of different lengths", height=_ragged_mean)
def ragged() -> Built:
    return seeded(Averaging()), CROSS_ENTROPY, _ragged(), {"threshold": 1.7}


@ZOO.measured(KIND, "a loader that does not fit into memory", height=WHOLE)
def streamed() -> Built:
    loader = DataLoader(TensorDataset(*classes()), batch_size=16)

    def closure(model: nn.Module, batch: Any) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="none")

    model, _, _, options = held(None)
    return model, closure, loader, {**options, "memory": 600}


for name, data, sentence in [
    ("no samples", (torch.zeros(0, 6), torch.zeros(0).long()), "at least one"),
    ("an empty loader", [], "empty loader"),
    ("fewer targets than inputs", (classes()[0], classes()[1][:9]), "as many targets as inputs"),
    ("inputs that are NaN", (classes()[0] * float("nan"), classes()[1]), "finite losses"),
    ("None", None, "got NoneType"),
    ("labels beyond the classes", (classes()[0], classes()[1] + 7), "run on the data"),
    ("inputs only", [classes()[0]] * 3, "two tensors"),
    ("dictionaries with a loss of outputs", [{"x": classes()[0]}], "run on the data|two tensors"),
    ("inputs of another width", (torch.zeros(5, 4), torch.zeros(5).long()), "run on the data"),
    ("single samples of different shapes", [(torch.zeros(6), 0), (torch.zeros(5), 1)], "samples of equal shapes"),
    ("only ignored targets", (classes()[0], classes()[1] * 0 - 100), "at least one target that counts"),
]:  # fmt: skip
    ZOO.refused(KIND, name, sentence)(lambda data=data: (small(), CROSS_ENTROPY, data, {"threshold": 2.0}))

for name, targets, sentence in [
    ("labels of -100 with accuracy", classes()[1].where(torch.arange(64) > 9, -100), "class numbers 0 to 2"),
    ("labels 1 to 3 with accuracy", classes()[1] + 1, "class numbers 0 to 2"),
    ("labels of -1 and 1 with accuracy", classes()[1].clamp_max(1) * 2 - 1, "class numbers 0 to 2"),
    ("targets of one row per class with accuracy", nn.functional.one_hot(classes()[1]), "whole class numbers"),
]:  # fmt: skip
    ZOO.refused(KIND, name, sentence)(
        lambda targets=targets: (small(), None, (classes()[0], targets), {"threshold": 0.2, "metric": "accuracy"})
    )
