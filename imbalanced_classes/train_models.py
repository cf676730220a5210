"""Stage 1: train one minimum per level and repeat of a study."""

from config import STUDIES
from minima_volume.pipeline.cli import main
from minima_volume.pipeline.train_models import train_models

if __name__ == "__main__":
    main(STUDIES, train_models)
