"""All cases, in the order of the table."""

from tests.measure.zoo import ZOO as ZOO
from tests.measure.zoo import arguments, data, forwards, losses, parameters, precision

__all__ = ["ZOO", "arguments", "data", "forwards", "losses", "parameters", "precision"]
