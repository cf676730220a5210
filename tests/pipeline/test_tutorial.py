"""The tutorial docs/new-experiment.md: its steps, done as written, give a study that runs."""

import gzip
import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import md5
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from minima_volume.pipeline import cli
from minima_volume.pipeline.scaffold import new_experiment
from minima_volume.storage import layout
from minima_volume.storage import tables as storage_tables
from minima_volume.training import datasets
from minima_volume.training.recipe import Recipe
from tests.project import ROOT, STAGES, linked_project, row_of


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return linked_project(tmp_path)


TUTORIAL = (ROOT / "docs" / "new-experiment.md").read_text()


@pytest.fixture
def edited(project: Path) -> Path:
    """The copy after every step of the tutorial: a new folder, a row of IDX_SETS, and the study's row."""
    found = re.search(r"make new_experiment NAME=(\w+) FROM=(\w+)", TUTORIAL)
    assert found is not None
    new_experiment(project, found[1], found[2])
    entry, study = re.findall(r"```python\n(.*?)```", TUTORIAL, re.DOTALL)
    table = project / "minima_volume" / "training" / "datasets.py"
    table.write_text(table.read_text().replace("IDX_SETS = {\n", "IDX_SETS = {\n" + entry))
    config = project / "fashion" / "config.py"
    old = re.compile(r"^FASHION_DATA = Study\(.*?^\)\n", re.DOTALL | re.MULTILINE)
    config.write_text(old.sub(study, config.read_text()))
    return project


@pytest.fixture
def fashion(edited: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load the copy's data sets, and add the new one to those of the package."""
    spec = importlib.util.spec_from_file_location(
        "edited_datasets", edited / "minima_volume" / "training" / "datasets.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setitem(datasets.LOADERS, "fashion_mnist", module.LOADERS["fashion_mnist"])
    return module


def archives(module: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write ten noisy patterns as the archives of the data set, and make the copy expect their checksums."""
    rng, patterns = np.random.default_rng(0), np.random.default_rng(1).integers(0, 180, (10, 28, 28))
    folder.mkdir(parents=True)
    sums = []
    for name in datasets.IDX_FILES:
        labels = np.arange(1100 if name.startswith("train") else 200) % 10
        images = patterns[labels] + rng.integers(0, 75, (len(labels), 28, 28))
        array = images if "images" in name else labels
        sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
        (folder / name).write_bytes(
            gzip.compress(bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes())
        )
        sums.append(md5((folder / name).read_bytes()).hexdigest())
    row = replace(module.IDX_SETS["fashion_mnist"], md5=tuple(sums))
    monkeypatch.setitem(datasets.LOADERS, "fashion_mnist", lambda data_dir, seed: module.load_idx(row, data_dir, seed))


def test_the_study_of_the_tutorial_runs(
    edited: Path, fashion: ModuleType, stages: dict[str, Callable[..., None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    archives(fashion, edited / "data" / "FashionMNIST" / "raw", monkeypatch)
    monkeypatch.setenv("DATA_DIR", str(edited / "data"))
    monkeypatch.setenv("DIRECTIONS", "2")
    monkeypatch.setattr(layout, "ROOT", edited / "results")
    row = row_of(edited / "fashion")
    # The patterns are easy, so a tenth of the epochs is enough.
    studies = {"fashion_data": replace(row, quick={**row.quick, "recipe": Recipe(epochs=50)})}
    for script in (*STAGES, "gather"):
        last = [] if script in STAGES else ["--gather"]
        monkeypatch.setattr(sys, "argv", ["x.py", "fashion_data", "--scale", "quick", "--repeats", "0", *last])
        cli.main(studies, stages[script if script in STAGES else STAGES[-1]])
    folder = edited / "results" / "quick" / "fashion_data"
    found = storage_tables.read_table(folder / "volumes.csv", layout.VOLUME_COLUMNS)
    assert {row["data"] for row in found} == {"Fashion-MNIST"} and {row["level"] for row in found} == {
        "0",
        "240",
        "940",
    }
    assert all(row["status"] == "ok" and row["n_params"] == "235146" for row in found if row["threshold"] == "0.1")
    assert min(float(row["test_accuracy"]) for row in found) > 0.9  # so labels and images match


def test_the_checksums_of_the_tutorial_are_those_of_torchvision(fashion: ModuleType) -> None:
    from torchvision.datasets import FashionMNIST

    row = fashion.IDX_SETS["fashion_mnist"]
    assert dict(zip(datasets.IDX_FILES, row.md5, strict=True)) == dict(FashionMNIST.resources)
    assert FashionMNIST.__name__ == row.source


def test_the_edited_files_are_formatted(edited: Path) -> None:
    changed = [str(edited / "minima_volume" / "training" / "datasets.py"), str(edited / "fashion" / "config.py")]
    done = subprocess.run([sys.executable, "-m", "ruff", "format", "--check", *changed], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
