"""Optional stage: measure the Gaussian local volume of every stored minimum by subset simulation."""

from config import STUDIES
from minima_volume.pipeline.cli import main
from minima_volume.pipeline.local_volumes import local_volumes

if __name__ == "__main__":
    main(STUDIES, local_volumes)
