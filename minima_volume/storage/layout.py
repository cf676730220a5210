"""Paths, file names and table columns under `results/`. No other module knows them.

results/<scale>/comparison.csv, comparison_trends.csv
results/<scale>/<study>/*.csv, run.json, failures.txt, cluster.json
results/<scale>/<study>/repeat_<number>/*.csv, minima.json, rays.json
    minima/level_<level>.safetensors, .unfinished.safetensors, .failed.json
    rays/directions_<start>_<stop>.npz
    gold/level_<level>.json
    local/level_<level>.json
    tethered/level_<level>.json
    sharpness/level_<level>.json
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# Read it as `layout.ROOT`, never by importing the name: tests replace it. Make names the same folder.
ROOT = Path("results")

MINIMA_FOLDER, RAYS_FOLDER, GOLD_FOLDER, LOCAL_FOLDER = "minima", "rays", "gold", "local"
TETHERED_FOLDER, SHARPNESS_FOLDER = "tethered", "sharpness"
# Tables of a repeat and, gathered from all repeats, of a study.
VOLUMES, CUTOFFS = "volumes.csv", "cutoffs.csv"
# Tables of a study only.
SLICES, PROFILES, ORDERINGS, CONFIDENCES = "slices.csv", "profiles.csv", "orderings.csv", "confidences.csv"
LOCAL_VOLUMES, SAMPLERS, SHARPNESS = "local_volumes.csv", "samplers.csv", "sharpness.csv"
# Tables of all studies of a scale.
COMPARISON, COMPARISON_TRENDS = "comparison.csv", "comparison_trends.csv"
# Records of a study, and of the first two stages of a repeat.
RUN_RECORD, MINIMA_RECORD, RAYS_RECORD = "run.json", "minima.json", "rays.json"
# What the workers of a cluster computed of a study.
CLUSTER_RECORD = "cluster.json"
FAILURES = "failures.txt"
# The file of a minimum holds the network under these names; what else it holds has none of them.
_NETWORK = "parameters."
# Numbers as they are written, so that a parsed name leads back to its path.
_NUMBER = "0|[1-9][0-9]*"

VOLUME_COLUMNS = (
    "study", "data", "model", "repeat", "level", "landscape", "threshold", "metric", "status", "n_params", "n_directions",
    "n_crossed", "n_recrossed", "log_volume", "log_volume_se", "verdict", "effective_size", "largest_share", "doubling",
    "pareto_k", "typical_log_volume", "typical_log_volume_se", "log_volume_grid", "grid_directions", "loss_at_zero",
    "train_loss", "test_loss", "test_accuracy", "train_accuracy", "unseen_accuracy",
)  # fmt: skip
CUTOFF_COLUMNS = ("study", "data", "model", "repeat", "level", "threshold", "cutoff", "n_samples", "final_mean_loss")
SLICE_COLUMNS = ("repeat", "level", "n_train", "radius_1", "radius_2", "seen_loss", "unseen_loss")
PROFILE_COLUMNS = ("repeat", "level", "n_train", "direction", "radius", "base_loss", "train_loss", "test_loss")
ORDERING_COLUMNS = ("study", "repeat", "level", "threshold", "estimator", "sigma", "value", "error", "verdict")
CONFIDENCE_COLUMNS = ("study", "repeat", "estimator", "sigma", "order", "confidence", "falling")
LOCAL_VOLUME_COLUMNS = (
    "study", "data", "model", "repeat", "level", "landscape", "threshold", "norms", "sigma", "status", "log_gamma",
    "log_gamma_se", "log_gamma_within_se", "n_levels", "acceptance", "evaluations", "n_params", "n_reduced", "log_scales",
    "loss_at_zero", "train_loss", "test_loss", "test_accuracy",
)  # fmt: skip
SAMPLER_COLUMNS = (
    "study", "repeat", "level", "sigma", "subset", "subset_error", "tethered", "tethered_error", "tethered_status",
    "joint_errors",
)  # fmt: skip
SHARPNESS_COLUMNS = (
    "study", "data", "model", "repeat", "level", "measure", "coordinates", "value", "error", "n_train", "n_samples",
    "n_params", "train_loss", "test_loss", "test_accuracy",
)  # fmt: skip
COMPARISON_COLUMNS = (
    "study", "level", "landscape", "threshold", "ours_repeats", "ours_without_volume", "ours_log_volume_grid",
    "ours_spread", "published_repeats", "published_without_volume", "published_log_volume_grid", "published_spread",
    "relative_difference", "grid_steps", "standard_errors", "within", "ours_loss_at_zero", "published_loss_at_zero",
    "ours_test_loss", "published_test_loss", "test_loss_standard_errors", "ours_test_accuracy", "published_test_accuracy",
)  # fmt: skip
COMPARISON_TREND_COLUMNS = (
    "study", "quantity", "held", "threshold", "against", "values", "ours_repeats", "ours_slope", "ours_slope_se",
    "ours_direction", "published_repeats", "published_slope", "published_slope_se", "published_direction",
    "direction", "standard_errors", "ours_solved_slope", "ours_solved_slope_se",
)  # fmt: skip


def place_of(path: Path) -> str:
    """Return what names a stored file wherever the results are: its path below ROOT, or its name if it is elsewhere."""
    root, path = ROOT.absolute(), path.absolute()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def is_at(path: Path, place: str) -> bool:
    """Return whether a file is at the place that `place_of` gave when it was written."""
    parts = Path(place).parts
    return path.absolute().parts[-len(parts) :] == parts


def is_of(path: Path, owner: Mapping[str, object]) -> bool:
    """Return whether a file in a repeat's folder can belong to a study, repeat and level; those that are missing fit."""
    folder = next((folder for folder in path.absolute().parents if repeat_of(folder) is not None), None)
    found: dict[str, object] = {"level": level_of(path)}
    if folder is not None:
        found |= {"study": folder.parent.name, "repeat": repeat_of(folder)}
    return all(str(owner[name]) == str(value) for name, value in found.items() if value is not None and name in owner)


