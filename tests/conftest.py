"""Fixtures that tests share: one thread, a clean environment, small networks, stages, data, films, figures, devices."""

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
from torch import nn

from minima_volume.pipeline import parallel, random_perturbs, settings, train_models, volume_cutoff, volume_estimation
from minima_volume.storage import layout
from minima_volume.training.datasets import IDX_FILES
from tests.fake_devices import Pretended
from tests.project import ROOT


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Use one torch thread, like the workers of a stage."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove all settings of the calling shell and of `make test` but DATA_DIR; restore the excepthook afterwards."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    for name in (
        "SCALE",
        "REPEATS",
        "DIRECTIONS",
        "LEVELS",
        "THREADS",
        "MEMORY",
        "DEVICE",
        "DEBUG",
        "CLUSTER",
        "JOBS",
        "SLURM",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def data_dir() -> Path:
    """Return the folder of the real data sets; skip the test if it is missing."""
    folder = ROOT / (os.environ.get("DATA_DIR") or "data")
    if not all((folder / "MNIST" / "raw" / name).is_file() for name in IDX_FILES):
        pytest.skip(f"the four MNIST archives are not in DATA_DIR={folder}")
    return folder


@pytest.fixture(scope="session")
def stages() -> dict[str, Callable[..., None]]:
    """Return the function of each stage by name."""
    return {
        "train_models": train_models.train_models,
        "random_perturbs": random_perturbs.random_perturbs,
        "volume_cutoff": volume_cutoff.volume_cutoff,
        "volume_estimation": volume_estimation.volume_estimation,
    }


@pytest.fixture(scope="session")
def finished(stages: dict[str, Callable[..., None]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the study folder of a finished run of two repeats. Read only."""
    from tests.study_runs import run

    return run(stages, tmp_path_factory.mktemp("results"), THREADS="1")


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """Copy the finished run with its file times; return the results folder."""
    shutil.copytree(finished, tmp_path / "paper" / "tiny")
    return tmp_path


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """Seed torch's global generator for every test."""
    torch.manual_seed(0)


@pytest.fixture
def seeded() -> Callable[[Callable[[], nn.Module], int], nn.Module]:
    """Return a function that builds a float64 model in evaluation mode from a seed; the global generator keeps its state."""

    def build(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return make().double().eval()

    return build


@pytest.fixture
def no_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Read and write results in an empty temporary folder; return its parent."""
    monkeypatch.setattr(layout, "ROOT", tmp_path / "results")
    return tmp_path


@pytest.fixture
def folders(no_results: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Read results from a temporary folder and draw figures into it; close the figures afterwards."""
    from minima_volume.drawing import output

    monkeypatch.setattr(output, "ROOT", no_results / "figs")
    yield
    plt.close("all")


@pytest.fixture
def picture(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType, str, str], Figure]:
    """Return a function that draws a figure and returns it instead of saving it."""
    from minima_volume.drawing import style

    def drawn(module: ModuleType, study: str, scale: str = "paper") -> Figure:
        kept: list[Figure] = []
        monkeypatch.setattr(style, "save", lambda figure, path: kept.append(figure) or [path])
        assert module.draw(study, scale), f"{module.__name__} drew nothing"
        return kept[0]

    return drawn


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a small synthetic plane and its file."""
    from videos import speed

    path = tmp_path_factory.mktemp("plane") / "example_plane.npz"
    return speed.example(path, 12, side=21), path


@pytest.fixture(scope="session")
def hands() -> Iterator[Any]:
    """Start two drawing processes, as for real films."""
    from videos import render

    with render.FramePool(2) as pair:
        yield pair


@pytest.fixture(scope="session")
def film(example: Any, hands: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Make a film with two processes; return it and its folder."""
    from tests.videos.films import TINY
    from videos import render, surface_contours

    data, path = example
    states = render.timeline(len(data.sizes), 1.2, TINY.fps, [(5, 0.5)])
    made, folder = (
        render.Film("short", surface_contours.Contours(path), states, 5, ""),
        tmp_path_factory.mktemp("films"),
    )
    made.make(folder, TINY, hands)
    return made, folder


@pytest.fixture(params=["pretended cuda", "pretended mps", "cuda", "mps"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the name of a device that this machine has, or of a fake one while the test runs."""
    *pretended, name = request.param.split()
    if not pretended:
        if not settings.devices()[name]:
            pytest.skip(f"this machine has no {name} device")
        yield name
        return
    monkeypatch.setattr(settings, "devices", lambda: {"cpu": True, name: True})
    # Answers that a driver would give.
    for call in ("get_rng_state", "set_rng_state"):
        monkeypatch.setattr(torch.cuda, call, lambda *_: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a pretended GPU")
    # PyTorch's modes apply to one thread, so each worker enters its own.
    enter = Pretended(name).__enter__
    monkeypatch.setattr(parallel, "ThreadPoolExecutor", lambda count, **_: ThreadPoolExecutor(count, initializer=enter))
    with Pretended(name):
        yield name
