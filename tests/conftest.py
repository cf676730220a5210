"""What tests share: one thread, a clean environment, small networks, scripts, real data, films, figures, devices."""

import importlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from pretend import Pretended
from torch import nn

from minima_volume import experiment, results, stage
from minima_volume.datasets import IDX_FILES

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("train_models", "random_perturbs", "volume_cutoff", "volume_estimation")
# Figures and toy diagrams import each other by bare names, as scripts of one folder do.
sys.path[:0] = [str(ROOT / "toy_models"), str(ROOT / "figs")]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """One torch thread, as every worker of a stage has."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the calling shell or of `make test` reaches a test, except DATA_DIR."""
    for name in ("SCALE", "REPEATS", "DIRECTIONS", "LEVELS", "THREADS", "MEMORY", "DEVICE", "DEBUG"):
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


@pytest.fixture(scope="session")
def finished(stages: dict[str, Callable[..., None]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two repeats, to read only."""
    from running import run

    return run(stages, tmp_path_factory.mktemp("results"), THREADS="1")


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, times of change included; its results folder."""
    shutil.copytree(finished, tmp_path / "paper" / "tiny")
    return tmp_path


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """Torch's own generator starts alike in every test, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture
def seeded() -> Callable[[Callable[[], nn.Module], int], nn.Module]:
    """Builds a float64 model in evaluation mode from a seed, and leaves torch's global generator as it was."""

    def build(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return make().double().eval()

    return build


@pytest.fixture
def no_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose results/ is empty, in the place of the repository's."""
    monkeypatch.setattr(results, "ROOT", tmp_path / "results")
    return tmp_path


@pytest.fixture
def folders(no_results: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Results are read from, and figures drawn into, a temporary folder; figures are closed afterwards."""
    import tables

    monkeypatch.setattr(tables, "ROOT", no_results / "figs")
    yield
    plt.close("all")


@pytest.fixture
def picture(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType, str, str], Figure]:
    """Draws a figure and returns it instead of saving it."""
    import style

    def drawn(module: ModuleType, study: str, scale: str = "paper") -> Figure:
        kept: list[Figure] = []
        monkeypatch.setattr(style, "save", lambda figure, path: kept.append(figure) or [path])
        assert module.draw(study, scale), f"{module.__name__} drew nothing"
        return kept[0]

    return drawn


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small made-up plane and its file."""
    from filming import speed

    path = tmp_path_factory.mktemp("plane") / "example_plane.npz"
    return speed.example(path, 12, side=21), path


@pytest.fixture(scope="session")
def hands() -> Iterator[Any]:
    """Two processes that draw, as for real films."""
    from filming import movie

    with movie.Hands(2) as pair:
        yield pair


@pytest.fixture(scope="session")
def film(example: Any, hands: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A film made by two processes, and its folder."""
    from filming import TINY, movie, surface_contours

    data, path = example
    states = movie.timeline(len(data.sizes), 1.2, TINY.fps, [(5, 0.5)])
    made, folder = movie.Film("short", surface_contours.Contours(path), states, 5, ""), tmp_path_factory.mktemp("films")
    made.make(folder, TINY, hands)
    return made, folder


@pytest.fixture(scope="session")
def benchmarks() -> dict[str, ModuleType]:
    """The benchmark's scripts as `python benchmarks/bench.py` would import them."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    names = ("bench", "schemes", "timing", "rendering", "accelerator", "report")
    found = {name: importlib.import_module(name) for name in names}
    sys.path.remove(str(ROOT / "benchmarks"))
    return found


@pytest.fixture(params=["pretended cuda", "pretended mps", "cuda", "mps"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a device that this machine has, or that is pretended while the test runs."""
    *pretended, name = request.param.split()
    if not pretended:
        if not experiment.devices()[name]:
            pytest.skip(f"this machine has no {name} device")
        yield name
        return
    monkeypatch.setattr(experiment, "devices", lambda: {"cpu": True, name: True})
    # What a driver would answer.
    for call in ("get_rng_state", "set_rng_state"):
        monkeypatch.setattr(torch.cuda, call, lambda *_: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a pretended GPU")
    # PyTorch's modes hold for one thread, so a worker enters its own.
    enter = Pretended(name).__enter__
    monkeypatch.setattr(stage, "ThreadPoolExecutor", lambda count, **_: ThreadPoolExecutor(count, initializer=enter))
    with Pretended(name):
        yield name
