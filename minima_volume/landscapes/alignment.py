"""Permuting the hidden units of one model so that they match those of another (weight matching, Ainsworth et al. 2023).

Hidden units can change places without changing the function: the rows of one layer and the columns of the next are permuted
together. The permutation of each layer that brings the weights closest is an assignment problem. Layers are solved one after
another, over and over, until none gains anything.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from minima_volume.errors import UserError
from minima_volume.landscapes.landscape import parameters_of_model
from minima_volume.networks.directions import generator
from minima_volume.networks.parameters import Parameters
from minima_volume.networks.sequential import POINTWISE, POOLING

# Rounds over all layers; few are needed, and each one can only bring weights closer.
ROUNDS = 100
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True)
class Group:
    """Hidden units that change places together.

    Attributes:
        size: Number of units.
        rows: Tensors whose first axis they are: weight and bias of their layer, and of a normalisation after it.
        columns: The next layer's weight, whose second axis holds them.
        repeat: Columns of each unit: the pixels of a map that is flattened, else 1.
    """

    size: int
    rows: tuple[str, ...]
    columns: str
    repeat: int


def groups_of(model: nn.Module) -> list[Group]:
    """Return the groups of hidden units of a plain stack.

    Args:
        model: An `nn.Sequential` of linear and convolution layers with BatchNorm, pooling, Flatten and pointwise layers.

    Raises:
        UserError: It is something else.
    """
    known = (nn.Linear, nn.Conv2d, nn.Flatten, nn.Dropout, *NORMS, *POINTWISE, *POOLING)
    layers = list(model.named_children())
    if type(model).forward is not nn.Sequential.forward or not all(isinstance(layer, known) for _, layer in layers):
        raise UserError(
            "Expected an nn.Sequential of linear, convolution, normalisation, pooling and pointwise layers to align, got "
            f"{type(model).__name__}: permute its units yourself, or compare without align."
        )
    groups: list[Group] = []
    rows: list[str] = []
    size = 0
    for name, layer in layers:
        own = [
            f"{name}.{part}"
            for part, _ in (*layer.named_parameters(), *layer.named_buffers())
            if part != "num_batches_tracked"
        ]
        if isinstance(layer, NORMS):
            rows += own if size else []
        elif isinstance(layer, nn.Linear | nn.Conv2d):
            if isinstance(layer, nn.Conv2d) and layer.groups != 1:
                raise UserError(f"Expected convolutions without groups to align, got '{name}': compare without align.")
            if size:
                groups.append(Group(size, tuple(rows), f"{name}.weight", layer.weight.shape[1] // size))
            rows, size = own, layer.weight.shape[0]
    return groups


def matched(groups: list[Group], a: Parameters, b: Parameters) -> Parameters:
    """Return the tensors of b with units permuted to match those of a; buffers that both have are permuted, too.

    Args:
        groups: Units that change places together.
        a: Tensors of the first model by name.
        b: Tensors of the second.
    """
    found = dict(b)
    draw = generator("weight matching", 0)
    for _ in range(ROUNDS):
        changed = False
        for number in torch.randperm(len(groups), generator=draw).tolist():
            group = groups[number]
            gain = _similarity(group, a, found)
            _, order = linear_sum_assignment(gain, maximize=True)
            better = gain[np.arange(group.size), order].sum() > gain.trace() + 1e-9 * np.abs(gain).max()
            if better and not np.array_equal(order, np.arange(group.size)):
                _permute(group, found, torch.from_numpy(order))
                changed = True
        if not changed:
            break
    return found


def _similarity(group: Group, a: Parameters, b: Parameters) -> Any:
    """Return the inner product (units of a, units of b) of all weights that belong to each unit."""
    total = torch.zeros(group.size, group.size, dtype=torch.float64)
    for name in group.rows:
        if "running" not in name:
            total += (a[name].double().reshape(group.size, -1) @ b[name].double().reshape(group.size, -1).T).cpu()
    first, second = (_by_unit(group, tensors[group.columns]) for tensors in (a, b))
    return (total + (first.double() @ second.double().T).cpu()).numpy()


def _by_unit(group: Group, weight: Tensor) -> Tensor:
    """Return the columns of a weight as (units, numbers)."""
    grouped = weight.reshape(len(weight), group.size, group.repeat, -1)
    return grouped.transpose(0, 1).reshape(group.size, -1)


def _permute(group: Group, tensors: Parameters, order: Tensor) -> None:
    """Replace the tensors of a group by permuted ones."""
    for name in group.rows:
        tensors[name] = tensors[name][order.to(tensors[name].device)]
    weight = tensors[group.columns]
    grouped = weight.reshape(len(weight), group.size, group.repeat, -1)
    tensors[group.columns] = grouped[:, order.to(weight.device)].reshape(weight.shape)


def align_parameters(model: nn.Module, a: Parameters, b: Parameters) -> Parameters:
    """Return the parameters of b with hidden units permuted to match those of a.

    Args:
        model: The architecture.
        a: Parameters of the first model by name.
        b: Parameters of the second.

    Raises:
        UserError: The model is no plain stack.
    """
    groups = [
        Group(group.size, tuple(name for name in group.rows if name in a), group.columns, group.repeat)
        for group in groups_of(model)
    ]
    return matched(groups, a, b)


def align(a: nn.Module, b: nn.Module) -> nn.Module:
    """Return a copy of b with hidden units permuted to match those of a; it computes the same function as b.

    Args:
        a: A model.
        b: Another of the same architecture.

    Returns:
        The copy.

    Raises:
        UserError: The models are no plain stacks, or of different architectures.

    Example:
        >>> import torch
        >>> a = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
        >>> shuffled = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
        >>> order = torch.tensor([2, 0, 3, 1])
        >>> with torch.no_grad():
        ...     _ = shuffled[0].weight.copy_(a[0].weight[order]), shuffled[0].bias.copy_(a[0].bias[order])
        ...     _ = shuffled[2].weight.copy_(a[2].weight[:, order]), shuffled[2].bias.copy_(a[2].bias)
        >>> torch.equal(align(a, shuffled)[0].weight, a[0].weight)
        True
    """
    parameters_of_model(b, "the second model", {name: p.detach() for name, p in a.named_parameters()})
    first, second = (_plain(model.state_dict()) for model in (a, b))
    copy = deepcopy(b)
    copy.load_state_dict(matched(groups_of(a), first, second))
    return copy


def _plain(state: Mapping[str, Tensor]) -> Parameters:
    """Return detached tensors of a state dict."""
    return {name: tensor.detach() for name, tensor in state.items()}
