"""What videos are made of: a study's row, its stored minima, and the command that makes them where they are missing."""

import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minima_volume.errors import ResultsError
from minima_volume.networks.minimum import Minimum
from minima_volume.pipeline.minima import load_minima
from minima_volume.pipeline.study import Repeat, Study
from minima_volume.storage import layout

Found = dict[int, tuple[dict[str, Any], Minimum]]


def find_study(name: str, scale: str, root: Path = Path()) -> Study:
    """A study's row at a scale, from the config.py that holds it; ResultsError if none does."""
    for config in sorted(root.glob("*/config.py")):
        studies: dict[str, Study] = runpy.run_path(str(config)).get("STUDIES", {})
        if name in studies:
            return studies[name].at_scale(scale)
    raise ResultsError(
        f"Expected a study {name} in one of the config.py files, got none: `make help` lists the studies."
    )


def load_trained(study: Study, scale: str, levels: Sequence[int], number: int = 0) -> tuple[Repeat, Found]:
    """A repeat and its minima at the given levels; ResultsError with the command if one is missing or out of date."""
    folder = layout.repeat_folder(scale, study.name, number)
    command = f"`make results/{scale}/{study.name}/repeat_{number}/minima.json SCALE={scale}` trains them."
    # Looked for before the data set is, which might be a download.
    missing = [level for level in levels if not layout.minimum_path(folder, level).exists()]
    if missing:
        raise ResultsError(f"Expected minima of levels {missing} in {folder}, got none: {command}")
    repeat = Repeat(study, number)
    found = load_minima(repeat, scale)
    stale = [level for level in levels if level not in found]
    if stale:
        raise ResultsError(f"Expected minima of levels {stale} in {folder} trained as the study now says: {command}")
    return repeat, found


def three_levels(study: Study, wanted: tuple[int, int, int]) -> tuple[int, int, int]:
    """The wanted levels if the study has them at this scale, else its lowest, middle and highest."""
    if set(wanted) <= set(study.levels):
        return wanted
    if len(study.levels) < 3:
        raise ResultsError(
            f"Expected three levels in study {study.name}, got {study.levels}: a plane needs three minima."
        )
    return study.levels[0], study.levels[len(study.levels) // 2], study.levels[-1]
