"""CIFAR-10: what is trained, how it is varied, and in which landscapes it is measured."""

from dataclasses import replace

from minima_volume.pipeline.study import Study
from minima_volume.training.recipe import Recipe

THRESHOLDS = (0.1, 0.05, 0.02)

CIFAR_DATA = Study(
    name="cifar_data",
    title="More data on CIFAR-10",
    data="cifar10",
    model="cifar_mlp",
    intervention="data",
    base=50,
    levels=(0, 450, 1950, 4950, 19950, 49950),
    recipe=Recipe(epochs=400, batch_size=5000),
    thresholds=(*THRESHOLDS, 0.01),
    n_directions=500,
    landscapes="nested",
    quick={"levels": (0, 450), "n_directions": 5, "recipe": Recipe(epochs=60, batch_size=5000)},
)
CIFAR_CNN_DATA = replace(
    CIFAR_DATA,
    name="cifar_cnn_data",
    title="More data on CIFAR-10, convolutional network",
    model="cifar_cnn",
    # The published batch size of these runs is unknown; 1024, as of the MNIST network of the same kind, leads to their
    # test losses.
    recipe=Recipe(epochs=200, batch_size=1024),
    thresholds=THRESHOLDS,
    landscapes="base",  # the paper also has landscapes up to 20,000 samples: set "nested" where a GPU is at hand
    quick={"levels": (0, 150), "n_directions": 3, "recipe": Recipe(epochs=40, batch_size=1024)},
)
CIFAR_POISON = Study(
    name="cifar_poison",
    title="Poisoned labels on CIFAR-10",
    data="cifar10",
    model="cifar_mlp",
    intervention="poison",
    base=5000,
    levels=(0, 100, 500, 1000, 2000),
    recipe=Recipe(epochs=2000),
    thresholds=THRESHOLDS,
    n_directions=1000,
    grid_directions=500,  # the paper's figure took the first half of its sweep
    quick={
        "base": 300,
        "levels": (0, 30, 100),
        "n_directions": 5,
        "grid_directions": None,
        "recipe": Recipe(epochs=60),
    },
)

STUDIES = {study.name: study for study in (CIFAR_DATA, CIFAR_CNN_DATA, CIFAR_POISON)}
