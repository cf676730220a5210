"""Arguments of a measurement: checked, and as the engine takes them."""

import math
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import nn

from minima_volume.errors import UserError
from minima_volume.networks.losses import Metric
from minima_volume.networks.parameters import Layout, Parameters, layout_of
from minima_volume.networks.reads import shared_memory

Names = Callable[[str], bool] | str | Sequence[str] | None
MOST_DIRECTIONS = 10**7 - 1  # as in make; the rays of so many take gigabytes


def as_thresholds(threshold: float | Sequence[float], metric: Metric) -> tuple[float, ...]:
    """Return thresholds from the largest basin to the smallest, each once.

    Raises:
        UserError: They are not numbers that bound a basin.
    """
    several = isinstance(threshold, Sequence) or getattr(threshold, "ndim", 0) > 0
    values: Any = threshold if several else [threshold]
    wanted = "an accuracy above 0 and up to 1" if metric == "accuracy" else "a finite number above 0"
    advice = "pass a share, such as 0.9" if metric == "accuracy" else "add a constant to a loss that has none"
    if isinstance(values, str) or not len(values):
        raise UserError(f"Expected {wanted} as threshold, or a list of them, got {threshold!r}: {advice}.")
    numbers = [_as_number(value, f"{wanted} as threshold", advice) for value in values]
    for number in numbers:
        if not 0 < number < math.inf or (metric == "accuracy" and number > 1):
            raise UserError(f"Expected {wanted} as threshold, got {number:g}: {advice}.")
    return tuple(sorted(set(numbers), reverse=metric != "accuracy"))


def as_threshold(threshold: float, metric: Metric) -> float:
    """Return a single threshold.

    Raises:
        UserError: It is no number that bounds a basin, or there are several.
    """
    found = as_thresholds(threshold, metric)
    if len(found) != 1:
        raise UserError(f"Expected a single threshold, got {threshold!r}: call once for each.")
    return found[0]


def as_flag(value: Any, name: str) -> bool:
    """Return True or False; raise UserError for anything else, such as the text "no", which Python takes as true."""
    if not isinstance(value, bool | np.bool_):
        raise UserError(f"Expected {name}=True or {name}=False, got {value!r}: pass one of them.")
    return bool(value)


def as_directions(value: Any) -> int:
    """Return a number of directions.

    Raises:
        UserError: It is no whole number, or more than anything could follow.
    """
    if as_count(value, "n_directions", 1) > MOST_DIRECTIONS:
        raise UserError(f"Expected n_directions up to {MOST_DIRECTIONS:,}, got {value:,}: pass fewer.")
    return int(value)


def as_count(value: Any, name: str, least: int) -> int:
    """Return a whole number of at least `least`.

    Raises:
        UserError: It is something else.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, Integral) or value < least:
        raise UserError(f"Expected {name} to be a whole number of at least {least}, got {value!r}: pass one.")
    return int(value)


def as_widths(sigmas: Any) -> tuple[float, ...] | None:
    """Return widths σ as numbers above 0; None stays.

    Raises:
        UserError: They are something else.
    """
    if sigmas is None:
        return None
    if isinstance(sigmas, str) or np.ndim(sigmas) != 1 or not len(sigmas):
        raise UserError(
            f"Expected sigmas as a sequence of widths above 0, got {sigmas!r}: pass a list, such as [0.01]."
        )
    widths = [_as_number(sigma, "sigmas as a sequence of widths above 0", "leave out the others") for sigma in sigmas]
    if not all(0 < width < math.inf for width in widths):
        raise UserError(f"Expected sigmas as a sequence of widths above 0, got {widths}: leave out the others.")
    return tuple(widths)


def check_metric(metric: Any, loss_fn: Any) -> None:
    """Raise UserError unless a metric is known and has the loss that it needs."""
    if metric not in ("loss", "accuracy", "kl"):
        raise UserError(f"Expected metric 'loss', 'accuracy' or 'kl', got {metric!r}: pass one of them.")
    if metric == "loss" and loss_fn is None:
        raise UserError("Expected a loss function, got None: pass one, or metric='accuracy' or 'kl'.")
    if loss_fn is not None and not callable(loss_fn):
        raise UserError(f"Expected a loss function, got {type(loss_fn).__name__}: pass a loss module or a function.")


def _as_number(value: Any, wanted: str, advice: str) -> float:
    """Return a real number; raise UserError if a value is none."""
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real) or math.isnan(value):
        raise UserError(f"Expected {wanted}, got {value!r}: {advice}.")
    return float(value)


# --- parameters -------------------------------------------------------------------------------------------------------


def moving_layout(model: nn.Module, parameters: Parameters, only: Names) -> Layout:
    """Return the layout of the parameters that move.

    Args:
        model: The model.
        parameters: Its parameters by name.
        only: A function of the name, a part of it, a list of names, or None for all.

    Raises:
        UserError: A name is unknown or that of a tied parameter, no parameter is left, or two share memory.
    """
    if not parameters:
        raise UserError("Expected a model with at least one parameter, got none: pass the trained module.")
    chosen = _name_filter(model, parameters, only)
    layout = layout_of(parameters, only=chosen)
    overlapping = shared_memory({name: tensor for name, tensor in model.named_parameters() if chosen(name)})
    if overlapping:
        raise UserError(
            f"Expected parameters that move independently, got '{overlapping[0]}' and '{overlapping[1]}' in the same "
            "memory: use one nn.Parameter for both, or clone one of them."
        )
    return layout


def _name_filter(model: nn.Module, parameters: Parameters, only: Names) -> Callable[[str], bool]:
    """Return a function that tells by name which parameters move."""
    if only is None:
        return lambda name: True
    if callable(only):
        return only
    if isinstance(only, str):
        _explain_tie(model, parameters, only, any(only in name for name in parameters))
        return lambda name: only in name
    if not isinstance(only, Iterable):
        raise UserError(f"Expected only as a name, a list of names or a function, got {only!r}: pass one of them.")
    names = list(only)
    for name in names:
        _explain_tie(model, parameters, name, name in parameters)
        if name not in parameters:
            raise UserError(
                f"Expected names of parameters in only, got {name!r}: print(dict(model.named_parameters()))."
            )
    return lambda name: name in names


def _explain_tie(model: nn.Module, parameters: Parameters, name: Any, known: bool) -> None:
    """Raise UserError for a name under which torch does not list a parameter, because it is tied to another."""
    if known or not isinstance(name, str):
        return
    every = dict(model.named_parameters(remove_duplicate=False))
    tied = next((tensor for other, tensor in every.items() if name in other), None)
    if tied is not None:
        listed = next(other for other in parameters if every[other] is tied)
        raise UserError(f"Expected the name of a parameter in only, got {name!r}, which is tied: pass '{listed}'.")


def widen_half_precision(parameters: Parameters) -> Parameters:
    """Return parameters with half precision widened to float32, so that filter norms and steps keep their digits."""
    half = (torch.float16, torch.bfloat16)
    return {name: value.float() if value.dtype in half else value for name, value in parameters.items()}


def split_by_layer(layout: Layout) -> dict[str, Layout]:
    """Return the layout of each module that owns parameters, by its name, and of each parameter outside of one."""
    owners = {name: name.rpartition(".")[0] or name for name, _ in layout.shapes}
    return {
        owner: Layout(tuple((name, shape) for name, shape in layout.shapes if owners[name] == owner))
        for owner in sorted(set(owners.values()))
    }
