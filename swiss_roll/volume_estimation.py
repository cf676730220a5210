"""Stage 4: turn radii into volumes with their errors."""

from config import STUDIES
from minima_volume.pipeline.cli import main
from minima_volume.pipeline.volume_estimation import volume_estimation

if __name__ == "__main__":
    main(STUDIES, volume_estimation)
