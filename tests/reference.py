"""The measurement as plain float64 loops that share no code with the package, as a reference for its numbers."""

import math
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from itertools import pairwise

import torch
from scipy.optimize import brentq
from torch import Tensor, nn
from torch.nn import functional

GRID = [(k / 99) ** 2 for k in range(100)]


def step(
    model: nn.Module, direction: Tensor, names: Iterable[str] | None = None, *, normalise: bool = True
) -> dict[str, Tensor]:
    """Return s∘g of each parameter, filter by filter, from a flat direction in the order of `names` or sorted by name."""
    direction, steps, place = direction.double(), {}, 0
    weights = {name: weight.detach().double() for name, weight in model.named_parameters()}
    for name in names or sorted(weights):
        part = direction[place : place + weights[name].numel()].reshape(weights[name].shape).clone()
        place += weights[name].numel()
        if part.ndim >= 2 and normalise:
            for row, filter_ in zip(part, weights[name], strict=True):
                row *= math.sqrt(sum(x**2 for x in filter_.flatten().tolist()))
        steps[name] = part
    assert place == len(direction) and set(steps) == set(weights)
    return steps


def outputs(model: nn.Module, steps: Mapping[str, Tensor], c: float, inputs: Tensor) -> Tensor:
    """Return the outputs of a float64 copy of the model at θ* + c·s∘g."""
    copy = deepcopy(model).double().eval()
    with torch.no_grad():
        for name, weight in copy.named_parameters():
            weight += c * steps[name]
        return copy(inputs.double() if inputs.is_floating_point() else inputs)


def along(model: nn.Module, steps: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Callable[[float], float]:
    """Return the function c ↦ mean cross-entropy at θ* + c·s∘g in float64. All calls overwrite one copy of the model."""
    start = {name: weight.detach().double().clone() for name, weight in model.named_parameters()}
    work, x = deepcopy(model).double().eval(), inputs.double()

    @torch.no_grad()
    def height(c: float) -> float:
        for name, weight in work.named_parameters():
            weight.copy_(start[name] + c * steps[name])
        return float(functional.cross_entropy(work(x), targets))

    return height


def crossing(height: Callable[[float], float], threshold: float) -> tuple[float, float]:
    """Return the first crossing and the coefficient of the published grid.

    The 100 grid points are visited in order, and the crossing is solved in the last interval. The result is (0, 0) if the
    minimum is above the threshold, and (NaN, NaN) if no grid point is.
    """
    if not height(0.0) <= threshold:
        return 0.0, 0.0
    for a, b in pairwise(GRID):
        if not height(b) <= threshold:
            return float(brentq(lambda c: height(c) - threshold, a, b, xtol=1e-300, rtol=1e-14)), b
    return math.nan, math.nan


def log_mean_exp(values: list[float]) -> float:
    """Return ln of the mean of exp(v), computed relative to the largest value."""
    top = max(values)
    return top + math.log(math.fsum(math.exp(v - top) for v in values) / len(values))
