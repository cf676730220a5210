"""Stage 2: sweep the minima of a study along blocks of directions, and store where the losses cross the thresholds."""

from functools import cache, partial
from math import isclose
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minima_volume.crossings.sweep import sweep_crossings
from minima_volume.errors import ResultsError
from minima_volume.networks.directions import direction_norms, draw_directions
from minima_volume.pipeline import cli
from minima_volume.pipeline.minima import Minima, folder_of, load_minima, training_fingerprint
from minima_volume.pipeline.settings import clock
from minima_volume.pipeline.study import Repeat, Study
from minima_volume.storage import archives, layout

BLOCK = 25  # directions per task; a killed run loses at most one task per worker


def ray_fingerprint(repeat: Repeat, level: int) -> str:
    """Return a hash of everything that the crossings of a level's minimum depend on, except which directions there are."""
    study = repeat.study
    bounds = [(target.size, target.threshold, target.metric) for target in study.targets(level)]
    return archives.fingerprint(training_fingerprint(repeat, level), bounds, study.normalise, study.direction_seed)


def direction_blocks(study: Study) -> list[tuple[int, int]]:
    """Return the range (start, stop) of direction numbers of every task."""
    return [(start, min(start + BLOCK, study.n_directions)) for start in range(0, study.n_directions, BLOCK)]


