"""Loss gradients of dense ReLU stacks, many networks at once, in tiles that stay in a core's cache.

Autograd keeps the activations of the whole batch and passes over them several times, which costs more than the products
of small networks. Here tiles of networks and samples run forward and back one after the other, with the textbook rule:

    Δ_{l−1} = (Δ_l W_l) ∘ 1[h_{l−1} > 0],   ∂L/∂W_l = Δ_lᵀ h_{l−1},   ∂L/∂b_l = Σ Δ_l.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from minima_volume.losses import Criterion
from minima_volume.parameters import Layout
from minima_volume.points import TILE_ELEMENTS
from minima_volume.stacked import stackable

# (inputs (networks, N, …), targets (networks, N), weights (networks, N))
Batch = tuple[Tensor, Tensor, Tensor]


def is_dense(model: nn.Module, input_dims: int) -> bool:
    """Whether `model` is a stack of linear layers with biases and ReLU between, flattened first or not at all."""
    if not isinstance(model, nn.Sequential) or not stackable(model, input_dims):
        return False
    layers = list(model)[1:] if isinstance(model[0], nn.Flatten) else list(model)
    dense = all(isinstance(layer, nn.Linear) and layer.bias is not None for layer in layers[::2])
    return dense and len(layers) % 2 == 1 and all(type(layer) is nn.ReLU for layer in layers[1::2])


def dense_gradient(model: nn.Module, layout: Layout, criterion: Criterion) -> Callable[[Tensor, Batch], Tensor]:
    """The function (parameters (networks, n), batch) -> gradient (networks, n) of Σ weights·criterion of each network.

    `model` must satisfy `is_dense`; `layout` must hold all its parameters.
    """
    names = [name for name, layer in model.named_children() if isinstance(layer, nn.Linear)]

    def views(flat: Tensor) -> list[tuple[Tensor, Tensor]]:
        split = layout.split(flat)
        return [(split[f"{name}.weight"], split[f"{name}.bias"]) for name in names]

    @torch.no_grad()
    def gradient(at: Tensor, batch: Batch) -> Tensor:
        out = torch.zeros_like(at)
        inputs, targets, weights = batch
        inputs = inputs.flatten(2)
        layers, sums = views(at), views(out)
        points = TILE_ELEMENTS[at.device.type] // max(weight.shape[1] for weight, _ in layers)
        for rows, span in _tiles(len(targets), targets.shape[1], points):
            hidden = _forward([(w[rows], b[rows]) for w, b in layers], inputs[rows, span])
            delta = _output_gradient(criterion, hidden[-1], targets[rows, span], weights[rows, span])
            _backward([w[rows] for w, _ in layers], hidden, delta, [(w[rows], b[rows]) for w, b in sums])
        return out

    return gradient


def _tiles(n_networks: int, n_samples: int, points: int) -> Iterator[tuple[slice, slice]]:
    """Ranges of networks and of samples with about `points` samples in all."""
    span = max(1, min(n_samples, points))
    networks = max(1, points // span)
    for first in range(0, n_networks, networks):
        for start in range(0, n_samples, span):
            yield slice(first, first + networks), slice(start, start + span)


def _forward(layers: list[tuple[Tensor, Tensor]], inputs: Tensor) -> list[Tensor]:
    """Inputs and outputs of every linear layer, ReLU applied to all but the last."""
    hidden = [inputs]
    for number, (weight, bias) in enumerate(layers, start=1):
        out = torch.baddbmm(bias.unsqueeze(1), hidden[-1], weight.transpose(1, 2))
        hidden.append(out if number == len(layers) else out.relu_())
    return hidden


@torch.enable_grad()
def _output_gradient(criterion: Criterion, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    outputs = outputs.requires_grad_()
    # A criterion judges sample by sample, so networks side by side are more samples to it.
    losses = criterion(outputs.flatten(0, 1), targets.flatten())
    return torch.autograd.grad((losses * weights.flatten()).sum(), outputs)[0]


def _backward(weights: list[Tensor], hidden: list[Tensor], delta: Tensor, sums: list[tuple[Tensor, Tensor]]) -> None:
    """Add a tile's gradients to `sums`; the activations are used up."""
    for layer in reversed(range(len(weights))):
        own, bias = sums[layer]
        own += torch.bmm(delta.transpose(1, 2), hidden[layer])
        bias += delta.sum(dim=1)
        if layer:
            delta = torch.bmm(delta, weights[layer]).mul_(hidden[layer].sign_())
