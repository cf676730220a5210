"""Studies of MNIST and of the bundled 8×8 digits: what is trained, what varies, and where the minima are measured."""

from dataclasses import replace

from minima_volume.pipeline.study import Study
from minima_volume.training.recipe import Recipe

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
    grid_directions=500,  # the paper's figure used the first half of its sweep
    quick={"n_directions": 50, "grid_directions": None, "base": 1000, "levels": (0, 100, 400)},
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
    quick={"n_directions": 60, "levels": (0, 10, 50, 100)},
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
    quick={"n_directions": 100},
)
DIGITS_DATA_BEYOND = replace(
    DIGITS_DATA,
    name="digits_data_beyond",
    title="Growing landscapes of 8×8 digits",
    thresholds=(0.1,),
    landscapes="beyond",
    n_directions=250,
)

LEVELS = (0, 540, 1940, 5940, 19940, 59940)  # 60 … 60,000 training samples
QUICK_LEVELS = {"levels": (0, 240, 940), "n_directions": 25}

MNIST_DATA = Study(
    name="mnist_data",
    title="More data on MNIST",
    data="mnist",
    model="mnist_mlp",
    intervention="data",
    base=60,
    levels=LEVELS,
    recipe=Recipe(epochs=500),
    thresholds=(*THRESHOLDS, 0.01),
    accuracies=(0.95,),
    n_directions=500,
    landscapes="nested",
    quick=QUICK_LEVELS,
)
MNIST_DATA_BEYOND = replace(
    MNIST_DATA,
    name="mnist_data_beyond",
    title="Growing landscapes of MNIST",
    thresholds=(0.1,),
    accuracies=(),
    landscapes="beyond",
    n_directions=50,
)
MNIST_DATA_RAW = replace(
    MNIST_DATA,
    name="mnist_data_raw",
    title="More data on MNIST, without filter normalisation",
    thresholds=(0.1,),
    accuracies=(),
    landscapes="base",
    normalise=False,
)
MNIST_DATA_LARGE = replace(
    MNIST_DATA,
    name="mnist_data_large",
    title="More data on MNIST, larger network",
    model="mnist_mlp_large",
    recipe=Recipe(epochs=700),
    thresholds=THRESHOLDS,
    accuracies=(),
    n_directions=50,
    quick={"levels": (0, 240), "n_directions": 25, "recipe": Recipe(epochs=300)},
)
MNIST_CNN_DATA = replace(
    MNIST_DATA,
    name="mnist_cnn_data",
    title="More data on MNIST, convolutional network",
    model="mnist_cnn",
    recipe=Recipe(epochs=200, batch_size=1024),
    thresholds=THRESHOLDS,
    accuracies=(),
    landscapes="base",  # the paper also has landscapes up to 20,000 samples: with a GPU, set "nested"
    quick={"levels": (0, 540), "n_directions": 5, "recipe": Recipe(epochs=30, batch_size=1024)},
)
MNIST_NOISE = replace(
    MNIST_POISON,
    name="mnist_noise",
    title="Noise images with random labels on MNIST",
    intervention="noise",
)
MNIST_DUPLICATES = replace(
    MNIST_DATA,
    name="mnist_duplicates",
    title="Duplicates of the base on MNIST",
    intervention="duplicates",
    levels=(0, 540, 1940, 5940),
    thresholds=THRESHOLDS,
    accuracies=(),
)
MNIST_SAME_LOSS = replace(
    MNIST_DATA,
    name="mnist_same_loss",
    title="More data on MNIST, all trained to the same loss",
    recipe=Recipe(epochs=2000, stop_loss=0.01),
    thresholds=THRESHOLDS,
    accuracies=(),
)
MNIST_SEEDS = replace(
    MNIST_DATA,
    name="mnist_seeds",
    title="Twelve seeds on the same 600 samples of MNIST",
    base=600,
    levels=tuple(range(12)),
    level_means="model_seed",
    thresholds=THRESHOLDS,
    accuracies=(),
    landscapes="base",
    quick={"base": 300, "n_directions": 25},
)
DIGITS_SEEDS = replace(
    DIGITS_DATA,
    name="digits_seeds",
    title="Twenty seeds on the same 100 samples of 8×8 digits",
    base=100,
    levels=tuple(range(20)),
    level_means="model_seed",
    landscapes="base",
    quick={"levels": tuple(range(10)), "n_directions": 100},
)
MNIST_BATCH_SIZE = Study(
    name="mnist_batch_size",
    title="Batch size on MNIST",
    data="mnist",
    model="mnist_mlp",
    intervention="data",
    base=6000,
    levels=(100, 200, 500, 1000, 3000, 6000),
    level_means="batch_size",
    recipe=Recipe(epochs=500),
    thresholds=(0.01,),
    n_directions=500,
    quick={"base": 1000, "levels": (50, 200, 1000), "recipe": Recipe(epochs=100), "n_directions": 25},
)
MNIST_BATCH_STEPS = replace(
    MNIST_BATCH_SIZE,
    name="mnist_batch_steps",
    title="Batch size on MNIST, the same number of steps",
    level_means="batch_size_equal_steps",
    recipe=Recipe(epochs=3000),  # steps, of which the smallest batches need 50 epochs
    quick={"base": 1000, "levels": (50, 200, 1000), "recipe": Recipe(epochs=500), "n_directions": 25},
)

STUDIES = {
    study.name: study
    for study in (
        DIGITS_POISON,
        DIGITS_DATA,
        DIGITS_DATA_BEYOND,
        MNIST_POISON,
        MNIST_NOISE,
        MNIST_DATA,
        MNIST_DATA_BEYOND,
        MNIST_DATA_RAW,
        MNIST_DATA_LARGE,
        MNIST_CNN_DATA,
        MNIST_BATCH_SIZE,
        MNIST_BATCH_STEPS,
        MNIST_DUPLICATES,
        MNIST_SAME_LOSS,
        MNIST_SEEDS,
        DIGITS_SEEDS,
    )
}