def read_block(repeat: Repeat, scale: str, start: int, stop: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the header and the arrays of a block; both are empty if the file is missing, damaged or of other directions."""
    path = layout.block_path(folder_of(repeat, scale), start, stop)
    if path.exists():
        try:
            info, arrays = archives.read_arrays(path)
        except ResultsError as error:
            print(f"{error} Recomputing it now.")
        else:
            right = isinstance(info.get("fingerprints"), dict) and isinstance(info.get("seconds"), float)
            # Other settings, such as another seed of the directions, are told from the fingerprints.
            current = right and any(
                info["fingerprints"].get(str(level)) == ray_fingerprint(repeat, level) for level in repeat.study.levels
            )
            if right and (not current or _are_norms(arrays.get("norms"), repeat, start, stop)):
                return info, arrays
            print(f"Expected crossings of directions {start} to {stop - 1} in {path}, got others. Recomputing it now.")
    return {"fingerprints": {}, "seconds": 0.0}, {}


def _are_norms(norms: NDArray[Any] | None, repeat: Repeat, start: int, stop: int) -> bool:
    """Whether stored norms are those of the seeded directions start…stop−1, by the first and the last one.

    Files of older runs do not name their place, and no fingerprint covers which directions a block has.
    """
    n_params = sum(parameter.numel() for parameter in repeat.model.parameters())
    if norms is None or norms.shape != (stop - start,):
        return False
    ends = [_norm(repeat.study.direction_seed, index, n_params) for index in (start, stop - 1)]
    # Norms of different directions differ by about 1/√(2n), 5e-4 of themselves in the largest networks; sums of squares in
    # float64 differ between machines in their last digits only.
    return all(isclose(norm, end, rel_tol=1e-9) for norm, end in zip(norms[[0, -1]], ends, strict=True))


@cache
def _norm(seed: int, index: int, n_params: int) -> float:
    """Return the norm of one seeded direction; blocks are read several times in a run."""
    return float(direction_norms(draw_directions(seed, [index], n_params))[0])


def sweep_block(repeat: Repeat, minima: Minima, scale: str, start: int, stop: int, memory: int) -> float:
    """Find and store the crossings of every minimum along one block of directions.

    Minima whose stored crossings are current are not measured again.

    Args:
        repeat: The repeat of a study.
        minima: Header and minimum by level.
        scale: `quick` or `paper`.
        start: Number of the first direction.
        stop: Number after the last direction.
        memory: Bytes that the rays may keep.

    Returns:
        Seconds of work.
    """
    info, arrays = read_block(repeat, scale, start, stop)
    wanted = {str(level): ray_fingerprint(repeat, level) for level in minima}
    missing = [level for level in minima if info["fingerprints"].get(str(level)) != wanted[str(level)]]
    if not missing:
        return 0.0
    kept = info["fingerprints"].keys() - set(map(str, missing))
    started, study = clock(repeat.device), repeat.study
    targets = [study.targets(level) for level in missing]
    largest = max(target.size for wanted_here in targets for target in wanted_here)
    chosen = [minima[level][1] for level in missing]
    found = sweep_crossings(
        repeat.model, chosen, targets, repeat.samples.part(0, largest),
        seed=study.direction_seed, indices=range(start, stop), memory=memory,
    )  # fmt: skip
    for level, crossings in zip(missing, found.crossings, strict=True):
        arrays |= {layout.crossings_key(level, name): value for name, value in crossings.stored().items()}
    seconds = clock(repeat.device) - started
    before = info["seconds"] if kept else 0.0
    looks = {
        str(level): {"earlier": int(one.earlier.any(axis=1).sum()), "uncertain": int(one.uncertain.any(axis=1).sum())}
        for level, one in zip(missing, found.crossings, strict=True)
    }
    header = {
        "fingerprints": info["fingerprints"] | wanted,
        "seconds": before + round(seconds, 3),
        "looks": info.get("looks", {}) | looks,
    }
    archives.write_arrays(
        layout.block_path(folder_of(repeat, scale), start, stop),
        header,
        arrays | {"norms": found.norms},
    )
    return seconds


def _missing_blocks(repeat: Repeat, minima: Minima, scale: str) -> list[tuple[int, int]]:
    """Return the blocks in which a minimum has no current crossings, and print how many hold outdated ones."""
    wanted = {str(level): ray_fingerprint(repeat, level) for level in minima}
    headers = {span: read_block(repeat, scale, *span)[0] for span in direction_blocks(repeat.study)}
    missing = [span for span, header in headers.items() if not _covers(header, wanted)]
    if others := sum(bool(headers[span]["fingerprints"]) for span in missing):
        folder = layout.block_path(folder_of(repeat, scale), 0, 0).parent
        print(f"{others} of {len(headers)} blocks in {folder} do not fit the study's present settings: "
              "measuring what is missing.", flush=True)  # fmt: skip
    return missing


def _covers(header: dict[str, Any], wanted: dict[str, str]) -> bool:
    """Whether a block holds current crossings of all wanted levels."""
    return all(header["fingerprints"].get(level) == print_ for level, print_ in wanted.items())


def load_crossings(
    repeat: Repeat, minima: Minima, scale: str
) -> tuple[dict[int, dict[str, NDArray[Any]]], NDArray[np.float64]]:
    """Read the crossings along all directions of the study.

    Returns:
        Arrays of `sweep.Crossings` by level and name, and the norms of the directions (n_directions,).

    Raises:
        ResultsError: A block is missing or was measured with other settings.
    """
    parts = [read_block(repeat, scale, *span) for span in direction_blocks(repeat.study)]
    wanted = {str(level): ray_fingerprint(repeat, level) for level in minima}
    for (start, stop), (header, _) in zip(direction_blocks(repeat.study), parts, strict=True):
        if not _covers(header, wanted):
            raise ResultsError(
                f"Expected crossings of study {repeat.study.name}, repeat {repeat.number}, along directions {start} to "
                f"{stop - 1}, got none that fit its settings: run random_perturbs.py first."
            )
    joined = {
        level: {
            name: np.concatenate([arrays[layout.crossings_key(level, name)] for _, arrays in parts])
            for name in ("coefficients", "recrossed", "evaluations")
        }
        | {"at_zero": parts[0][1][layout.crossings_key(level, "at_zero")]}
        for level in minima
    }
    return joined, np.concatenate([arrays["norms"] for _, arrays in parts])


def _finish_rays(repeat: Repeat, scale: str) -> None:
    """Write rays.json: fingerprints, number of directions, seconds of work, and what closer looks at the rays found."""
    headers = [read_block(repeat, scale, *span)[0] for span in direction_blocks(repeat.study)]
    looks = [header.get("looks", {}) for header in headers]
    found = {
        str(level): {
            word: sum(look.get(str(level), {}).get(word, 0) for look in looks) for word in ("earlier", "uncertain")
        }
        for level in repeat.study.levels
    }
    for level, look in found.items():
        if look["uncertain"]:
            print(
                f"{repeat.study.name}, repeat {repeat.number}, level {level}: {look['uncertain']} of "
                f"{repeat.study.n_directions} rays oscillate too fast to tell their first crossing: the volume may be "
                "too high.",
                flush=True,
            )
    content = {
        "looks": found,
        "fingerprints": {str(level): ray_fingerprint(repeat, level) for level in repeat.study.levels},
        "n_directions": repeat.study.n_directions,
        "seconds": round(sum(header["seconds"] for header in headers), 3),
    }
    archives.write_record(folder_of(repeat, scale) / layout.RAYS_RECORD, content)


def random_perturbs(run: cli.StageRun) -> None:
    """Run stage 2: read the minima, and write rays/directions_*.npz.

    Each file holds the crossing coefficient of every minimum, direction, landscape and threshold.
    """
    for repeat in run.repeats:
        found = load_minima(repeat, run.scale)
        todo = _missing_blocks(repeat, found, run.scale)
        measure = partial(sweep_block, repeat, found, run.scale, memory=run.settings.memory)
        run.each([partial(measure, start=start, stop=stop) for start, stop in todo], "blocks")
        _finish_rays(repeat, run.scale)
