"""Small trained networks and their crossings."""

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
    """Return the steps of the reference with the flat vector in the order of the layout."""
    return reference.step(model, g, [name for name, _ in layout_of(parameters_of(model)).shapes])


def trained(widths: tuple[int, ...], n: int, epochs: int, seed: int = 0) -> tuple[nn.Module, Samples]:
    """Return a float32 network trained on noisy clusters to a loss well below 0.1, and the clusters."""
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
    """Return the crossings of one minimum."""
    parameters: Parameters = parameters_of(model)
    layout = layout_of(parameters)
    minimum = Minimum.of(parameters, layout)
    return sweep_crossings(model, [minimum], [targets], samples, seed=0, indices=indices, **options).crossings[0]
