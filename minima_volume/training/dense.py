"""Loss gradients of dense ReLU stacks, for many networks at once, in tiles that fit a core's cache.

Autograd keeps the activations of the whole batch and passes over them several times, which costs more than the matrix
products of small networks. Here each tile, some networks on some samples, runs forward and back before the next one
starts. With the activations h_l = ReLU(h_{l−1} W_lᵀ + b_l), h_0 the inputs, and Δ_l the gradient of the loss with respect
to layer l before its ReLU, backpropagation is

    Δ_{l−1} = (Δ_l W_l) ∘ 1[h_{l−1} > 0],   ∂L/∂W_l = Δ_lᵀ h_{l−1},   ∂L/∂b_l = Σ Δ_l.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from minima_volume.networks.losses import Criterion, loss_gradient
from minima_volume.networks.parameters import Layout, Parameters
from minima_volume.networks.sequential import THIN, TILE_ELEMENTS

# (inputs (networks, N, …), targets (networks, N), weights (networks, N))
Batch = tuple[Tensor, Tensor, Tensor]
# Autograd's own kernel: zero where the activation is zero, in one pass.
relu_gradient = torch.ops.aten.threshold_backward.grad_input
Linear = tuple[Tensor, Tensor]  # weight and bias of one layer of every network


class Gradient(Protocol):
    """The loss gradient of some networks on one batch, at whatever their parameters are when it is called."""

    def __call__(self) -> Tensor:
        """Return the gradient (networks, n); the next call may overwrite it."""


class DenseGradient:
    """Gradient of Σ weights·criterion of each network, on one batch, without autograd.

    The parameters are sliced into layers and the batch into tiles once, here. Each call reads the parameters as they are
    then, and overwrites the tensor that the last call returned: slicing at every step would take longer than the products
    of small networks.

    Args:
        model: The architecture; `is_dense` must hold for it.
        layout: The layout of all its parameters.
        criterion: The per-sample loss.
        at: Parameters (networks, n); they may change in place between calls.
        batch: Inputs, targets and weights of all networks.
    """

    def __init__(self, model: nn.Module, layout: Layout, criterion: Criterion, at: Tensor, batch: Batch) -> None:
        names = [name for name, layer in model.named_children() if isinstance(layer, nn.Linear)]
        parameters = layout.split(at.detach())
        self.criterion = criterion
        self.memory, self.sums = _accumulators(layout, at)
        self.out = torch.empty_like(at, requires_grad=False)
        layers = [(parameters[f"{name}.weight"], parameters[f"{name}.bias"]) for name in names]
        sums = [(self.sums[f"{name}.weight"], self.sums[f"{name}.bias"]) for name in names]
        self.tiles = _tiles(batch, layers, sums)

    @torch.no_grad()
    def __call__(self) -> Tensor:
        """Return the gradient (networks, n); the next call overwrites it."""
        self.memory.zero_()
        for tile in self.tiles:
            tile.add_gradient(self.criterion)
        return torch.cat([part.flatten(1) for part in self.sums.values()], dim=1, out=self.out)


def _accumulators(layout: Layout, at: Tensor) -> tuple[Tensor, Parameters]:
    """Return memory for gradients and its views (networks, *shape) in the layout's order.

    Each view is contiguous, because products write fastest into memory without gaps.
    """
    memory = at.new_empty(at.numel())
    shapes = [(len(at), *shape) for _, shape in layout.shapes]
    parts = memory.split([math.prod(shape) for shape in shapes])
    return memory, {name: part.view(shape) for (name, _), part, shape in zip(layout.shapes, parts, shapes, strict=True)}


def _tiles(batch: Batch, layers: list[Linear], sums: list[Linear]) -> list["Tile"]:
    """Cut a batch into tiles of networks and samples; all tiles work in the same memory, which fits the first one."""
    inputs, targets, weights = batch
    inputs = inputs.flatten(2)
    n_networks, n_samples = targets.shape
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
    """Some networks on some samples, as views of shared memory.

    Attributes:
        layers: Weight and bias of every layer.
        sums: Gradient of every weight and bias; the tile adds to it.
        hidden: Inputs, then the outputs of every layer (networks, N, width).
        delta: Gradients with respect to the outputs of every layer (networks, N, width).
        targets: Targets (networks·N,).
        weights: Weights of the samples (networks, N, 1).
    """

    layers: list[Linear]
    sums: list[Linear]
    hidden: list[Tensor]
    delta: list[Tensor]
    targets: Tensor
    weights: Tensor

    def add_gradient(self, criterion: Criterion) -> None:
        """Run the tile forward and back, and add its gradient to `sums`; every layer but the last has a ReLU."""
        last = len(self.layers) - 1
        for layer, (weight, bias) in enumerate(self.layers):
            out = torch.baddbmm(bias, self.hidden[layer], weight.transpose(1, 2), out=self.hidden[layer + 1])
            if layer < last:
                out.relu_()
        # A criterion works sample by sample, so the samples of all networks can be joined for it.
        outputs = self.hidden[-1].flatten(0, 1)
        by_output = loss_gradient(criterion, outputs, self.targets).view_as(self.delta[last])
        torch.mul(by_output, self.weights, out=self.delta[last])
        for layer in range(last, -1, -1):
            weight = self.layers[layer][0]
            weight_sum, bias_sum = self.sums[layer]
            delta, hidden = self.delta[layer], self.hidden[layer]
            _add_outer(weight_sum, delta, hidden)
            bias_sum += delta.sum(dim=1, keepdim=True)
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
