"""Small trained networks, a sweep of one of them, and the plain step beside it."""

import torch
from torch import Tensor, nn

from minima_volume.crossings.scan import Target
from minima_volume.crossings.sweep import Crossings, sweep_crossings
from minima_volume.networks.losses import CRITERIA
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import Parameters, layout_of, parameters_of
from minima_volume.training.models import mlp
from minima_volume.training.recipe import Recipe
from minima_volume.training.trainer import Job, train
from tests import reference


def plain_step(model: nn.Module, g: Tensor) -> dict[str, Tensor]:
    """The plain step with the flat vector in the layout's order."""
    return reference.step(model, g, [name for name, _ in layout_of(parameters_of(model)).shapes])


def trained(widths: tuple[int, ...], n: int, epochs: int, seed: int = 0) -> tuple[nn.Module, Samples]:
    """A float32 network trained on noisy clusters until its loss is well below 0.1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = mlp(*widths).eval()
        targets = torch.arange(n) % widths[-1]
        inputs = 2 * torch.randn(widths[-1], widths[0])[targets] + 0.3 * torch.randn(n, widths[0])
    job = Job(parameters_of(model), inputs, targets, 0)
    *_, (_, found) = train(model, [job], Recipe(epochs=epochs, lr=3e-3), CRITERIA["cross_entropy"])
    model.load_state_dict(found[0])
    return model, Samples(inputs, targets, CRITERIA["cross_entropy"])


def swept(model: nn.Module, samples: Samples, targets: list[Target], indices: list[int], **options: int) -> Crossings:
    """The sweep of one minimum."""
    parameters: Parameters = parameters_of(model)
    layout = layout_of(parameters)
    minimum = Minimum.of(parameters, layout)
    return sweep_crossings(model, [minimum], [targets], samples, seed=0, indices=indices, **options).crossings[0]
