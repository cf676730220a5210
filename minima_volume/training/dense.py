"""Loss gradients of dense ReLU stacks, many networks at once, in tiles that stay in a core's cache.

Autograd keeps the activations of the whole batch and passes over them several times, which costs more than the products
of small networks. Here tiles of networks and samples run forward and back one after the other, with the textbook rule:

    Δ_{l−1} = (Δ_l W_l) ∘ 1[h_{l−1} > 0],   ∂L/∂W_l = Δ_lᵀ h_{l−1},   ∂L/∂b_l = Σ Δ_l.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minima_volume.networks.losses import Criterion, loss_gradient
from minima_volume.networks.parameters import Layout, Parameters
from minima_volume.networks.sequential import THIN, TILE_ELEMENTS

# (inputs (networks, N, …), targets (networks, N), weights (networks, N))
Batch = tuple[Tensor, Tensor, Tensor]
# Autograd's own kernel: zero where the activation is, in one pass.
relu_gradient = torch.ops.aten.threshold_backward.grad_input
# The gradient (networks, n) at what some parameters hold when it is called.
Gradient = Callable[[], Tensor]
Linear = tuple[Tensor, Tensor]  # weight and bias of one layer of every network


def dense_gradient(model: nn.Module, layout: Layout, criterion: Criterion) -> Callable[[Tensor, Batch], Gradient]:
    """The function (parameters (networks, n), batch) -> gradient (networks, n) of Σ weights·criterion of each network.

    What it returns is a function without arguments: it reads the parameters anew and writes one tensor over and over, so
    that small networks do not spend their time on slicing. `model` must satisfy `is_dense`; `layout` must hold all its
    parameters.
    """
    names = [name for name, layer in model.named_children() if isinstance(layer, nn.Linear)]

    def bound(at: Tensor, batch: Batch) -> Gradient:
        parameters, (memory, sums) = layout.split(at.detach()), _accumulators(layout, at)
        tiles = _tiles(batch, [(parameters[f"{n}.weight"], parameters[f"{n}.bias"]) for n in names],
                       [(sums[f"{n}.weight"], sums[f"{n}.bias"]) for n in names])  # fmt: skip
        out = torch.empty_like(at, requires_grad=False)

        @torch.no_grad()
        def gradient() -> Tensor:
            memory.zero_()
            for tile in tiles:
                tile.add_gradient(criterion)
            return torch.cat([part.flatten(1) for part in sums.values()], dim=1, out=out)

        return gradient

    return bound


def _accumulators(layout: Layout, at: Tensor) -> tuple[Tensor, Parameters]:
    """Memory for gradients, and its views (networks, *shape) in the layout's order; products write best without gaps."""
    memory = at.new_empty(at.numel())
    shapes = [(len(at), *shape) for _, shape in layout.shapes]
    parts = memory.split([math.prod(shape) for shape in shapes])
    return memory, {name: part.view(shape) for (name, _), part, shape in zip(layout.shapes, parts, shapes, strict=True)}


def _tiles(batch: Batch, layers: list[Linear], sums: list[Linear]) -> list["Tile"]:
    """The batch in tiles of networks and samples, all at work in the memory of the first, the largest."""
    inputs, targets, weights = batch
    inputs, (n_networks, n_samples) = inputs.flatten(2), targets.shape
    widths = [weight.shape[1] for weight, _ in layers]
    points = TILE_ELEMENTS[targets.device.type] // max(widths)
    span = max(1, min(n_samples, points))
    networks = max(1, points // span)
    memory = [inputs.new_empty(2, min(networks, n_networks) * span, width) for width in widths]
    tiles = []
    for first in range(0, n_networks, networks):
        for start in range(0, n_samples, span):
            rows, columns = slice(first, first + networks), slice(start, start + span)
            x, y, w = inputs[rows, columns], targets[rows, columns], weights[rows, columns]
            hidden, delta = ([part[half, : y.numel()].view(*y.shape, -1) for part in memory] for half in (0, 1))
            here, there = ([(weight[rows], bias[rows].unsqueeze(1)) for weight, bias in own] for own in (layers, sums))
            tiles.append(Tile(here, there, [x, *hidden], delta, y.flatten(), w.unsqueeze(-1)))
    return tiles


@dataclass(frozen=True)
class Tile:
    """Some networks on some samples: views of their parameters, and of the gradient that the tile adds to."""

    layers: list[Linear]
    sums: list[Linear]
    hidden: list[Tensor]  # inputs and outputs of every layer
    delta: list[Tensor]  # gradients by the outputs of every layer
    targets: Tensor
    weights: Tensor

    def add_gradient(self, criterion: Criterion) -> None:
        """One pass forward and back, ReLU behind all layers but the last."""
        last = len(self.layers) - 1
        for layer, (weight, bias) in enumerate(self.layers):
            out = torch.baddbmm(bias, self.hidden[layer], weight.transpose(1, 2), out=self.hidden[layer + 1])
            if layer < last:
                out.relu_()
        outputs = self.hidden[-1].flatten(0, 1)
        # A criterion judges sample by sample, so networks side by side are more samples to it.
        by_output = loss_gradient(criterion, outputs, self.targets).view_as(self.delta[last])
        torch.mul(by_output, self.weights, out=self.delta[last])
        for layer in range(last, -1, -1):
            weight, (own, bias) = self.layers[layer][0], self.sums[layer]
            delta, hidden = self.delta[layer], self.hidden[layer]
            _add_outer(own, delta, hidden)
            bias += delta.sum(dim=1, keepdim=True)
            if layer:
                product = torch.mul if weight.shape[1] == 1 else torch.bmm
                back = product(delta, weight, out=self.delta[layer - 1])
                relu_gradient(back, hidden, 0, grad_input=back)


def _add_outer(sums: Tensor, delta: Tensor, hidden: Tensor) -> None:
    """Add Δᵀh, summed over samples; a product with few columns is several times slower than one with few rows."""
    if hidden.shape[2] < min(THIN, delta.shape[2]):
        sums.transpose(1, 2).baddbmm_(hidden.transpose(1, 2), delta)
    else:
        sums.baddbmm_(delta.transpose(1, 2), hidden)
