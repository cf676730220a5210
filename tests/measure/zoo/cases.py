"""All cases, in the order of the table."""

from tests.measure.zoo import ZOO as ZOO
from tests.measure.zoo import (
    arguments,
    data,
    forwards,
    habits,
    inputs,
    layers,
    losses,
    objectives,
    parameters,
    precision,
    reparametrised,
)
from tests.measure.zoo import states as states

__all__ = [
    "ZOO", "arguments", "data", "forwards", "habits", "inputs", "layers", "losses", "objectives", "parameters", "precision",
    "reparametrised",
    "states",
]  # fmt: skip
