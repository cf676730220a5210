"""The gradient that the optimiser follows: of any module by autograd, of dense stacks by hand, with or without SAM."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from minima_volume.networks.losses import Criterion
from minima_volume.networks.parameters import Layout, Parameters
from minima_volume.networks.sequential import IMAGES, is_dense, is_stack, to_channels_last
from minima_volume.training.dense import Batch, DenseGradient, Gradient
from minima_volume.training.recipe import Recipe, sam_perturbation

# Samples per tile of images. Of 32 to 256, this was fastest for convolutions of the paper's size on a CPU.
TILE = 64


def gradient_kind(model: nn.Module, input_dims: int) -> "type[DenseGradient | AutogradGradient]":
    """Return the fastest class that computes the gradient of a model whose inputs (N, …) have a number of dimensions."""
    return DenseGradient if is_dense(model, input_dims) else AutogradGradient


def followed_gradient(
    kind: "type[DenseGradient | AutogradGradient]",
    model: nn.Module,
    layout: Layout,
    criterion: Criterion,
    recipe: Recipe,
    at: Tensor,
    batch: Batch,
) -> Gradient:
    """Return the gradient that the optimiser follows on a batch.

    Args:
        kind: As `gradient_kind` returns it.
        model: The architecture.
        layout: The layout of its parameters.
        criterion: The per-sample loss.
        recipe: Whether SAM is used, and how.
        at: Parameters (networks, n). They may change in place: each call of the result reads them anew.
        batch: Inputs, targets and weights of all networks.
    """
    plain = kind(model, layout, criterion, at, batch)
    if recipe.sam_rho is None:
        return plain
    moved = at.detach().clone().requires_grad_()
    at_moved = kind(model, layout, criterion, moved, batch)
    return SamGradient(plain, at_moved, at, moved, recipe.sam_rho, recipe.sam_adaptive)


@dataclass(frozen=True)
class SamGradient:
    """The gradient at SAM's perturbed parameters.

    Attributes:
        plain: The gradient at `at`.
        at_moved: The gradient at `moved`.
        at: Parameters (networks, n).
        moved: Where each call writes the perturbed parameters (networks, n).
        rho: Length of the perturbation.
        adaptive: Whether SAM is the adaptive variant.
    """

    plain: Gradient
    at_moved: Gradient
    at: Tensor
    moved: Tensor
    rho: float
    adaptive: bool

    def __call__(self) -> Tensor:
        """Return the gradient (networks, n); the next call may overwrite it."""
        gradient = self.plain()
        with torch.no_grad():
            self.moved.copy_(sam_perturbation(self.at, gradient, self.rho, self.adaptive))
        return self.at_moved()


class AutogradGradient:
    """As `DenseGradient`, for any module."""

    def __init__(self, model: nn.Module, layout: Layout, criterion: Criterion, at: Tensor, batch: Batch) -> None:
        self.model, self.layout, self.criterion, self.at = model, layout, criterion, at
        self.tiles = _tiles(model, batch)

    def __call__(self) -> Tensor:
        """Return the gradient (networks, n)."""
        total = torch.zeros_like(self.at, requires_grad=False)
        for inputs, targets, weights in self.tiles:
            outputs = _outputs(self.model, self.layout.split(self.at), inputs)
            # A criterion knows nothing of stacked networks.
            if len(inputs) == 1:
                losses = self.criterion(outputs[0], targets[0]).unsqueeze(0)
            else:
                losses = vmap(self.criterion)(outputs, targets)
            total += torch.autograd.grad((losses * weights).sum(), self.at)[0]
        return total


def _tiles(model: nn.Module, batch: Batch) -> list[Batch]:
    """Cut a batch of images on a CPU into tiles if the model is a known stack of layers.

    Other modules may mix the samples of a batch or depend on its memory format, and small networks on vectors would spend
    their time on the tiles.
    """
    inputs, targets, weights = batch
    images = inputs.ndim - 1 == IMAGES and is_stack(model, IMAGES)
    if inputs.device.type != "cpu" or not images:
        return [batch]
    parts = (to_channels_last(inputs), targets, weights)
    return list(zip(*(part.split(TILE, dim=1) for part in parts), strict=True))


def _outputs(model: nn.Module, stacked: Parameters, inputs: Tensor) -> Tensor:
    """Return the outputs (networks, N, …) of every network on its own inputs (networks, N, …)."""
    if len(inputs) > 1:
        called: Tensor = vmap(lambda own, x: functional_call(model, own, (x,)))(stacked, inputs)
        return called
    alone: Tensor = functional_call(model, {name: tensor[0] for name, tensor in stacked.items()}, (inputs[0],))
    return alone.unsqueeze(0)
