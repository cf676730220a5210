"""Models and losses that look right at the minimum, and do something else away from it or where nobody looks."""

import functools
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize

from tests.measure.zoo import CROSS_ENTROPY, ZOO, Built, classes, near, seeded

KIND = "adversaries"
X, Y = classes()


def small() -> nn.Sequential:
    """Return a small stack of layers."""
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def single(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of each sample."""
    return functional.cross_entropy(outputs, targets, reduction="none")


class Extended(nn.Module):
    """A small stack with a vector, which subclasses use."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.gain = small(), nn.Parameter(torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x + self.gain)


def _at_zero(make: Callable[[], Extended]) -> Extended:
    """Return a model whose vector is zero, so that it does nothing at the minimum."""
    model: Extended = seeded(make())
    nn.init.zeros_(model.gain)
    return model


# --- what happens only away from the minimum --------------------------------------------------------------------------


class BatchMean(Extended):
    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x + self.gain * x.square().mean(dim=0))


class Noise(Extended):
    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x + self.gain * torch.randn_like(x))


class Saturating(Extended):
    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x + torch.where(self.gain.abs() > 0.2, self.gain.sign(), self.gain))


class Guarded(Extended):
    def forward(self, x: Tensor) -> Tensor:
        if self.gain.abs().max() > 0.6:
            raise ValueError("gains must stay below 0.6")
        return super().forward(x)


class PowerIteration(nn.Module):
    """Divides by a singular value whose vector takes one step in every call, in evaluation too."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 6))
        self.register_buffer("u", functional.normalize(torch.ones(6), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            v = functional.normalize(self.weight @ self.u, dim=0)
            self.u.copy_(functional.normalize(self.weight.T @ v, dim=0))
        return 3 * x @ (self.weight / (self.weight @ self.u).norm()).T


ZOO.measured(KIND, "a mean over the batch with a gain that is zero")(
    lambda: near(_at_zero(BatchMean), CROSS_ENTROPY, (X, Y))
)
ZOO.measured(KIND, "a ValueError for large gains")(lambda: near(_at_zero(Guarded), CROSS_ENTROPY, (X, Y), factor=2.0))
ZOO.refused(KIND, "noise with a gain that is zero", "same loss twice|random|earlier calls")(
    lambda: near(_at_zero(Noise), CROSS_ENTROPY, (X, Y))
)


# --- what a proof on some samples does not see ------------------------------------------------------------------------


def _outliers() -> tuple[Tensor, Tensor]:
    """Return many samples, one of which lies far out."""
    x, y = classes(400)
    x[int(torch.randint(400, (), generator=torch.Generator().manual_seed(1)))] = 40.0
    return x, y


def _clipped(model: Any) -> Tensor:
    x, y = _outliers()
    return CROSS_ENTROPY(nn.Sequential(*model)(x.double().clamp(-5, 5)), y)


@ZOO.measured(KIND, "a replaced forward that clips one sample of 400")
def clipping_forward() -> Built:
    model = seeded(small())
    model[0].forward = types.MethodType(
        lambda self, h: functional.linear(h.clamp(-5, 5), self.weight, self.bias), model[0]
    )
    return near(model, CROSS_ENTROPY, _outliers())


class Clipping(Extended):
    """Treats samples far out in another way."""

    def forward(self, x: Tensor) -> Tensor:
        far = x.abs().amax(dim=1, keepdim=True) > 20
        return torch.where(far, self.inner(x.clamp(-1, 1)) * (1 + self.gain.sum()), self.inner(x + self.gain))


ZOO.measured(KIND, "a forward that treats one sample of 400 otherwise")(
    lambda: near(seeded(Clipping()), CROSS_ENTROPY, _outliers())
)

# --- means that change with the parameters ----------------------------------------------------------------------------


def _confident(model: Any, batch: Any) -> tuple[Tensor, Tensor]:
    outputs = model(batch[0])
    return single(outputs, batch[1]), outputs.softmax(dim=1).amax(dim=1)


ZOO.refused(KIND, "a closure whose weights depend on the outputs", "weights do not depend on the model")(
    lambda: (seeded(small()), _confident, (X, Y), {"threshold": 4.0})
)


def _hard(model: Any, batch: Any) -> Tensor:
    losses = single(model(batch[0]), batch[1])
    return losses[losses > 0.3]


ZOO.refused(KIND, "a closure that keeps hard samples only", "samples and weights do not depend on the model")(
    lambda: (seeded(small()), _hard, (X, Y), {"threshold": 5.0})
)

# --- axes and types ---------------------------------------------------------------------------------------------------


class TimeFirst(nn.Module):
    """A recurrent network whose first axis is time."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRU(2, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x)[0]).transpose(1, 2)


