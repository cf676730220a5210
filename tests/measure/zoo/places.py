"""Parameters of unusual kinds and places, and models on the edge of what torch allows."""

import enum
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.measure.zoo import CROSS_ENTROPY, ZOO, Built, classes, near, seeded

KIND = "places"
X, Y = classes()


def pair(model: nn.Module, **options: Any) -> Built:
    """Return a classifier of six numbers with its data."""
    return near(seeded(model), CROSS_ENTROPY, (X, Y), **options)


def small() -> nn.Sequential:
    """Return a small stack of layers."""
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


class Extended(nn.Module):
    """A small stack with another parameter, which subclasses use."""

    extra: Tensor

    def __init__(self, extra: Any = None) -> None:
        super().__init__()
        self.inner = small()
        if extra is not None:
            self.extra = nn.Parameter(extra, requires_grad=extra.is_floating_point())

    def forward(self, x: Tensor) -> Any:
        return self.inner(x)


class Empty(Extended):
    """Concatenates a parameter without numbers."""

    def __init__(self) -> None:
        super().__init__(torch.zeros(0, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.extra.sum()


class Whole(Extended):
    """Permutes its inputs by a parameter of whole numbers."""

    def __init__(self) -> None:
        super().__init__(torch.tensor([3, 0, 5, 1, 2, 4]))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x[:, self.extra])


class Expanded(Extended):
    """Has a parameter whose numbers share one place in memory."""

    def __init__(self) -> None:
        super().__init__(torch.zeros(1).expand(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.extra


class Transposed(Extended):
    """Has a parameter that is stored column by column."""

    def __init__(self) -> None:
        super().__init__(torch.zeros(6, 3).t())

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + x @ self.extra.t()


class Narrow(Extended):
    """Has one parameter of half precision."""

    def __init__(self) -> None:
        super().__init__(torch.zeros(3, dtype=torch.float16))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.extra.to(x.dtype)


class Tensors(nn.Module):
    """A cubic form, whose weight has three dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.form, self.mix = nn.Parameter(torch.zeros(3, 6, 6)), nn.Bilinear(6, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("ni,kij,nj->nk", x, self.form, x) / 6 + self.mix(x, x[:, :2])


class Mode(enum.Enum):
    """A setting as an enumeration."""

    FAST = 1


class Odd(Extended):
    """Keeps attributes that people keep: an enumeration, a lambda, a class and a link to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.mode, self.function, self.kind = Mode.FAST, lambda x: 2 * x, nn.Linear
        self.myself = [self]

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.myself[0].inner(x)) if self.mode is Mode.FAST else x


class Numbering(Odd):
    """Keeps a generator of Python too, which cannot be copied, beside its link to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.myself = [self, (i for i in range(3))]


class Parent(nn.Module):
    """Has a child that reads its parent through a plain list, as fine-tuning libraries do."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.child = nn.Embedding(6, 3), Child(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.child(x)


class Child(nn.Module):
    """Reads the table of its parent."""

    def __init__(self, parent: nn.Module) -> None:
        super().__init__()
        self.parent, self.scale = [parent], nn.Parameter(torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.scale) @ self.parent[0].table.weight


class Slots(nn.Module):
    """Refuses to be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small()

    def __deepcopy__(self, memo: Any) -> Any:
        raise NotImplementedError("this model cannot be copied")

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Leaky(nn.Module):
    """Copies only its reference, so that a copy shares the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small()

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Decorated(Extended):
    """Has a forward in a decorator that switches gradients off."""

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class InTraining(Extended):
    """Behaves otherwise in training."""

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) * (torch.rand(1) if self.training else 1.0)


class Rounding(Extended):
    """Casts through float16 inside."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(
            torch.tanh(self.inner[0](x)).half().to(x.dtype), self.inner[2].weight, self.inner[2].bias
        )


for name, build in {
    "a parameter without numbers": Empty, "a parameter that is stored column by column": Transposed,
    "one parameter of half precision": Narrow, "weights of three dimensions": Tensors,
    "an enumeration, a lambda and a link to itself": Odd,
    "a child that reads its parent's weights": Parent, "a forward decorated with no_grad": Decorated,
    "randomness in training only": InTraining,
}.items():  # fmt: skip
    ZOO.measured(KIND, name)(functools.partial(lambda build: pair(build()), build))

ZOO.measured(KIND, "a fixed permutation that is a parameter of whole numbers, left out")(
    lambda: pair(Whole(), only="inner")
)

REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a fixed permutation that is a parameter of whole numbers": (Whole, "extra|floating"),
    "a parameter whose numbers share one place": (Expanded, "extra|memory"),
    "a model that refuses to be copied": (Slots, "can be copied"),
    "a model whose copy is itself": (Leaky, "copied|copy|reads the parameter"),
    "a link to itself beside what cannot be copied": (Numbering, "reads the parameter|copied"),
}
for name, (make, sentence) in REFUSED.items():
    ZOO.refused(KIND, name, sentence)(
        functools.partial(lambda make: (_made(make), CROSS_ENTROPY, (X, Y), {"threshold": 3.0}), make)
    )


def _made(make: Callable[[], nn.Module]) -> nn.Module:
    """Return a model with reproducible weights, also where one of them cannot be written to."""
    model = make()
    seeded(model.inner)
    return model.eval()


def _half(model: nn.Module) -> Tensor:
    return CROSS_ENTROPY(model(X.half().double()), Y)


ZOO.measured(KIND, "a float16 model", height=_half)(
    lambda: (seeded(small()).half(), CROSS_ENTROPY, (X.half(), Y), {"threshold": 4.0})
)


@ZOO.doubted(KIND, "a cast through float16 in forward")
def rounding() -> Built:
    return pair(Rounding())


@ZOO.measured(KIND, "a model that is an enormous minimum: all losses 0")
def zero_loss() -> Built:
    model = seeded(nn.Sequential(nn.Linear(6, 3, bias=False)))
    return model, nn.MSELoss(), (X, model(X).detach()), {"threshold": 1e-3}


@ZOO.measured(KIND, "weights of a millionth")
def tiny_weights() -> Built:
    model = seeded(nn.Sequential(nn.Linear(6, 3, bias=False)))
    with torch.no_grad():
        model[0].weight *= 1e-6
    return model, nn.MSELoss(), (X, model(X).detach()), {"threshold": 1e-13}


@ZOO.measured(KIND, "weights of a million")
def huge_weights() -> Built:
    model = seeded(nn.Sequential(nn.Linear(6, 3, bias=False)))
    with torch.no_grad():
        model[0].weight *= 1e6
    return model, nn.MSELoss(), (X, model(X).detach()), {"threshold": 1e11}
