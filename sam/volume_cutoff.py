"""Stage 3: find the data size at which each minimum stops being one."""

from config import STUDIES
from minima_volume.pipeline.cli import main
from minima_volume.pipeline.volume_cutoff import volume_cutoff

if __name__ == "__main__":
    main(STUDIES, volume_cutoff)
