"""Fewer coordinates for the same landscape: directions of the first layer that no sample sees are left out.

The first layer computes X·Wᵀ for inputs X (N, d). Only the projection of each row of W on the row space of X matters. With
O (d, r) an orthonormal basis of that space, X·Wᵀ = (X·O)(W·O)ᵀ exactly, and the r numbers Oᵀz of a standard Gaussian z
(d,) are standard Gaussian again. So the loss at θ* + s∘u, u ~ N(0, σ²I), has the same distribution for the network whose
first layer takes X·O and has the weights W·O, with the same scale s for every row. That holds for Gaussian measures only;
ln E[rⁿ] needs all n coordinates.
"""

from dataclasses import replace

import torch
from torch import nn

from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import layout_of
from minima_volume.networks.private_copy import copy_model
from minima_volume.networks.sequential import is_stack

# Singular values below this part of the largest one count as zero.
RANK_RTOL = 1e-12


def reduce_first_layer(model: nn.Module, minimum: Minimum, samples: Samples) -> tuple[nn.Module, Minimum, Samples]:
    """Leave out the directions of a first linear layer that no sample sees.

    Args:
        model: Network. Only a stack of layers that begins with a linear layer on vectors is reduced.
        minimum: Parameters θ* and scales s. All weights of a row of the first layer have the same scale.
        samples: Data set and criterion.

    Returns:
        Model, minimum and samples with the same distribution of the mean loss under Gaussian steps; the arguments
        themselves if there is nothing to leave out.

    Example:
        >>> import torch
        >>> from minima_volume.networks.losses import cross_entropy
        >>> from minima_volume.networks.parameters import layout_of, parameters_of
        >>> model = torch.nn.Sequential(torch.nn.Linear(100, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))
        >>> minimum = Minimum.of(parameters_of(model), layout_of(parameters_of(model)))
        >>> samples = Samples(torch.randn(5, 100), torch.zeros(5, dtype=torch.long), cross_entropy)
        >>> small, its_minimum, its_samples = reduce_first_layer(model, minimum, samples)
        >>> minimum.layout.n_params, its_minimum.layout.n_params
        (419, 39)
        >>> torch.allclose(small(its_samples.inputs), model(samples.inputs), atol=1e-5)
        True
    """
    if not isinstance(model, nn.Sequential) or not is_stack(model, samples.inputs.ndim):
        return model, minimum, samples
    children = list(model.named_children())
    start = 1 if isinstance(children[0][1], nn.Flatten) else 0
    name, layer = children[start]
    key = f"{name}.weight"
    inputs = samples.inputs.flatten(1)
    if not isinstance(layer, nn.Linear) or key not in dict(minimum.layout.shapes) or len(inputs) >= layer.in_features:
        return model, minimum, samples
    scales = minimum.layout.split(minimum.scales)
    if not (scales[key] == scales[key][:, :1]).all():
        return model, minimum, samples
    _, values, basis = torch.linalg.svd(inputs.double(), full_matrices=False)
    basis = basis[values > RANK_RTOL * values[0]].T
    weight = (minimum.parameters[key].double() @ basis).to(minimum.parameters[key])
    parameters = {**minimum.parameters, key: weight}
    layout = layout_of(parameters, only=lambda parameter: parameter in scales)
    small = copy_model(model, inputs.device, weight.dtype)
    narrow = nn.Linear(weight.shape[1], layer.out_features, layer.bias is not None).to(weight)
    small._modules[name] = narrow
    with torch.no_grad():
        for parameter, tensor in small.named_parameters():
            tensor.copy_(parameters[parameter])
    flat = layout.flatten({**scales, key: scales[key][:, :1].expand_as(weight)})
    return (
        small,
        Minimum(parameters, layout, flat),
        replace(samples, inputs=(inputs.double() @ basis).to(samples.inputs)),
    )
