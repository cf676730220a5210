"""Networks whose losses along rays are compared with dense scans: trained, untrained, smooth and oscillating ones."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from minima_volume.networks.directions import draw_directions
from tests.measure.zoo import classes, seeded

# Points of a scan between 0 and a crossing, and the nats in n·ln r by which a crossing may be late.
DENSE, PROMISE = 2000, 0.01


class Sine(nn.Module):
    """sin(30·x), the activation of a SIREN."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(30 * x)


class Transformer(nn.Module):
    """A transformer's encoder layer over three tokens."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        self.embed, self.encoder, self.head = nn.Linear(2, 8), layer, nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(x.unflatten(1, (3, 2)))).mean(dim=1))


def trained(model: nn.Module, data: Any, loss: Any, steps: int = 200, rate: float = 0.02) -> nn.Module:
    """Return a model after some steps of Adam."""
    adam = torch.optim.Adam(model.parameters(), rate)
    for _ in range(steps):
        adam.zero_grad()
        loss(model(data[0]), data[1]).backward()
        adam.step()
    return model.eval()


def mlp(n: int) -> tuple[nn.Module, Any, Any]:
    model = seeded(nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3)))
    return trained(model, classes(n), nn.CrossEntropyLoss()), nn.CrossEntropyLoss(), classes(n)


def convolutional() -> tuple[nn.Module, Any, Any]:
    draw = torch.Generator().manual_seed(3)
    x, y = torch.randn(40, 1, 6, 6, generator=draw), torch.randint(3, (40,), generator=draw)
    layers = [nn.Conv2d(1, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24, 3)]
    return trained(seeded(nn.Sequential(*layers)), (x, y), nn.CrossEntropyLoss()), nn.CrossEntropyLoss(), (x, y)


def transformer() -> tuple[nn.Module, Any, Any]:
    return trained(seeded(Transformer()), classes(40), nn.CrossEntropyLoss()), nn.CrossEntropyLoss(), classes(40)


def sines() -> list[nn.Module]:
    """Return the layers of a SIREN at torch's default initialisation."""
    torch.manual_seed(0)
    return [nn.Linear(1, 16), Sine(), nn.Linear(16, 16), Sine(), nn.Linear(16, 1), Sine()]


def siren() -> tuple[nn.Module, Any, Any]:
    x = torch.linspace(-1, 1, 40)[:, None]
    model = nn.Sequential(*sines()[:-1])
    with torch.no_grad():
        model[2].weight /= 30
    data = (x, torch.sin(5 * x))
    return trained(model, data, nn.MSELoss(), 400, 1e-3), nn.MSELoss(), data


def untrained_sines() -> tuple[nn.Module, Any, Any]:
    x = torch.linspace(-1, 1, 40)[:, None]
    model = nn.Sequential(*sines()).eval()
    return model, nn.MSELoss(), (x, model(x).detach())


def untrained_siren() -> tuple[nn.Module, Any, Any]:
    """Return an untrained network whose loss saturates close to 0.3 and oscillates there along most of a ray."""
    x, model = torch.randn(64, 1, generator=torch.Generator().manual_seed(0)), nn.Sequential(*sines()[:-1]).eval()
    return model, nn.MSELoss(), (x, model(x).detach())


def narrow_sines() -> tuple[nn.Module, Any, Any]:
    """Return an untrained sine network on one sample, whose loss along a ray oscillates through the threshold."""
    torch.manual_seed(0)
    widths = (6, 16, 16, 1)
    layers = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), Sine())]
    model, x = nn.Sequential(*layers).eval(), torch.randn(1, 6)
    return model, nn.MSELoss(), (x, model(x).detach())


# Name, builder, and threshold above the loss at the minimum.
NETWORKS: list[tuple[str, Callable[[], tuple[nn.Module, Any, Any]], float]] = [
    ("trained MLP, 64 samples", lambda: mlp(64), 0.1), ("trained MLP, 3 samples", lambda: mlp(3), 0.5),
    ("trained MLP, 2 samples", lambda: mlp(2), 1.0), ("trained CNN", convolutional, 0.2), ("trained SIREN", siren, 0.3),
    ("trained transformer", transformer, 0.2), ("untrained sine network", untrained_sines, 0.3),
]  # fmt: skip


def earlier_crossings(model: nn.Module, loss: Any, data: Any, threshold: float, coefficients: list[float]) -> int:
    """Count the rays whose loss exceeds the threshold on a dense scan, in float64, more than PROMISE nats earlier."""
    # In training mode, which changes nothing else here, torch takes no kernel that cannot be batched.
    model, start = (
        model.double().train(),
        {name: value.detach() for name, value in sorted(model.double().named_parameters())},
    )
    scales = [
        (value.flatten(1).norm(dim=1).view(-1, *[1] * (value.ndim - 1)) if value.ndim > 1 else torch.ones(1).double())
        for value in start.values()
    ]
    n, missed = sum(value.numel() for value in start.values()), 0
    x = data[0].double()

    for ray, end in enumerate(coefficients):
        g = draw_directions(0, [ray], n)[0].double()
        steps = g.split([value.numel() for value in start.values()])
        parts = [scale * step.view_as(value) for scale, step, value in zip(scales, steps, start.values(), strict=True)]

        def height(c: Tensor, parts: list[Tensor] = parts) -> Tensor:
            moved = {name: value + c * part for (name, value), part in zip(start.items(), parts, strict=True)}
            y = data[1].double() if data[1].is_floating_point() else data[1]
            return loss(functional_call(model, moved, (x,)), y)

        stop = 1.0 if math.isnan(end) else end * (1 - PROMISE / n)
        with torch.no_grad(), sdpa_kernel([SDPBackend.MATH]):
            values = torch.cat([vmap(height)(part) for part in torch.linspace(0, stop, DENSE).double().split(250)])
        missed += bool((values > threshold * (1 + 1e-6)).any())
    return missed
