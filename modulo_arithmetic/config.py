"""Addition modulo 97: what is trained, how it is varied, and in which landscapes it is measured."""

from minima_volume.pipeline.study import Study
from minima_volume.training.recipe import Recipe

THRESHOLDS = (0.01, 0.005, 0.002)

MODULO_DATA = Study(
    name="modulo_data",
    title="More pairs of addition modulo 97",
    data="modulo",
    model="modulo_mlp",
    intervention="data",
    base=188,  # 2 % of 9,409 pairs
    levels=(0, 282, 752, 1693, 2634, 3104, 3575, 4516, 5457, 6398),
    recipe=Recipe(epochs=500),
    thresholds=THRESHOLDS,
    n_directions=500,
    grid_directions=50,  # the published volumes took the first 50 of each sweep
    landscapes="nested",
    quick={"levels": (0, 752, 2634), "n_directions": 25, "grid_directions": None, "recipe": Recipe(epochs=200)},
)
MODULO_GROKKING = Study(
    name="modulo_grokking",
    title="Grokking addition modulo 97 from 30 % of the pairs",
    data="modulo",
    model="modulo_mlp",
    intervention="data",
    base=2822,
    levels=(200, 400, 600, 800, 1000, 1500, 2000, 3000, 4000, 5000),
    level_means="epochs",
    recipe=Recipe(epochs=5000),
    thresholds=THRESHOLDS,
    accuracies=(0.95,),
    n_directions=500,
    quick={"levels": (100, 200, 400), "recipe": Recipe(epochs=400), "n_directions": 25},
)

STUDIES = {study.name: study for study in (MODULO_DATA, MODULO_GROKKING)}
