"""Stage 2: sweep the minima of a study along blocks of directions, and store where the losses cross the thresholds."""

from dataclasses import dataclass
from functools import cache
from math import isclose
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from minima_volume.cluster.task import Task
from minima_volume.crossings.sweep import Sweep, sweep_crossings
from minima_volume.errors import ResultsError
from minima_volume.networks.directions import direction_norms, draw_directions
from minima_volume.pipeline import cli
from minima_volume.pipeline.minima import Minima, folder_of, load_minima, training_fingerprint
from minima_volume.pipeline.repeat import Repeat
from minima_volume.pipeline.settings import clock
from minima_volume.pipeline.study import Study
from minima_volume.storage import archives, layout

MOST_NAMED = 3  # outdated blocks that a message names
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


@dataclass(frozen=True, kw_only=True)
class Block(Task[tuple[Sweep, float]]):
    """The crossings of some minima along one block of directions; `shared` are all minima of the repeat.

    Attributes:
        repeat: The repeat of a study.
        scale: `quick` or `paper`.
        start: Number of the first direction.
        stop: Number after the last direction.
        levels: Levels whose minima have no current crossings yet.
    """

    shared: Minima
    repeat: Repeat
    scale: str
    start: int
    stop: int
    levels: tuple[int, ...]

    @property
    def name(self) -> str:
        """What the task is called in messages."""
        study = self.repeat.study.name
        return f"directions {self.start} to {self.stop - 1} of {study}, repeat {self.repeat.number}"

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return self.repeat.device

    def compute(self, shared: Minima) -> tuple[Sweep, float]:
        """Find the crossings; return them and the seconds of work."""
        repeat, study = self.repeat, self.repeat.study
        started = clock(repeat.device)
        targets = [study.targets(level) for level in self.levels]
        largest = max(target.size for wanted_here in targets for target in wanted_here)
        chosen = [shared[level][1].to(repeat.device, torch.float32) for level in self.levels]
        found = sweep_crossings(
            repeat.model, chosen, targets, repeat.samples.part(0, largest),
            seed=study.direction_seed, indices=range(self.start, self.stop), memory=repeat.settings.memory,
        )  # fmt: skip
        return found, clock(repeat.device) - started

    def write(self, result: tuple[Sweep, float]) -> None:
        """Store the crossings beside those that are current."""
        found, seconds = result
        info, arrays = read_block(self.repeat, self.scale, self.start, self.stop)
        wanted = {str(level): ray_fingerprint(self.repeat, level) for level in self.shared}
        kept = info["fingerprints"].keys() - set(map(str, self.levels))
        looks = {}
        for level, one in zip(self.levels, found.crossings, strict=True):
            arrays |= {layout.crossings_key(level, name): value for name, value in one.stored().items()}
            counts = {"earlier": one.earlier, "uncertain": one.uncertain}
            looks[str(level)] = {word: int(seen.any(axis=1).sum()) for word, seen in counts.items()}
        header = {
            "fingerprints": info["fingerprints"] | wanted,
            "seconds": (info["seconds"] if kept else 0.0) + round(seconds, 3),
            "looks": info.get("looks", {}) | looks,
        }
        path = layout.block_path(folder_of(self.repeat, self.scale), self.start, self.stop)
        archives.write_arrays(path, header, arrays | {"norms": found.norms})


def missing_blocks(repeat: Repeat, minima: Minima, scale: str) -> list[Block]:
    """Return the blocks in which a minimum has no current crossings, and print how many hold outdated ones.

    Args:
        repeat: The repeat of a study.
        minima: Header and minimum by level.
        scale: `quick` or `paper`.
    """
    wanted = {str(level): ray_fingerprint(repeat, level) for level in minima}
    headers = {span: read_block(repeat, scale, *span)[0] for span in direction_blocks(repeat.study)}
    missing = [span for span, header in headers.items() if not _covers(header, wanted)]
    if others := [
        layout.block_path(folder_of(repeat, scale), *span) for span in missing if headers[span]["fingerprints"]
    ]:
        names = ", ".join(path.name for path in others[:MOST_NAMED]) + ", …" * (len(others) > MOST_NAMED)
        print(f"{len(others)} of {len(headers)} blocks in {others[0].parent} do not fit the study's present settings: "
              f"{names}. Measuring what is missing.", flush=True)  # fmt: skip
    blocks = []
    for start, stop in missing:
        known = headers[start, stop]["fingerprints"]
        levels = tuple(level for level in minima if known.get(str(level)) != wanted[str(level)])
        blocks.append(Block(shared=minima, repeat=repeat, scale=scale, start=start, stop=stop, levels=levels))
    return blocks


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
        run.each(missing_blocks(repeat, load_minima(repeat, run.scale), run.scale), "blocks")
        _finish_rays(repeat, run.scale)
