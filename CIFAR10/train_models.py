"""Stage 1: train one minimum per level and repeat of a study."""

from functools import partial

from config import STUDIES
from minima_volume import minima, stage, workload


def train_models(run: stage.Run) -> None:
    """Data and recipe of each level -> minima/level_*.safetensors with what they were trained on."""
    groups = minima.training_groups(run.repeats, run.scale)
    workload.announce(run.label, run.repeats, [pair for group in groups for pair in group], stage.workers())
    initial = minima.initial_weights(run.repeats)
    said = run.each([partial(minima.train_group, group, initial, run.scale) for group in groups], "groups")
    minima.finish_training(run.repeats, run.scale, [sentence for group in said for sentence in group])


if __name__ == "__main__":
    stage.main(STUDIES, train_models)
