"""Batches of other shapes and types: dictionaries, several inputs, streams, random loaders, packed and nested data."""

import threading
from collections import namedtuple
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset, WeightedRandomSampler

from minima_volume import measure_volume
from tests.measure.zoo import CROSS_ENTROPY, ZOO, Built, classes, near, plain_height, seeded

KIND = "inputs"
X, Y = classes()
WHOLE = plain_height(CROSS_ENTROPY, classes())
Sample = namedtuple("Sample", "image label")


def small() -> Any:
    """Return a small stack of layers."""
    return seeded(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)))


def single(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of each sample."""
    return functional.cross_entropy(outputs, targets, reduction="none")


def held(data: Any, loss: Any = CROSS_ENTROPY, **options: Any) -> Built:
    """Return a measurement of data that hold the samples of `classes`."""
    model, _, _, found = near(small(), CROSS_ENTROPY, classes())
    return model, loss, data, {**found, **options}


class Rows(Dataset[Any]):
    """Samples as dictionaries, with a name that is text."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, i: int) -> Any:
        return {"x": X[i], "y": Y[i], "name": f"row {i}"}


class Noisy(Dataset[Any]):
    """Samples with augmentation: other numbers at each reading."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, i: int) -> Any:
        return X[i] + 0.5 * torch.randn(6), Y[i]


def by_keys(model: Any, batch: Any) -> Tensor:
    """Return the losses of a batch that is a dictionary."""
    return single(model(batch["x"]), batch["y"])


def by_names(model: Any, batch: Any) -> Tensor:
    """Return the losses of a batch with named fields."""
    return single(model(batch.image), batch.label)


def by_places(model: Any, batch: Any) -> Tensor:
    """Return the losses of a batch that is a pair."""
    return single(model(batch[0]), batch[1])


def _parts(size: int = 20) -> Iterator[Any]:
    return ((X[i : i + size], Y[i : i + size]) for i in range(0, 64, size))


MEASURED: dict[str, Any] = {
    "a data set of dictionaries with text": lambda: held(Rows(), by_keys),
    "a loader of dictionaries with text": lambda: held(DataLoader(Rows(), batch_size=30), by_keys),
    "a dictionary of tensors": lambda: held({"x": X, "y": Y}, by_keys),
    "named tuples": lambda: held([Sample(*part) for part in _parts()], by_names),
    "one named tuple": lambda: held(Sample(X, Y), by_names),
    "a nest of tuples and None": lambda: held(
        [((x, None), {"y": y}) for x, y in _parts()], lambda m, b: single(m(b[0][0]), b[1]["y"])
    ),
    "a generator with a closure": lambda: held(_parts(), by_places),
    "a zip of two loaders": lambda: held(
        list(zip(DataLoader(X, batch_size=16), DataLoader(Y, batch_size=16), strict=True))
    ),
    "a subset of a data set": lambda: held(Subset(TensorDataset(X.repeat(2, 1), Y.repeat(2)), range(64))),
    "targets that are bytes": lambda: held((X, Y.to(torch.uint8))),
    "inputs that are not contiguous": lambda: held((X.t().contiguous().t(), Y)),
    "inputs that are expanded views": lambda: held((X[:, None].expand(64, 3, 6)[:, 1], Y)),
    "one sample in each batch": lambda: held(DataLoader(TensorDataset(X, Y), batch_size=1)),
    "indices of rows that the closure looks up": lambda: held(
        list(torch.arange(64).split(20)), lambda m, i: single(m(X[i].to(next(m.parameters()))), Y[i])
    ),
}
for name, make in MEASURED.items():
    ZOO.measured(KIND, name, height=WHOLE)(make)

REFUSED: dict[str, tuple[Any, Any, str]] = {
    "numpy arrays": ((X.numpy(), Y.numpy()), CROSS_ENTROPY, "tensor"),
    "lists of numbers": ((X.tolist(), Y.tolist()), CROSS_ENTROPY, "tensor"),
    "a text instead of data": ("train.csv", CROSS_ENTROPY, "tensor|loader"),
    "a number instead of data": (64, CROSS_ENTROPY, "got int"),
    "three tensors with a loss of outputs and targets": (TensorDataset(X, Y, Y), CROSS_ENTROPY, "two tensors"),
    "inputs that are a pair, without a closure": ([((X, X), Y)], CROSS_ENTROPY, "two tensors"),
    "an input that is infinite": ((X.index_fill(0, torch.tensor([3]), float("inf")), Y), CROSS_ENTROPY, "finite losses"),
    "batches of dictionaries with other keys": ([{"x": X, "y": Y}, {"x": X}], by_keys, "run on the data"),
    "a shuffled loader that is read again": (
        DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True), by_places, "the same batches each time",
    ),
    "a loader with random augmentation that is read again": (
        DataLoader(Noisy(), batch_size=16), by_places, "same loss twice",
    ),
    "a loader that draws with replacement and is read again": (
        DataLoader(TensorDataset(X, Y), 16, sampler=WeightedRandomSampler(torch.arange(64.0), 64)), by_places,
        "same loss twice",
    ),
}  # fmt: skip
for name, (data, loss, sentence) in REFUSED.items():
    again = "read again" in name
    ZOO.refused(KIND, name, sentence)(
        lambda data=data, loss=loss, again=again: held(data, loss, **({"memory": 600} if again else {}))
    )


# --- models that take or return something else than a tensor -----------------------------------------------------------


class Wrapped(nn.Module):
    """Takes two inputs and returns a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.extra = small(), nn.Linear(2, 3)

    def forward(self, x: Tensor, extra: Tensor | None = None) -> Any:
        out = self.inner(x)
        return {"logits": out if extra is None else out + self.extra(extra)}


class TwoHeads(nn.Module):
    """Returns a tuple of logits and features."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.tanh(self.body(x))
        return self.head(hidden), hidden


def _both(model: nn.Module) -> Tensor:
    x = X.double()
    return CROSS_ENTROPY(model(x, x[:, :2])["logits"], Y)


ZOO.measured(KIND, "a model of two inputs that returns a dictionary", height=_both)(
    lambda: (
        seeded(Wrapped()),
        lambda m, b: single(m(b[0], extra=b[1])["logits"], b[2]),
        [(X, X[:, :2], Y)],
        {"threshold": 4.0},
    )
)
ZOO.measured(KIND, "a loss that picks the logits of a tuple", height=lambda m: CROSS_ENTROPY(m(X.double())[0], Y))(
    lambda: (seeded(TwoHeads()), lambda out, t: single(out[0], t), (X, Y), {"threshold": 4.5})
)
ZOO.refused(KIND, "a tuple of outputs with a loss module", "to return a tensor, got tuple")(
    lambda: (seeded(TwoHeads()), CROSS_ENTROPY, (X, Y), {"threshold": 2.5})
)


def _bags() -> list[Any]:
    return [([x[:k] for x, k in zip(part, (6, 3, 4), strict=False)], y[:3]) for part, y in _parts(3)][:2]


def _recurrent(model: Any, batch: Any) -> Tensor:
    rows = [row[:, None] for row in batch[0]]
    return single(model[1](model[0](pack_sequence(rows, enforce_sorted=False))[1][-1]), batch[1])


def _recurrent_mean(model: nn.Module) -> Tensor:
    batches = [([row.double() for row in rows], y) for rows, y in _bags()]
    return torch.cat([_recurrent(model, batch) for batch in batches]).mean()


ZOO.measured(KIND, "lists of sequences that the closure packs", height=_recurrent_mean)(
    lambda: (seeded(nn.ModuleList([nn.GRU(1, 4), nn.Linear(4, 3)])), _recurrent, _bags(), {"threshold": 4.0})
)


# --- around the call ---------------------------------------------------------------------------------------------------


class GlobalHook:
    """A hook on every module, as profilers register it; this one changes outputs."""

    def __enter__(self) -> None:
        self.handle = nn.modules.module.register_module_forward_hook(
            lambda module, _, out: out.clamp_max(0.9) if isinstance(module, nn.Tanh) else None
        )

    def __exit__(self, *error: object) -> None:
        self.handle.remove()


class OtherThread:
    """Another thread that measures and calls the same model at the same time."""

    def __enter__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            self.model = small()
        self.thread = threading.Thread(
            target=measure_volume,
            args=(self.model, CROSS_ENTROPY, classes()),
            kwargs={"threshold": 3.0, "n_directions": 4, "progress": False},
        )
        self.thread.start()

    def __exit__(self, *error: object) -> None:
        self.thread.join()


def _clamped(model: nn.Module) -> Tensor:
    first, _, last = model
    return CROSS_ENTROPY(last(torch.tanh(first(X.double())).clamp_max(0.9)), Y)


ZOO.measured("surroundings", "a global hook that changes outputs", height=_clamped)(
    lambda: held((X, Y), within=GlobalHook)
)
ZOO.measured("surroundings", "another thread that measures", height=WHOLE)(lambda: held((X, Y), within=OtherThread))
ZOO.measured("surroundings", "numpy's errors raised", height=WHOLE)(
    lambda: held((X, Y), within=lambda: np.errstate(all="raise"))
)
