"""Parameters that a layer computes from others, that cannot move, or that are no real numbers."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from tests.measure.zoo import CROSS_ENTROPY, ZOO, Built, classes, near, seeded

KIND = "parameters"


def tokens() -> tuple[Tensor, Tensor]:
    """Return tokens and classes."""
    draw = torch.Generator().manual_seed(2)
    return torch.randint(5, (40, 4), generator=draw), torch.randint(5, (40,), generator=draw)


def pair(model: nn.Module, **options: Any) -> Built:
    """Return a classifier with its data."""
    return near(model, CROSS_ENTROPY, classes(), **options)


def small() -> nn.Sequential:
    """Return a small stack of layers."""
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


@ZOO.measured(KIND, "weight norm as a parametrisation")
def weight_norm() -> Built:
    return pair(seeded(nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 3))))


@ZOO.measured(KIND, "spectral norm as a parametrisation")
def spectral_norm() -> Built:
    return pair(seeded(nn.Sequential(parametrizations.spectral_norm(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 3))))


@ZOO.measured(KIND, "orthogonal weights as a parametrisation")
def orthogonal() -> Built:
    return pair(seeded(nn.Sequential(parametrizations.orthogonal(nn.Linear(6, 6)), nn.ReLU(), nn.Linear(6, 3))))


@ZOO.measured(KIND, "a pruned layer that was called with gradients")
def pruned() -> Built:
    model = seeded(small())
    prune.l1_unstructured(model[0], "weight", amount=0.5)
    model(torch.zeros(1, 6)).sum().backward()
    return pair(model)


@ZOO.measured(KIND, "filters that are zero", note="norm 0 and cannot move")
def zero_filters() -> Built:
    model = seeded(small())
    with torch.no_grad():
        model[0].weight[:3] = 0
    return pair(model)


class LoRA(nn.Module):
    """A frozen matrix and a step of low rank whose second factor is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(6, 3).requires_grad_(False)
        self.a, self.b = nn.Parameter(torch.zeros(2, 6)), nn.Parameter(torch.zeros(3, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + x @ self.a.T @ self.b.T


@ZOO.measured(KIND, "LoRA, whose second factor is zero", note="6 of 39 parameters")
def lora() -> Built:
    model = seeded(LoRA())
    nn.init.zeros_(model.b)
    return pair(model)


@ZOO.measured(KIND, "an embedding with a padding row")
def padding_row() -> Built:
    model = seeded(nn.Sequential(nn.Embedding(5, 6, padding_idx=0), nn.Flatten(), nn.Linear(24, 5)))
    with torch.no_grad():
        model[0].weight[0] = 0
    return near(model, CROSS_ENTROPY, tokens())


@ZOO.refused(KIND, "complex weights", "complex")
def complex_weights() -> Built:
    class Complex(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(3, 6, dtype=torch.complex64))

        def forward(self, x: Tensor) -> Tensor:
            return (x.to(torch.complex64) @ self.w.T).abs()

    return pair(Complex().eval())


@ZOO.measured(KIND, "int8 buffers with a scale")
def quantised() -> Built:
    class Quantised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("codes", torch.randint(-128, 127, (8, 6), dtype=torch.int8))
            self.scale, self.head = nn.Parameter(torch.zeros(8)), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.relu(x @ (self.codes.to(x.dtype) * self.scale[:, None] / 128).T))

    torch.manual_seed(0)
    return pair(seeded(Quantised()))
