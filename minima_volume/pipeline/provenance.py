"""Record how the numbers of a study were made: settings, seeds, checksums, commit, versions and machine."""

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from minima_volume.cluster.machine import PACKAGE, device_name, package_checksum
from minima_volume.cluster.worker import Place
from minima_volume.pipeline.minima import folder_of
from minima_volume.pipeline.repeat import Repeat
from minima_volume.pipeline.study import Study
from minima_volume.storage import archives, layout

# A study's own results do not count as changes of the code.
NOT_CODE = tuple(f":(top,exclude){name}" for name in ("results", "figs/paper", "figs/quick", "videos/paper"))


def run_record(study: Study, scale: str, repeats: Sequence[Repeat]) -> dict[str, object]:
    """Return what is needed to make the numbers of a study again, and what they were made with.

    Args:
        study: The study at its scale.
        scale: `quick` or `paper`.
        repeats: The finished repeats, at least one.

    Returns:
        The content of run.json.
    """
    minima = {repeat.number: archives.read_json(folder_of(repeat, scale) / layout.MINIMA_RECORD) for repeat in repeats}
    rays = {repeat.number: archives.read_json(folder_of(repeat, scale) / layout.RAYS_RECORD) for repeat in repeats}
    places = layout.study_folder(scale, study.name) / layout.CLUSTER_RECORD
    return common_record(study, scale, repeats) | {
        # Only where a cluster computed something.
        **({"cluster": archives.read_json(places)["places"]} if places.exists() else {}),
        "command": f"make {study.name} SCALE={scale} REPEATS={1 + max(minima)} DIRECTIONS={study.n_directions}"
        + f" LEVELS={len(study.levels)}" * bool(study.later_levels),
        "task_seconds": {
            "training": round(sum(info["seconds"] for levels in minima.values() for info in levels.values()), 1),
            "rays": round(sum(content["seconds"] for content in rays.values()), 1),
        },
    }


def record_places(study: Study, scale: str, places: Mapping[Place, int]) -> None:
    """Add to a study's record which machines and processors of a cluster computed how many tasks.

    Args:
        study: The study at its scale.
        scale: `quick` or `paper`.
        places: Number of tasks at each place.
    """
    path = layout.study_folder(scale, study.name) / layout.CLUSTER_RECORD
    found = archives.read_json(path)["places"] if path.exists() else []
    counts = {(one["engine"], one["host"], one["processor"], one["worker"]): one["tasks"] for one in found}
    engine = f"dask distributed {version('distributed')}"
    for place, tasks in places.items():
        counts[engine, *place] = counts.get((engine, *place), 0) + tasks
    names = ("engine", "host", "processor", "worker")
    content = [dict(zip(names, key, strict=True)) | {"tasks": tasks} for key, tasks in sorted(counts.items())]
    archives.write_record(path, {"places": content})


def common_record(study: Study, scale: str, repeats: Sequence[Repeat]) -> dict[str, object]:
    """Return settings, seeds, checksums, commit, versions and machine, as every table's record has them.

    Args:
        study: The study at its scale.
        scale: `quick` or `paper`.
        repeats: The repeats, at least one.
    """
    return {
        "scale": scale,
        "settings": asdict(study) | {"recipe": study.recipe.record()},
        "seeds": {
            r.number: {"model": r.model_seed, "data": r.data_seed, "directions": study.direction_seed} for r in repeats
        },
        "data_checksums": {repeat.number: repeat.dataset.checksums for repeat in repeats},
        "git": _git(PACKAGE),
        "package": package_checksum(PACKAGE),
        "versions": {name: version(name) for name in ("torch", "numpy", "scipy")}
        | {"python": platform.python_version()},
        "device": device_name(repeats[0].device),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _git(folder: Path) -> dict[str, object]:
    """Return a folder's commit and whether its working tree has changes; empty outside a git checkout."""

    # A hook or a user may have set them for another repository.
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def said(*command: str) -> str:
        return subprocess.run(["git", *command], cwd=folder, env=own, capture_output=True, text=True, check=True).stdout

    try:
        # A copy without .git may lie inside somebody's other repository.
        if not said("ls-files", "--", "."):
            return {}
        commit = said("rev-parse", "HEAD").strip()
        status = said("status", "--porcelain", "--", ":(top)", *NOT_CODE)
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"commit": commit, "dirty": bool(status.strip())}
