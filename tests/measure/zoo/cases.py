"""All cases, in the order of the table."""

from tests.measure.zoo import ZOO as ZOO
from tests.measure.zoo import (
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
    precision,
    states,
)

__all__ = [
    "ZOO", "arguments", "data", "forwards", "frameworks", "habits", "inputs", "layers", "losses", "objectives", "parameters",
    "precision", "states",
]  # fmt: skip
