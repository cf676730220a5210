"""The paper's architectures by name; all are plain stacks of layers with ReLU."""

from collections.abc import Callable
from itertools import pairwise
from threading import RLock

import torch
from torch import nn

from minima_volume.errors import UserError
from minima_volume.networks.parameters import Parameters, parameters_of


def mlp(*widths: int) -> nn.Sequential:
    """Build a fully connected network with ReLU between its layers.

    Args:
        widths: Number of inputs, of units in each hidden layer, and of outputs.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def cnn(channels: tuple[int, ...], side: int, widths: tuple[int, ...]) -> nn.Sequential:
    """Build a convolutional network: blocks of 3×3 convolution, 2×2 max pooling and ReLU, then a fully connected head.

    ReLU comes after the pooling, which gives the same function from a quarter of the values.

    Args:
        channels: Number of input channels, and of channels after each block.
        side: Height and width of the maps after the last block.
        widths: Number of units in each hidden layer of the head, and of outputs.
    """
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(channels):
        layers += [nn.Conv2d(fan_in, fan_out, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()]
    return nn.Sequential(*layers, *mlp(channels[-1] * side * side, *widths))


# Torch has one global generator for all threads.
_DRAWING = RLock()

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
    """Build a model; torch's global generator draws its weights.

    Args:
        name: Key of MODELS.

    Raises:
        UserError: There is no such model.
    """
    if name not in MODELS:
        raise UserError(
            f"Expected a model among {', '.join(MODELS)}, got '{name}': correct config.py, or add the model to models.py."
        )
    with _DRAWING:
        return MODELS[name]()


def initial_parameters(name: str, seed: int) -> Parameters:
    """Draw initial weights by torch's default initialisation; torch's global generator keeps its state.

    Args:
        name: Key of MODELS.
        seed: The same seed gives the same weights.
    """
    with _DRAWING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return parameters_of(build_model(name))
