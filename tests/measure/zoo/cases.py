"""All cases, in the order of the table."""

from tests.measure.zoo import ZOO as ZOO
from tests.measure.zoo import (
    adversaries,
    arguments,
    data,
    forwards,
    frameworks,
    habits,
    inputs,
    layers,
    losses,
    objectives,
    parameters,
    places,
    precision,
    reparametrised,
    states,
    unseen,
)

__all__ = [
    "ZOO", "adversaries", "arguments", "data", "forwards", "frameworks", "habits", "inputs", "layers", "losses",
    "objectives", "parameters", "places", "precision", "reparametrised", "states", "unseen",
]  # fmt: skip
