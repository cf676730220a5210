"""What every test shares: one torch thread, a clean environment, small networks, the stage scripts, the real data."""

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from minima_volume.datasets import IDX_FILES

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("train_models", "random_perturbs", "volume_cutoff", "volume_estimation")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """One torch thread, as every worker of a stage has."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the calling shell or of `make test` reaches a test, except DATA_DIR."""
    for name in ("SCALE", "REPEATS", "DIRECTIONS", "THREADS", "MEMORY", "DEVICE", "DEBUG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def data_dir() -> Path:
    """The folder of the real data sets; tests that need it are skipped where it is not there."""
    folder = ROOT / (os.environ.get("DATA_DIR") or "data")
    if not all((folder / "MNIST" / "raw" / name).is_file() for name in IDX_FILES):
        pytest.skip(f"the four MNIST archives are not in DATA_DIR={folder}")
    return folder


@pytest.fixture(scope="session")
def stages() -> Iterator[dict[str, Callable[..., None]]]:
    """The work of each stage script of MNIST/ by name, imported as `python MNIST/SCRIPT.py` would."""
    names = ("config", *STAGES)
    sys.path.insert(0, str(ROOT / "MNIST"))
    for name in names:
        sys.modules.pop(name, None)
    yield {name: getattr(importlib.import_module(name), name) for name in STAGES}
    sys.path.remove(str(ROOT / "MNIST"))
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def seeded() -> Callable[[Callable[[], nn.Module], int], nn.Module]:
    """Builds a float64 model in evaluation mode from a seed, and leaves torch's global generator as it was."""

    def build(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return make().double().eval()

    return build
