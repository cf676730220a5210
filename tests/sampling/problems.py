"""Ellipsoids and a small network for the samplers."""

import math

import numpy as np
import torch
from torch import nn

from minima_volume.networks.losses import CRITERIA, Criterion
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import layout_of, parameters_of
from minima_volume.testing.ellipsoid import Ellipsoid
from minima_volume.training.models import mlp

TAU = 0.1


def spread_ellipsoid(n: int) -> Ellipsoid:
    """Return an ellipsoid whose log curvatures have a standard deviation of 1.5."""
    return Ellipsoid(np.exp(1.5 * np.random.default_rng(n).standard_normal(n)))


def unit(body: Ellipsoid) -> float:
    """Return the σ at which the mean loss of a Gaussian draw is the threshold."""
    return math.sqrt(2 * TAU / body.curvatures.sum())


def small_network(seed: int = 0) -> tuple[nn.Sequential, Minimum, Samples]:
    """Return an untrained network with a minimum in float64, and seven samples."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = mlp(2, 5, 3)
        samples = Samples(torch.randn(7, 2), torch.randint(3, (7,)), CRITERIA["cross_entropy"])
    parameters = {name: tensor.double() for name, tensor in parameters_of(model).items()}
    return model, Minimum.of(parameters, layout_of(parameters)), samples


def own_predictions(
    n_inputs: int, width: int, size: int, *, gain: float, criterion: Criterion
) -> tuple[nn.Sequential, Minimum, Samples]:
    """Return a network of two layers at initialisation whose targets are its own predictions among three classes.

    Args:
        n_inputs: Number of inputs.
        width: Width of its hidden layer.
        size: Number of samples.
        gain: Factor on the weights of the last layer, which makes the predictions sure.
        criterion: Loss of a sample.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        last = nn.Linear(width, 3)
        model = nn.Sequential(nn.Linear(n_inputs, width), nn.Tanh(), last).eval()
        inputs = torch.randn(size, n_inputs)
    with torch.no_grad():
        last.weight *= gain
        targets = model(inputs).argmax(dim=1)
    parameters = parameters_of(model)
    return model, Minimum.of(parameters, layout_of(parameters)), Samples(inputs, targets, criterion)