def _series() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(3)
    return torch.randn(7, 5, 2, generator=draw), torch.randint(3, (7, 5), generator=draw)


ZOO.refused(KIND, "a recurrent network with time as first axis", "same loss twice")(
    lambda: (seeded(TimeFirst()), CROSS_ENTROPY, _series(), {"threshold": 2.0})
)
ZOO.measured(
    KIND, "the same network in a closure", height=lambda m: CROSS_ENTROPY(m(_series()[0].double()), _series()[1])
)(lambda: (seeded(TimeFirst()), lambda m, b: single(m(b[0]), b[1]), _series(), {"threshold": 1.7}))


class Strict(Extended):
    """Refuses anything but float32."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype != torch.float32:
            raise TypeError(f"float32 expected, got {x.dtype}")
        return super().forward(x)


ZOO.measured(
    KIND,
    "a forward that accepts float32 only",
    height=lambda m: CROSS_ENTROPY(Extended.forward(m, X.double()), Y),
    note="does not run in float64",
)(lambda: (seeded(Strict()), CROSS_ENTROPY, (X, Y), {"threshold": 3.0}))

ZOO.measured(KIND, "one parameter")(
    lambda: near(seeded(nn.Linear(1, 1, bias=False)), nn.MSELoss(), (X[:, :1], X[:, 1:2]), factor=1.5)
)
ZOO.measured(KIND, "biases alone")(lambda: near(seeded(small()), CROSS_ENTROPY, (X, Y), only="bias"))
ZOO.measured(KIND, "targets of float64")(lambda: near(seeded(small()), nn.MSELoss(), (X, X[:, :3].double().sin())))


@torch.no_grad()
def _predicted() -> Tensor:
    predicted: Tensor = seeded(small())(X).argmax(dim=1)
    return predicted


def _accuracy(model: nn.Module) -> Tensor:
    # Rises above the threshold of 0.7 where the accuracy falls below it.
    return 1.4 - (model(X.double()).argmax(dim=1) == _predicted()).double().mean()


ZOO.measured(KIND, "metric='accuracy'", height=_accuracy)(
    lambda: (seeded(small()), None, (X, _predicted()), {"threshold": 0.7, "metric": "accuracy"})
)
ZOO.refused(KIND, "parametrisations that the caller caches", "caches of weights")(
    lambda: (
        seeded(nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 8)), nn.Tanh(), nn.Linear(8, 3))),
        CROSS_ENTROPY,
        (X, Y),
        {"threshold": 3.0, "within": parametrize.cached},
    )
)


class Proxies(nn.Module):
    """A loss with class vectors of its own, as metric learning has it."""

    def __init__(self) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(3, 3, generator=torch.Generator().manual_seed(2)))

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return single(4 * functional.normalize(outputs) @ functional.normalize(self.vectors).T, targets)


ZOO.measured(KIND, "a loss module with class vectors that stay")(
    lambda: near(seeded(small()), Proxies(), (X, Y), factor=1.1)
)


def _anchored(model: Any, batch: Any, anchors: list[Tensor]) -> Tensor:
    drift = sum(((p - a.to(p)) ** 2).sum() for p, a in zip(model.parameters(), anchors, strict=True))
    return single(model(batch[0]), batch[1]) + drift


ANCHORS = [parameter.detach().clone() for parameter in seeded(small()).parameters()]
ZOO.measured(
    KIND,
    "a closure with a penalty of the distance from the trained weights",
    height=lambda m: _anchored(m, (X.double(), Y), ANCHORS).mean(),
)(lambda: (seeded(small()), functools.partial(_anchored, anchors=ANCHORS), (X, Y), {"threshold": 3.5}))
