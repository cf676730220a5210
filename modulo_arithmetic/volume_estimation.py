"""Stage 4: turn radii into volumes with their errors."""

from config import STUDIES
from minima_volume import stage, tables


def volume_estimation(run: stage.Run) -> None:
    """Crossings -> volumes.csv of each repeat; with --gather the study's tables and run.json from all repeats done."""
    if run.gather:
        tables.gather(run.repeats, run.scale)
    else:
        tables.write_volumes(run.repeats, run.scale)


if __name__ == "__main__":
    stage.main(STUDIES, volume_estimation)
