"""Stage 3: find the data size at which each minimum stops being one."""

from config import STUDIES
from minima_volume import stage, tables


def volume_cutoff(run: stage.Run) -> None:
    """Minima -> cutoffs.csv, where the cumulative mean loss over base and extras first exceeds each threshold."""
    for repeat in run.repeats:
        tables.write_cutoffs(repeat, run.scale)


if __name__ == "__main__":
    stage.main(STUDIES, volume_cutoff)
