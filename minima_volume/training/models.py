"""The paper's architectures by name; all are plain stacks of layers with ReLU."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn

from minima_volume.errors import UserError
from minima_volume.networks.parameters import Parameters, parameters_of


def mlp(*widths: int) -> nn.Sequential:
    """Fully connected network with the given layer widths, input first, ReLU between."""
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def cnn(channels: tuple[int, ...], side: int, widths: tuple[int, ...]) -> nn.Sequential:
    """Blocks of 3×3 convolution, ReLU and 2×2 max pooling, then a fully connected head on the side×side maps left.

    ReLU stands behind the pooling, which is the same function on a quarter of the values.
    """
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(channels):
        layers += [nn.Conv2d(fan_in, fan_out, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()]
    return nn.Sequential(*layers, *mlp(channels[-1] * side * side, *widths))


MODELS: dict[str, Callable[[], nn.Sequential]] = {
    "swiss_x5": lambda: mlp(2, 32, 32, 32, 32, 32, 1),
    "swiss_x6": lambda: mlp(2, 32, 32, 32, 32, 32, 32, 1),
    "digits_mlp": lambda: mlp(64, 64, 32, 10),
    "mnist_mlp": lambda: mlp(784, 256, 128, 10),
    "mnist_mlp_large": lambda: mlp(784, 256, 256, 128, 10),
    "mnist_cnn": lambda: cnn((1, 32, 64), 7, (128, 10)),
    "cifar_mlp": lambda: mlp(3072, 512, 256, 10),
    "cifar_cnn": lambda: cnn((3, 32, 64, 128), 4, (512, 256, 10)),
    "modulo_mlp": lambda: mlp(194, 250, 97),
}


def build_model(name: str) -> nn.Sequential:
    """A fresh model of the named architecture; its weights are whatever torch drew."""
    if name not in MODELS:
        raise UserError(
            f"Expected a model among {', '.join(MODELS)}, got '{name}': add it to models.py or mend the config."
        )
    return MODELS[name]()


def initial_parameters(name: str, seed: int) -> Parameters:
    """Torch's default initialisation of the named architecture under `seed`, the same for every level of a repeat."""
    # Fills the global generator for a moment, so never call this from two threads at once.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return parameters_of(build_model(name))
