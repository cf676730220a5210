"""First crossings of networks on which nothing was tuned: other seeds, widths, frequencies and numbers of samples.

Usage: `python -m tests.measure.zoo.audit [rays]`. It prints a Markdown table; 200 rays take some minutes.
"""

import sys
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minima_volume import measure_volume
from minima_volume.networks.directions import draw_directions
from tests.measure.zoo import classes
from tests.measure.zoo.curves import Transformer, earlier_crossings, trained, untrained_siren

Built = tuple[nn.Module, Any, Any]


class Wave(nn.Module):
    """sin(ω·x)."""

    def __init__(self, omega: float) -> None:
        super().__init__()
        self.omega = omega

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.omega * x)


def stack(widths: tuple[int, ...], activation: Callable[[], nn.Module], seed: int, *, last: bool = False) -> nn.Module:
    """Return a stack at torch's default initialisation."""
    torch.manual_seed(seed)
    layers = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), activation())]
    return nn.Sequential(*(layers if last else layers[:-1])).eval()


def classifier(seed: int, n: int, activation: Callable[[], nn.Module]) -> Built:
    """Return a trained classifier of n samples."""
    model = stack((6, 24, 24, 24, 3), activation, seed)
    return trained(model, classes(n), nn.CrossEntropyLoss()), nn.CrossEntropyLoss(), classes(n)


def convolutional(seed: int) -> Built:
    """Return a trained convolutional network with two layers of pooling."""
    torch.manual_seed(seed)
    x, y = torch.randn(30, 1, 8, 8), torch.randint(3, (30,))
    layers = [nn.Conv2d(1, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(5, 6, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24, 3))
    return trained(model, (x, y), nn.CrossEntropyLoss()), nn.CrossEntropyLoss(), (x, y)


def attention(seed: int) -> Built:
    """Return a trained transformer."""
    torch.manual_seed(seed)
    return trained(Transformer(), classes(24), nn.CrossEntropyLoss()), nn.CrossEntropyLoss(), classes(24)


def waves(seed: int, omega: float) -> Built:
    """Return a trained sine network of one input."""
    model, x = stack((1, 20, 20, 1), lambda: Wave(omega), seed), torch.linspace(-1, 1, 30)[:, None]
    with torch.no_grad():
        model[2].weight /= omega
    data = (x, torch.sin(4 * x) + 0.3 * torch.cos(9 * x))
    return trained(model, data, nn.MSELoss(), 400, 1e-3), nn.MSELoss(), data


def untrained_waves(seed: int, omega: float, n: int, widths: tuple[int, ...] = (6, 16, 16, 1)) -> Built:
    """Return an untrained sine network whose targets are its own outputs."""
    model = stack(widths, lambda: Wave(omega), seed, last=True)
    x = torch.randn(n, widths[0])
    return model, nn.MSELoss(), (x, model(x).detach())


# Name, builder, and threshold above the loss at the minimum.
HELD_OUT: list[tuple[str, Callable[[], Built], float]] = [
    ("trained MLP of tanh, 40 samples", lambda: classifier(11, 40, nn.Tanh), 0.2),
    ("trained MLP of ReLU, 5 samples", lambda: classifier(12, 5, nn.ReLU), 0.5),
    ("trained MLP of ReLU, 1 sample", lambda: classifier(13, 1, nn.ReLU), 1.0),
    ("trained CNN with two poolings", lambda: convolutional(14), 0.2),
    ("trained transformer", lambda: attention(15), 0.2),
    ("trained SIREN, ω = 15", lambda: waves(16, 15.0), 0.2),
    ("trained SIREN, ω = 45", lambda: waves(17, 45.0), 0.2),
    ("untrained sine network, ω = 30, 64 samples", lambda: untrained_waves(18, 30.0, 64), 0.3),
    ("untrained sine network, ω = 30, 2 samples", lambda: untrained_waves(19, 30.0, 2), 0.3),
    ("untrained sine network, ω = 60, 1 sample", lambda: untrained_waves(20, 60.0, 1), 0.3),
    ("untrained sine network, ω = 30, three layers of 16", lambda: untrained_waves(0, 30.0, 64, (6, 16, 16, 16)), 0.3),
    ("untrained SIREN, 64 samples", untrained_siren, 0.3),
    ("untrained sine network, five layers", lambda: untrained_waves(21, 10.0, 4, (2, 12, 12, 12, 12, 1)), 0.3),
]


def audit(build: Callable[[], Built], rise: float, rays: int) -> tuple[Any, int]:
    """Return the measurement of a network, and how many of its rays cross earlier than was found.

    Args:
        build: Makes the network, its loss and its data.
        rise: Threshold above the loss at the minimum.
        rays: Number of rays.
    """
    model, loss, data = build()
    threshold = float(loss(model(data[0]), data[1]).detach()) + rise
    found = measure_volume(model, loss, data, threshold=threshold, n_directions=rays, progress=False)
    norms = draw_directions(0, range(rays), found.n_params).double().norm(dim=1).numpy()
    c = np.where(found.censored, np.nan, np.exp(found.log_radii) / norms)
    return found, earlier_crossings(model, loss, data, threshold, c.tolist())


def main() -> None:
    """Print the table."""
    rays = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print("| network | n | rays | missed | censored | verdict doubts | note |\n|---|---|---|---|---|---|---|")
    for name, build, rise in HELD_OUT:
        found, missed = audit(build, rise, rays)
        doubt = "yes" if "may be too high" in found.verdict.sentence else "no"
        note = next((note for note in found.notes if "udited" in note), "")
        print(
            f"| {name} | {found.n_params:,} | {rays} | {missed} | {int(found.censored.sum())} | {doubt} | {note} |",
            flush=True,
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    main()
