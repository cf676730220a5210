"""Stage 2: follow the losses of all minima along fixed random directions to where they cross the thresholds."""

from functools import partial

from config import STUDIES
from minima_volume import minima, rays, stage


def random_perturbs(run: stage.Run) -> None:
    """Minima -> rays/directions_*.npz, the crossing coefficient of every direction, landscape and threshold."""
    for repeat in run.repeats:
        found = minima.minima_of(repeat, run.scale)
        blocks = rays.missing_blocks(repeat, found, run.scale)
        sweep = partial(rays.sweep_block, repeat, found, run.scale, memory=stage.memory())
        run.each([partial(sweep, start=start, stop=stop) for start, stop in blocks], "blocks")
        rays.finish_rays(repeat, run.scale)


if __name__ == "__main__":
    stage.main(STUDIES, random_perturbs)
