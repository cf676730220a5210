"""Record how the numbers of a study were made: settings, seeds, checksums, commit, versions and machine."""

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import torch

from minima_volume.pipeline.minima import folder_of
from minima_volume.pipeline.study import Repeat, Study
from minima_volume.storage import archives, layout

# A study's own results do not count as changes of the code.
NOT_CODE = tuple(f":(top,exclude){name}" for name in ("results", "figs/paper", "figs/quick", "videos/paper"))
# The package that runs, wherever the working folder is.
PACKAGE = Path(__file__).resolve().parent.parent


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
    return common_record(study, scale, repeats) | {
        "command": f"make {study.name} SCALE={scale} REPEATS={1 + max(minima)} DIRECTIONS={study.n_directions}"
        + f" LEVELS={len(study.levels)}" * bool(study.later_levels),
        "task_seconds": {
            "training": round(sum(info["seconds"] for levels in minima.values() for info in levels.values()), 1),
            "rays": round(sum(content["seconds"] for content in rays.values()), 1),
        },
    }


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


def package_checksum(folder: Path) -> str:
    """Return the SHA-256 of the names and contents of all modules of a package.

    Args:
        folder: The package.
    """
    total = sha256()
    for path in sorted(folder.rglob("*.py")):
        total.update(f"{sha256(path.read_bytes()).hexdigest()} {path.relative_to(folder).as_posix()}\n".encode())
    return total.hexdigest()


def _git(folder: Path) -> dict[str, object]:
    """Return a folder's commit and whether its working tree has changes; empty outside a git checkout."""

    def said(*command: str) -> str:
        return subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True, check=True).stdout

    try:
        commit = said("rev-parse", "HEAD").strip()
        status = said("status", "--porcelain", "--", ":(top)", *NOT_CODE)
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"commit": commit, "dirty": bool(status.strip())}


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or the processor's name and its number of cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    models = (
        [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        if cpuinfo.exists()
        else []
    )
    return f"{device.type}: {models[0] if models else platform.processor()}, {os.cpu_count()} cores"
