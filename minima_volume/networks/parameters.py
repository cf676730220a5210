"""Parameters as one flat vector, and the scale of each coordinate in filter-normalised units.

In filter-normalised coordinates u a perturbed network is θ = θ* + s∘u. The scale s of a weight is the L2 norm of its own
filter in θ*: the row of a matrix (linear or embedding layer) or one output filter of a convolution. Tensors with fewer
than two dimensions (biases, gains and offsets of normalisation layers) have s = 1. A tensor shared by several layers
counts as one parameter, and its shape determines its scales. Buffers (BatchNorm statistics) are not parameters and stay
fixed.

Reference: Li et al., "Visualizing the Loss Landscape of Neural Nets", 2018. We omit their division by the norm of the
direction's own filter, which only adds noise to Gaussian directions.
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
    """Names and shapes of the perturbed parameters, in the order of the flat vector.

    Attributes:
        shapes: Pairs of a name and a shape, sorted by name.
    """

    shapes: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def n_params(self) -> int:
        """Length n of the flat vector."""
        return sum(math.prod(shape) for _, shape in self.shapes)

    def split(self, flat: Tensor) -> Parameters:
        """Return views of a flat vector (…, n) as named tensors (…, *shape)."""
        parts = flat.split([math.prod(shape) for _, shape in self.shapes], dim=-1)
        return {
            name: part.reshape((*part.shape[:-1], *shape))
            for (name, shape), part in zip(self.shapes, parts, strict=True)
        }

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Concatenate named tensors into a flat vector (n,)."""
        return torch.cat([tensors[name].reshape(-1) for name, _ in self.shapes])


def layout_of(parameters: Mapping[str, Tensor], *, only: Callable[[str], bool] = lambda name: True) -> Layout:
    """Return the layout of the parameters that will be perturbed.

    Args:
        parameters: Tensors by name.
        only: Which names to perturb. The default is all of them.

    Returns:
        Their layout, sorted by name.

    Raises:
        UserError: No parameter passes the filter, or one of them is not floating-point.
    """
    kept = tuple((name, tuple(tensor.shape)) for name, tensor in sorted(parameters.items()) if only(name))
    if not kept:
        raise UserError("Expected at least one parameter to perturb, got none: check the model and the name filter.")
    wrong = [name for name, _ in kept if not parameters[name].is_floating_point()]
    if wrong:
        raise UserError(
            f"Expected floating-point parameters, got {parameters[wrong[0]].dtype} in '{wrong[0]}': "
            "exclude it with the name filter or convert the model with .float()."
        )
    return Layout(kept)


def parameters_of(model: nn.Module) -> Parameters:
    """Return detached copies of a model's parameters by name; a tensor that is used twice appears once."""
    return {name: tensor.detach().clone() for name, tensor in model.named_parameters()}


def filter_norms(tensor: Tensor) -> Tensor:
    """Return the L2 norm of each filter of one tensor.

    Args:
        tensor: A parameter.

    Returns:
        Norms shaped (filters, 1, …), which broadcast over the tensor. Ones (*shape) if it has fewer than two dimensions.
    """
    if tensor.ndim < 2:
        return torch.ones_like(tensor)
    return torch.linalg.vector_norm(tensor, dim=tuple(range(1, tensor.ndim)), keepdim=True)


def filter_scales(parameters: Mapping[str, Tensor], layout: Layout, *, normalise: bool = True) -> Tensor:
    """Return the scale s of every coordinate.

    Args:
        parameters: Trained parameters by name.
        layout: The perturbed parameters, n coordinates.
        normalise: Whether a weight's scale is the norm of its filter. If False, all scales are 1.

    Returns:
        s (n,).

    Example:
        Each row of a weight matrix is one filter:

        >>> import torch
        >>> parameters = {"bias": torch.zeros(2), "weight": torch.tensor([[3.0, 4.0], [0.0, 2.0]])}
        >>> filter_scales(parameters, layout_of(parameters))
        tensor([1., 1., 5., 5., 2., 2.])
    """
    scales = {
        name: (filter_norms(parameters[name]) if normalise else torch.ones_like(parameters[name])).expand(shape)
        for name, shape in layout.shapes
    }
    return layout.flatten(scales)
