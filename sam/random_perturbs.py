"""Stage 2: find where the losses of all minima cross the thresholds along fixed random directions."""

from config import STUDIES
from minima_volume.pipeline.cli import main
from minima_volume.pipeline.random_perturbs import random_perturbs

if __name__ == "__main__":
    main(STUDIES, random_perturbs)
