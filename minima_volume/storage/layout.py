"""The only owner of paths and columns under `results/`."""

import os
from pathlib import Path

ROOT = Path(os.environ.get("RESULTS_DIR", "results"))
VOLUME_COLUMNS = (
    "study", "data", "model", "repeat", "level", "landscape", "threshold", "metric", "status", "n_params", "n_directions",
    "n_crossed", "n_recrossed", "log_volume", "log_volume_se", "verdict", "effective_size", "largest_share", "doubling",
    "pareto_k", "typical_log_volume", "typical_log_volume_se", "log_volume_grid", "grid_directions", "loss_at_zero",
    "train_loss", "test_loss", "test_accuracy", "train_accuracy", "unseen_accuracy",
)  # fmt: skip
SLICE_COLUMNS = ("repeat", "level", "n_train", "radius_1", "radius_2", "seen_loss", "unseen_loss")
CUTOFF_COLUMNS = ("study", "data", "model", "repeat", "level", "threshold", "cutoff", "n_samples", "final_mean_loss")


def study_folder(scale: str, study: str) -> Path:
    """Where a study's tables lie."""
    return ROOT / scale / study


def repeat_folder(scale: str, study: str, repeat: int) -> Path:
    """Where one repeat's minima and radii lie."""
    return study_folder(scale, study) / f"repeat_{repeat}"


def minimum_path(folder: Path, level: int) -> Path:
    """The trained parameters of one level."""
    return folder / "minima" / f"level_{level}.safetensors"


def checkpoint_path(folder: Path, level: int) -> Path:
    """Where the training up to a level stands, until it is done."""
    return folder / "minima" / f"level_{level}.unfinished.safetensors"


def failure_path(folder: Path, level: int) -> Path:
    """Why the training of one level gave no minimum."""
    return folder / "minima" / f"level_{level}.failed.json"


def block_path(folder: Path, start: int, stop: int) -> Path:
    """The crossings along the directions start…stop−1."""
    return folder / "rays" / f"directions_{start:05d}_{stop:05d}.npz"


def display_path(path: Path) -> Path:
    """A path as a reader would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
