"""Sharpness-aware minimisation: the minima of the data studies trained with SAM, rho 0.05.

Only MNIST has the recipe of its data study; on two spirals and CIFAR-10 the published epochs and batches differ, too.
"""

from minima_volume.pipeline.study import Study
from minima_volume.training.recipe import Recipe

THRESHOLDS = (0.1, 0.05, 0.02)
RHO = 0.05  # set sam_adaptive=True in a recipe for the adaptive variant

MNIST_SAM = Study(
    name="mnist_sam",
    title="More data on MNIST, trained with SAM",
    data="mnist",
    model="mnist_mlp",
    intervention="data",
    base=60,
    levels=(0, 540, 1940, 5940, 19940, 59940),
    recipe=Recipe(epochs=500, sam_rho=RHO),
    thresholds=THRESHOLDS,
    n_directions=500,
    landscapes="nested",
    quick={"levels": (0, 540), "n_directions": 25},
)
SWISS_SAM = Study(
    name="swiss_sam",
    title="More data on two spirals, trained with SAM",
    data="swiss_roll",
    model="swiss_x5",
    intervention="data",
    base=20,
    levels=(0, 30, 80, 180, 380, 780),
    recipe=Recipe(epochs=1500, sam_rho=RHO),
    thresholds=THRESHOLDS,
    n_directions=500,
    landscapes="nested",
    quick={"levels": (0, 80, 380), "n_directions": 100, "recipe": Recipe(epochs=500, sam_rho=RHO)},
)
CIFAR_SAM = Study(
    name="cifar_sam",
    title="More data on CIFAR-10, trained with SAM",
    data="cifar10",
    model="cifar_mlp",
    intervention="data",
    base=50,
    levels=(0, 450, 1950, 4950, 19950, 49950),
    recipe=Recipe(epochs=700, sam_rho=RHO),
    thresholds=THRESHOLDS,
    n_directions=500,
    landscapes="nested",
    quick={"levels": (0, 450), "n_directions": 5, "recipe": Recipe(epochs=40, sam_rho=RHO)},
)

STUDIES = {study.name: study for study in (MNIST_SAM, SWISS_SAM, CIFAR_SAM)}
