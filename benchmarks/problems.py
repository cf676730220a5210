"""The fixed workloads of the benchmark: real architectures, trained within seconds on generated data."""

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.schemes import Problem
from minima_volume.networks.losses import CRITERIA
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import layout_of
from minima_volume.training.datasets import load
from minima_volume.training.models import build_model, initial_parameters
from minima_volume.training.recipe import Recipe
from minima_volume.training.trainer import Job, train

NESTED = (60, 600, 2000, 6000, 20_000, 60_000)


def clusters(count: int, shape: tuple[int, ...], *, spread: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return `count` points around ten Gaussian centres, with the shape and scale of normalised images."""
    generator = torch.Generator().manual_seed(0)
    centres = 0.3 * torch.randn(10, *shape, generator=generator)
    labels = torch.randint(10, (count,), generator=generator)
    return centres[labels] + spread * torch.randn(count, *shape, generator=generator), labels


def _minimum(model_name: str, inputs: Tensor, targets: Tensor, loss: str, recipe: Recipe, seed: int) -> Minimum:
    """Train one network and return its minimum."""
    job = Job(initial_parameters(model_name, seed), inputs, targets, seed)
    *_, (_, [parameters]) = train(build_model(model_name), [job], recipe, CRITERIA[loss])
    return Minimum.of(parameters, layout_of(parameters))


def images(name: str, model_name: str, shape: tuple[int, ...], sizes: Sequence[int], nested: bool) -> Problem:
    """Return a workload with one minimum per training size on clustered images.

    Args:
        name: Name of the workload.
        model_name: Architecture.
        shape: Shape of an image.
        sizes: Training sizes.
        nested: Measure each minimum on every size up to its own, instead of on the smallest only.
    """
    inputs, targets = clusters(max(sizes), shape)
    recipes = [Recipe(epochs=max(3, min(60, 60_000 // size)), batch_size=min(size, 256)) for size in sizes]
    minima = [
        _minimum(model_name, inputs[:size], targets[:size], "cross_entropy", recipe, 0)
        for size, recipe in zip(sizes, recipes, strict=True)
    ]
    landscapes = [[other for other in sizes if other <= size] if nested else [min(sizes)] for size in sizes]
    samples = Samples(
        inputs if nested else inputs[: min(sizes)],
        targets if nested else targets[: min(sizes)],
        CRITERIA["cross_entropy"],
    )
    return Problem(name, build_model(model_name), minima, landscapes, samples, 0.1)


def swiss() -> Problem:
    """Return six five-layer networks on 100 points of two spirals."""
    data = load("swiss_roll", 10)
    inputs, targets = data.inputs[:100], data.targets[:100]
    minima = [_minimum("swiss_x5", inputs, targets, data.loss, Recipe(epochs=600), seed) for seed in range(6)]
    samples = Samples(inputs, targets, CRITERIA[data.loss])
    return Problem("Swiss x5, 100 points, 6 minima", build_model("swiss_x5"), minima, [[100]] * 6, samples, 0.1)


def workloads() -> dict[str, Problem]:
    """Return every workload by name, in the order of the table."""
    made = [
        swiss(),
        images("MNIST MLP, 60 samples, 6 minima", "mnist_mlp", (1, 28, 28), (60, 80, 100, 120, 140, 160), False),
        images("MNIST MLP, 6000 samples, 5 minima", "mnist_mlp", (1, 28, 28), (6000, 6100, 6500, 7000, 8000), False),
        images("MNIST MLP, nested 60 to 60,000, 6 minima", "mnist_mlp", (1, 28, 28), NESTED, True),
        images("MNIST CNN, 60 samples, 2 minima", "mnist_cnn", (1, 28, 28), (60, 80), False),
    ]
    return {problem.name: problem for problem in made}
