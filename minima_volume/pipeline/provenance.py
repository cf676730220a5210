"""Record how the numbers of a study were made: settings, seeds, checksums, commit, versions and machine."""

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from minima_volume.pipeline.minima import folder_of
from minima_volume.pipeline.study import Repeat, Study
from minima_volume.storage import archives, layout

# A study's own results do not count as changes of the code.
NOT_CODE = (":(exclude)results", ":(exclude)figs/paper", ":(exclude)figs/quick", ":(exclude)videos/paper")


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
        "git": _git(),
        "versions": {name: version(name) for name in ("torch", "numpy", "scipy")}
        | {"python": platform.python_version()},
        "device": device_name(repeats[0].device),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _git() -> dict[str, object]:
    """Return the commit and whether the working tree has changes; empty outside a git checkout."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changes = ["git", "status", "--porcelain", "--", ":(top)", *NOT_CODE]
        status = subprocess.run(changes, capture_output=True, text=True, check=True).stdout
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
