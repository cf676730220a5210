"""MNIST and the bundled 8×8 digits: what is trained, how it is varied, and in which landscapes it is measured."""

from minima_volume.experiment import Study
from minima_volume.optim import Recipe

THRESHOLDS = (0.1, 0.05, 0.02)

MNIST_POISON = Study(
    name="mnist_poison",
    title="Poisoned labels on MNIST",
    data="mnist",
    model="mnist_mlp",
    intervention="poison",
    base=6000,
    levels=(0, 100, 500, 1000, 2000),
    recipe=Recipe(epochs=500),
    thresholds=THRESHOLDS,
    n_directions=1000,
    grid_directions=500,  # the paper's figure took the first half of its sweep
    quick={"n_directions": 50, "grid_directions": None, "base": 1000, "levels": (0, 20, 100, 200, 400)},
)
DIGITS_POISON = Study(
    name="digits_poison",
    title="Poisoned labels on 8×8 digits",
    data="digits",
    model="digits_mlp",
    intervention="poison",
    base=600,
    levels=(0, 10, 50, 100, 200),
    recipe=Recipe(epochs=500),
    thresholds=THRESHOLDS,
    n_directions=1000,
    quick={"n_directions": 200},
)
DIGITS_DATA = Study(
    name="digits_data",
    title="More data on 8×8 digits",
    data="digits",
    model="digits_mlp",
    intervention="data",
    base=30,
    levels=(0, 70, 270, 570, 1170),
    recipe=Recipe(epochs=500),
    thresholds=THRESHOLDS,
    n_directions=1000,
    landscapes="nested",
    quick={"n_directions": 200},
)

STUDIES = {study.name: study for study in (MNIST_POISON, DIGITS_POISON, DIGITS_DATA)}
