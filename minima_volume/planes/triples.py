"""The three minima that each plane goes through. This module imports nothing, so that drawing processes start fast."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Triple:
    """Three minima of one study.

    Attributes:
        name: The name of their pictures.
        study: The study.
        levels: The three levels.
    """

    name: str
    study: str
    levels: tuple[int, int, int]


TRIPLES = (
    Triple("digits", "digits_data", (0, 270, 1170)),
    Triple("mnist", "mnist_data", (540, 5940, 59940)),
    Triple("swiss", "swiss_data_x5", (30, 180, 780)),
)
