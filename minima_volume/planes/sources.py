"""Find a study and its stored minima, or say which command makes them."""

from collections.abc import Sequence

from minima_volume.errors import ResultsError
from minima_volume.networks.precision import use_full_float32
from minima_volume.pipeline.minima import Minima, current_minima
from minima_volume.pipeline.repeat import Repeat
from minima_volume.pipeline.settings import Settings
from minima_volume.pipeline.study import Study, find_study
from minima_volume.storage import layout


def open_study(name: str, scale: str) -> tuple[Study, Settings]:
    """Read the settings of a command, find its study at a scale, and turn shortened float32 products off.

    Raises:
        UserError: A setting is invalid, or there is no such study.
    """
    settings = Settings.from_environment()
    use_full_float32()
    return find_study(name).at_scale(scale, settings.directions, settings.levels), settings


def load_trained(
    study: Study, scale: str, levels: Sequence[int], settings: Settings, number: int = 0
) -> tuple[Repeat, Minima]:
    """Return a repeat and its minima at the given levels.

    Args:
        study: The study.
        scale: `quick` or `paper`.
        levels: The levels to load.
        settings: Device, data folder and workers.
        number: Number of the repeat.

    Returns:
        The repeat, and header and minimum of each level.

    Raises:
        ResultsError: A minimum is missing or out of date. The message names the command that trains it.
    """
    folder = layout.repeat_folder(scale, study.name, number)
    command = f"run `make results/{scale}/{study.name}/repeat_{number}/minima.json SCALE={scale}`."
    # Checked before the data set is loaded, which might be a download.
    missing = [level for level in levels if not layout.minimum_path(folder, level).exists()]
    if missing:
        raise ResultsError(f"Expected minima of levels {missing} in {folder}, got none: {command}")
    repeat = Repeat(study, number, settings)
    found = current_minima(repeat, scale, levels)
    stale = [level for level in levels if level not in found]
    if stale:
        raise ResultsError(
            f"Expected minima of levels {stale} in {folder} with the settings of the study, got older ones: {command}"
        )
    return repeat, found


def three_levels(study: Study, wanted: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the wanted levels if the study has them at this scale, else its lowest, middle and highest level.

    Raises:
        ResultsError: The study has fewer than three levels.
    """
    if set(wanted) <= set(study.levels):
        return wanted
    if len(study.levels) < 3:
        raise ResultsError(
            f"Expected three levels in study {study.name}, got {study.levels}: choose a study with more levels."
        )
    return study.levels[0], study.levels[len(study.levels) // 2], study.levels[-1]
