"""How people read, share, wrap and change the parameters of a model, beyond `self.weight` in forward."""

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from tests.measure.zoo import CROSS_ENTROPY, ZOO, Built, classes, near, seeded

KIND = "habits"


def pair(model: nn.Module, **options: Any) -> Built:
    """Return a classifier of six numbers with its data."""
    return near(seeded(model), CROSS_ENTROPY, classes(), **options)


def small() -> nn.Sequential:
    """Return a small stack of layers."""
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


class Reader(nn.Module):
    """Applies two matrices, which subclasses read in their own way."""

    def __init__(self) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Parameter(torch.zeros(8, 6)), nn.Parameter(torch.zeros(3, 8))

    def weights(self) -> tuple[Tensor, Tensor]:
        return self.w1, self.w2

    def forward(self, x: Tensor) -> Tensor:
        one, two = self.weights()
        return torch.tanh(x @ one.T) @ two.T


class ByData(Reader):
    def weights(self) -> tuple[Tensor, Tensor]:
        return self.w1.data, self.w2.detach()


class ByIteration(Reader):
    def weights(self) -> tuple[Tensor, Tensor]:
        one, two = self.parameters()
        return one, two


class ByStateDict(Reader):
    def weights(self) -> tuple[Tensor, Tensor]:
        state = self.state_dict()
        return state["w1"], state["w2"]


class ByVector(Reader):
    def weights(self) -> tuple[Tensor, Tensor]:
        flat = nn.utils.parameters_to_vector(self.parameters())
        return flat[:48].view(8, 6), flat[48:].view(3, 8)


class ByName(Reader):
    def weights(self) -> tuple[Tensor, Tensor]:
        one, two = (getattr(self, f"w{i}") for i in (1, 2))
        return one, two


class ByNumpy(Reader):
    def weights(self) -> tuple[Tensor, Tensor]:
        return torch.as_tensor(np.asarray(self.w1.detach()) * 1.0), self.w2


class ByTransposedView(Reader):
    """Keeps a view of a parameter, which deepcopy may cut from it."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = self.w1.detach().t()

    def weights(self) -> tuple[Tensor, Tensor]:
        return self.kept.t(), self.w2


class ByPartial(Reader):
    """Binds a parameter in a functools.partial."""

    def __init__(self) -> None:
        super().__init__()
        self.first = functools.partial(functional.linear, weight=self.w1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.first(x)) @ self.w2.T


class ByRounding(Reader):
    """Rounds its weights, as training for small integers does: the loss is a staircase."""

    def weights(self) -> tuple[Tensor, Tensor]:
        return self.w1 + ((self.w1 * 16).round() / 16 - self.w1).detach(), self.w2


class BySign(Reader):
    """Keeps only the signs of one matrix."""

    def weights(self) -> tuple[Tensor, Tensor]:
        return self.w1.sign(), self.w2


class ByTopK(Reader):
    """Keeps the largest half of one matrix."""

    def weights(self) -> tuple[Tensor, Tensor]:
        return self.w1 * (self.w1.abs() >= self.w1.abs().median()), self.w2


class Hyper(nn.Module):
    """A network that computes the weights of another."""

    def __init__(self) -> None:
        super().__init__()
        self.maker, self.code = nn.Linear(2, 21), nn.Parameter(torch.zeros(2))
        self.target = nn.Linear(6, 3).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        flat = torch.tanh(self.maker(self.code))
        return functional_call(self.target, {"weight": flat[:18].view(3, 6), "bias": flat[18:]}, (x,))


class Experts(nn.Module):
    """Sends every sample to one of two experts."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(6, 2), nn.ModuleList([nn.Linear(6, 3), nn.Linear(6, 3)])

    def forward(self, x: Tensor) -> Tensor:
        choice, out = self.gate(x).argmax(dim=1), torch.zeros(len(x), 3, dtype=x.dtype)
        for i, expert in enumerate(self.experts):
            out[choice == i] = expert(x[choice == i])
        return out


class Equilibrium(nn.Module):
    """Iterates a layer until every sample has converged or 60 steps are done."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(6, 6, bias=False), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.zeros_like(x)
        for _ in range(60):
            new = torch.tanh(0.3 * self.inner(z) + x)
            if (new - z).abs().max() < 1e-13:
                break
            z = new
        return self.head(z)


class Proxy(nn.Module):
    """Passes attributes that it lacks to the model inside."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small()

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Extracted(nn.Module):
    """Returns what a hook has stored, as feature extractors do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.kept = small(), {}
        self.inner[0].register_forward_hook(self.keep)

    def keep(self, module: nn.Module, inputs: Any, out: Tensor) -> None:
        self.kept["first"] = out

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.kept["first"][:, :3]


class MixedTypes(nn.Module):
    """Computes its last layer in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(x)).double())


class TransposedHead(nn.Module):
    """Decodes with the transposed weight of its encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(torch.tanh(self.encoder(x)), self.encoder.weight.t()) @ self.encoder.weight.t()


class Preparing(nn.Module):
    """Prepares its effective weight in a hook before each call."""

    def __init__(self) -> None:
        super().__init__()
        self.raw, self.bias = nn.Parameter(torch.zeros(3, 6)), nn.Parameter(torch.zeros(3))
        self.register_forward_pre_hook(self.prepare)

    @staticmethod
    def prepare(module: Any, inputs: Any) -> None:
        module.effective = (module.raw - module.raw.mean(dim=1, keepdim=True)) / module.raw.std(dim=1, keepdim=True)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.effective.T + self.bias


for name, build in {
    "weights read through .data": ByData, "weights read through self.parameters()": ByIteration,
    "weights read through self.state_dict()": ByStateDict, "weights read from one flat vector": ByVector,
    "weights read by getattr and a name": ByName, "weights read through numpy": ByNumpy,
    "weights read through a functools.partial": ByPartial, "experts chosen by the sample": Experts,
    "a module that passes attributes on": Proxy,
    "outputs that a hook has stored": Extracted, "a last layer of float64": MixedTypes,
    "a decoder that reads the encoder's weight transposed": TransposedHead,
    "weights standardised in a hook before the call": Preparing,
}.items():  # fmt: skip
    ZOO.measured(KIND, name)(functools.partial(lambda build: pair(build()), build))

for name, build in {
    "weights rounded to sixteenths": ByRounding, "signs of weights": BySign, "the largest half of the weights": ByTopK,
}.items():  # fmt: skip
    ZOO.doubted(KIND, name)(functools.partial(lambda build: pair(build()), build))
ZOO.measured(KIND, "a hypernetwork whose target is left out")(
    lambda: pair(Hyper(), only=["maker.weight", "maker.bias", "code"])
)
ZOO.refused(KIND, "a hypernetwork whose target moves too", r"read every parameter that moves.*'target\.bias'")(
    lambda: pair(Hyper())
)
ZOO.measured(KIND, "a fixed point that is iterated")(
    lambda: near(seeded(Equilibrium()), CROSS_ENTROPY, classes(8), factor=1.1)
)
ZOO.refused(KIND, "a view of a parameter that is kept", r"'w1'|closure|same memory|memory")(
    lambda: (seeded(ByTransposedView()), CROSS_ENTROPY, classes(), {"threshold": 3.0})
)
