"""Parameters that a model keeps, shares, hides or computes in its own way."""

import types
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.measure.zoo import CROSS_ENTROPY, ZOO, Built, classes, near, seeded

KIND = "parameters"


def pair(model: nn.Module, **options: Any) -> Built:
    """Return a classifier with its data."""
    return near(model, CROSS_ENTROPY, classes(), **options)


def small() -> nn.Sequential:
    """Return a small stack of layers."""
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


class Listed(nn.Module):
    """Reads its two matrices from a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Parameter(torch.zeros(8, 6)), nn.Parameter(torch.zeros(3, 8))
        self.ws = [self.w1, self.w2]

    def forward(self, x: Tensor) -> Tensor:
        for w in self.ws:
            x = torch.tanh(x) @ w.T
        return x


@ZOO.measured(KIND, "an alias of each parameter in a plain list")
def aliases() -> Built:
    return pair(seeded(Listed()))


class Renamed(nn.Module):
    """Reads a parameter under a second name, in a dictionary and through a property."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small()
        self.names = {"out": self.inner[2].weight}

    @property
    def first(self) -> Tensor:
        return self.inner[0].weight

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x @ self.first.T + self.inner[0].bias) @ self.names["out"].T + self.inner[2].bias


@ZOO.measured(KIND, "a parameter in a dictionary and behind a property")
def renamed() -> Built:
    return pair(seeded(Renamed()))


@ZOO.refused(KIND, "forward closes over the original module", r"reads the parameter '0\.weight'")
def closure_over_the_original() -> Built:
    model = seeded(small())
    layer = model[0]
    layer.forward = lambda h: functional.linear(h, layer.weight, layer.bias)
    return pair(model)


@ZOO.measured(KIND, "a layer whose forward was replaced by a method that clamps the weight")
def clamped_layer() -> Built:
    model = seeded(small())

    def forward(self: nn.Linear, h: Tensor) -> Tensor:
        return functional.linear(h, self.weight.clamp(-0.4, 0.4), self.bias)

    model[0].forward = types.MethodType(forward, model[0])
    return pair(model)


class Scaled(nn.Linear):
    """A linear layer with a factor of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.7 * super().forward(x)


@ZOO.measured(KIND, "a subclass of Linear in a Sequential")
def subclass() -> Built:
    return pair(seeded(nn.Sequential(Scaled(6, 8), nn.ReLU(), nn.Linear(8, 3))))


@ZOO.measured(KIND, "a hook that changes outputs")
def hooked() -> Built:
    model = seeded(small())
    model[0].register_forward_hook(lambda _module, _inputs, out: out.clamp_max(0.8))
    return pair(model)


@ZOO.measured(KIND, "weights as buffers in a Sequential")
def weight_buffers() -> Built:
    model = seeded(small())
    weight = model[0].weight.detach().clone()
    del model[0].weight
    model[0].register_buffer("weight", weight)
    return pair(model)


@ZOO.measured(KIND, "biases as buffers in a Sequential")
def bias_buffers() -> Built:
    model = seeded(small())
    bias = model[2].bias.detach().clone()
    del model[2].bias
    model[2].register_buffer("bias", bias)
    return pair(model)


class Tied(nn.Module):
    """Embedding and head share a matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.mix = nn.Embedding(5, 6), nn.Linear(6, 6)
        self.head = nn.Linear(6, 5, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.tanh(self.mix(self.embedding(tokens).mean(dim=1))))


def tokens() -> tuple[Tensor, Tensor]:
    """Return tokens and classes."""
    draw = torch.Generator().manual_seed(2)
    return torch.randint(5, (40, 4), generator=draw), torch.randint(5, (40,), generator=draw)


@ZOO.measured(KIND, "a head tied to the embedding")
def tied() -> Built:
    return near(seeded(Tied()), CROSS_ENTROPY, tokens())


@ZOO.refused(KIND, "a tied head named in only", r"tied: pass 'embedding\.weight'")
def tied_name() -> Built:
    return near(seeded(Tied()), CROSS_ENTROPY, tokens(), only="head")


@ZOO.measured(KIND, "names of parameters in a list")
def listed_names() -> Built:
    return pair(seeded(small()), only=["0.weight", "2.weight"], factor=1.05)


@ZOO.refused(KIND, "a misspelt name in a list", r"names of parameters in only, got '0\.wait'")
def misspelt_name() -> Built:
    return pair(seeded(small()), only=["0.wait"])


@ZOO.refused(KIND, "two parameters over the same memory", "in the same memory")
def shared_memory() -> Built:
    model = seeded(nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3)))
    model[2].weight = nn.Parameter(model[0].weight.data)
    return pair(model)


class Unused(nn.Module):
    """Has a head that nobody calls."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.pooler = small(), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


@ZOO.refused(KIND, "an unused head", r"read every parameter that moves.*'pooler\.bias'")
def unused_head() -> Built:
    return pair(seeded(Unused()))


@ZOO.measured(KIND, "an unused head that is left out")
def unused_head_left_out() -> Built:
    return pair(seeded(Unused()), only="inner")


class CachedWeights(nn.Module):
    """Computes its effective weight once, in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 3)
        self.effective: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.effective is None:
            self.effective = self.inner.weight.detach().tanh()
        return x @ self.effective.T + self.inner.bias


@ZOO.refused(KIND, "effective weights that were cached in evaluation mode", "read every parameter that moves.*weight")
def cached_before() -> Built:
    model = seeded(CachedWeights())
    model(torch.zeros(1, 6))
    return pair(model)


@ZOO.refused(
    KIND, "effective weights that are cached at the first call", r"losses depend on earlier calls|'inner\.weight'"
)
def cached_later() -> Built:
    return pair(seeded(CachedWeights()))


class Forgotten(nn.Module):
    """Keeps layers in a plain list, which torch does not register."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.layers = nn.Linear(6, 8), [nn.Linear(8, 3)]

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[0](torch.relu(self.first(x)))


@ZOO.refused(KIND, "layers in a plain list", "register it with")
def forgotten() -> Built:
    return pair(seeded(Forgotten()))


class Collected(nn.Module):
    """Parameters in a list and a dictionary of torch."""

    def __init__(self) -> None:
        super().__init__()
        self.many = nn.ParameterList([nn.Parameter(torch.zeros(8, 6)), nn.Parameter(torch.zeros(3, 8))])
        self.more = nn.ParameterDict({"shift": nn.Parameter(torch.zeros(3))})

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.many[0].T) @ self.many[1].T + self.more["shift"]


@ZOO.measured(KIND, "ParameterList and ParameterDict")
def collected() -> Built:
    return pair(seeded(Collected()))
