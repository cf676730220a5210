"""Parameters as one flat vector, and the scale of each coordinate in filter-normalised units.

In filter-normalised coordinates u a perturbed network is θ = θ* + s∘u. The scale s of a weight is the L2 norm of its own
filter in θ*: the row of a matrix (linear or embedding layer) or one output filter of a convolution. Tensors with fewer
than two dimensions (biases, gains and offsets of normalisation layers) have s = 1. A tensor shared by several layers is
one parameter and takes the rule of its shape once. Buffers (BatchNorm statistics) are not parameters and stay fixed.

Reference: Li et al., "Visualizing the Loss Landscape of Neural Nets", 2018, without their division by the direction's
own filter norm, which for Gaussian directions only adds noise.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minima_volume.errors import UserError

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """Names and shapes of the measured parameters, in the order of the flat vector: by name, however they were stored."""

    shapes: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def n_params(self) -> int:
        """Length of the flat vector."""
        return sum(math.prod(shape) for _, shape in self.shapes)

    def split(self, flat: Tensor) -> Parameters:
        """Views of a flat vector (…, n) as named tensors (…, *shape)."""
        parts = flat.split([math.prod(shape) for _, shape in self.shapes], dim=-1)
        return {
            name: part.reshape((*part.shape[:-1], *shape))
            for (name, shape), part in zip(self.shapes, parts, strict=True)
        }

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The flat vector (n,) of named tensors."""
        return torch.cat([tensors[name].reshape(-1) for name, _ in self.shapes])


def layout_of(parameters: Mapping[str, Tensor], *, only: Callable[[str], bool] = lambda name: True) -> Layout:
    """The layout of all tensors whose name passes the filter `only`."""
    kept = tuple((name, tuple(tensor.shape)) for name, tensor in sorted(parameters.items()) if only(name))
    if not kept:
        raise UserError("Expected at least one parameter to perturb, got none: check the model and the name filter.")
    wrong = [name for name, _ in kept if not parameters[name].is_floating_point()]
    if wrong:
        raise UserError(
            f"Expected floating-point parameters, got {parameters[wrong[0]].dtype} in '{wrong[0]}': "
            "leave it out with the name filter or convert the model with .float()."
        )
    return Layout(kept)


def parameters_of(model: nn.Module) -> Parameters:
    """Detached copies of a model's parameters; a tensor used twice appears once."""
    return {name: tensor.detach().clone() for name, tensor in model.named_parameters()}


def filter_norms(tensor: Tensor) -> Tensor:
    """L2 norm of each filter of one tensor, shaped (filters, 1, …) to broadcast; ones where the tensor has no filters."""
    if tensor.ndim < 2:
        return torch.ones_like(tensor)
    return torch.linalg.vector_norm(tensor, dim=tuple(range(1, tensor.ndim)), keepdim=True)


def filter_scales(parameters: Mapping[str, Tensor], layout: Layout, *, normalise: bool = True) -> Tensor:
    """The scale s of every coordinate as a flat vector (n,); all ones without filter normalisation."""
    scales = {
        name: (filter_norms(parameters[name]) if normalise else torch.ones_like(parameters[name])).expand(shape)
        for name, shape in layout.shapes
    }
    return layout.flatten(scales)