def study_folder(scale: str, study: str) -> Path:
    """Return the folder of a study's tables."""
    return ROOT / scale / study


def repeat_folder(scale: str, study: str, repeat: int) -> Path:
    """Return the folder of one repeat's minima, rays and tables."""
    return study_folder(scale, study) / f"repeat_{repeat}"


def minimum_path(folder: Path, level: int) -> Path:
    """Return the path of the trained parameters of one level in a repeat's folder."""
    return folder / MINIMA_FOLDER / f"level_{level}.safetensors"


def checkpoint_path(folder: Path, level: int) -> Path:
    """Return the path of the training checkpoint of one level, which exists until the training is finished."""
    return folder / MINIMA_FOLDER / f"level_{level}.unfinished.safetensors"


def failure_path(folder: Path, level: int) -> Path:
    """Return the path of the record that tells why the training of one level failed."""
    return folder / MINIMA_FOLDER / f"level_{level}.failed.json"


def block_path(folder: Path, start: int, stop: int) -> Path:
    """Return the path of the crossings along the directions start…stop−1."""
    return folder / RAYS_FOLDER / f"directions_{start:05d}_{stop:05d}.npz"


def gold_path(folder: Path, level: int) -> Path:
    """Return the path of one level's ln γ_σ by tethered Hamiltonian Monte Carlo."""
    return folder / GOLD_FOLDER / f"level_{level}.json"


def local_path(folder: Path, level: int) -> Path:
    """Return the path of one level's ln γ_σ by subset simulation."""
    return folder / LOCAL_FOLDER / f"level_{level}.json"


def sampler_path(folder: Path, level: int) -> Path:
    """Return the path of one level's ln γ_σ by tethered Hamiltonian Monte Carlo, at the widths of its local volumes."""
    return folder / TETHERED_FOLDER / f"level_{level}.json"


def sharpness_path(folder: Path, level: int) -> Path:
    """Return the path of the sharpness measures of one level."""
    return folder / SHARPNESS_FOLDER / f"level_{level}.json"


def comparison_paths(scale: str) -> tuple[Path, Path]:
    """Return the paths of the comparison with the published numbers and of that of the trends."""
    return ROOT / scale / COMPARISON, ROOT / scale / COMPARISON_TRENDS


def crossings_key(level: int, name: str) -> str:
    """Return the name of a level's array in a block, such as its coefficients."""
    return f"level_{level}.{name}"


def parameter_key(name: str) -> str:
    """Return the name of a parameter's tensor in the file of a minimum."""
    return _NETWORK + name


def network_in(tensors: Mapping[str, T]) -> dict[str, T]:
    """Return the tensors of the network by their names in it, from those of the file of a minimum."""
    return {name.removeprefix(_NETWORK): tensor for name, tensor in tensors.items() if name.startswith(_NETWORK)}


def repeat_of(folder: Path) -> int | None:
    """Parse the number of a repeat from its folder's name; None for any other name."""
    found = re.fullmatch(rf"repeat_({_NUMBER})", folder.name)
    return int(found[1]) if found else None


def level_of(path: Path) -> int | None:
    """Parse the level from the name of a minimum, checkpoint, failure or gold file; None for any other name."""
    found = re.fullmatch(rf"level_({_NUMBER})\.((unfinished\.)?safetensors|(failed\.)?json)", path.name)
    return int(found[1]) if found else None


def directions_of(path: Path) -> tuple[int, int] | None:
    """Parse `start` and `stop` from the name of a block; None for any other name."""
    found = re.fullmatch(r"directions_([0-9]{5,})_([0-9]{5,})\.npz", path.name)
    return (int(found[1]), int(found[2])) if found and int(found[1]) < int(found[2]) else None


def repeats_with(scale: str, study: str, name: str) -> list[int]:
    """Return the numbers of a study's repeats whose folder has a file of this name, in ascending order."""
    numbers = (repeat_of(path.parent) for path in study_folder(scale, study).glob(f"repeat_*/{name}"))
    return sorted(number for number in numbers if number is not None)


def blocks_in(folder: Path) -> dict[tuple[int, int], Path]:
    """Return the blocks in a repeat's folder by `start` and `stop` of their directions."""
    blocks = {directions_of(path): path for path in (folder / RAYS_FOLDER).glob("directions_*.npz")}
    return {span: path for span, path in blocks.items() if span is not None}


def studies_with_volumes(scale: str) -> list[str]:
    """Return the studies of a scale that have a table of volumes, by name."""
    return sorted(path.parent.name for path in (ROOT / scale).glob(f"*/{VOLUMES}"))


def display_path(path: Path) -> Path:
    """Return a path relative to the working folder if it is inside."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
