"""Models whose landscapes are known, and a plain float64 loop over the nodes of a plane."""

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from minima_volume.landscapes.plane import Plane

DRAW = torch.Generator().manual_seed(0)
INPUTS = torch.randn(90, 6, generator=DRAW)
TARGETS = (INPUTS[:, 0] + INPUTS[:, 1] * INPUTS[:, 2] > 0).long()
DATA = (INPUTS, TARGETS)
CROSS = nn.CrossEntropyLoss()


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 2))


class Vector(nn.Module):
    """One parameter vector w (n,), which is added to every sample."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(values.clone())

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + self.w


def with_weights(model: nn.Module, seed: int) -> nn.Module:
    """Give a model seeded weights of torch's initialisation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in model.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
    return model.eval()


def three(make: Callable[[], nn.Module]) -> list[nn.Module]:
    """Three models with weights of their own."""
    return [with_weights(make(), seed) for seed in range(3)]


def flat(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().double().flatten() for _, p in sorted(model.named_parameters())])


def axes_through(models: list[nn.Module]) -> tuple[Tensor, Tensor, Tensor]:
    """A and orthonormal axes from a QR decomposition, e₁ towards B and e₂ on the side of C."""
    a, b, c = map(flat, models)
    q, r = torch.linalg.qr(torch.stack([b - a, c - a], dim=1))
    return a, q[:, 0] * r[0, 0].sign(), q[:, 1] * r[1, 1].sign()


@torch.no_grad()
def plain_loop(models: list[nn.Module], plane: Plane, loss: Callable[[nn.Module], Tensor]) -> NDArray[np.float64]:
    """The loss at every node, with weights copied into a float64 model."""
    a, e1, e2 = axes_through(models)
    model, found = deepcopy(models[0]).double(), np.zeros((len(plane.y), len(plane.x)))
    named = sorted(model.named_parameters())
    for j, i in np.ndindex(found.shape):
        point = a + plane.x[i] * e1 + plane.y[j] * e2
        for (_, p), part in zip(named, point.split([p.numel() for _, p in named]), strict=True):
            p.copy_(part.view_as(p))
        found[j, i] = float(loss(model))
    return found
