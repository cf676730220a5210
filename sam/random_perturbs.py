"""Stage 2: follow the losses of all minima along fixed random directions to where they cross the thresholds."""

from config import STUDIES
from minima_volume.pipeline.cli import main
from minima_volume.pipeline.random_perturbs import random_perturbs

if __name__ == "__main__":
    main(STUDIES, random_perturbs)
