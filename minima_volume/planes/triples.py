"""Which three minima of which study each plane goes through: facts only, so that drawing processes start fast."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Triple:
    """Three minima of one study, by level, and the name that their pictures carry."""

    name: str
    study: str
    levels: tuple[int, int, int]


TRIPLES = (
    Triple("digits", "digits_data", (0, 270, 1170)),
    Triple("mnist", "mnist_data", (540, 5940, 59940)),
    Triple("swiss", "swiss_data_x5", (30, 180, 780)),
)
