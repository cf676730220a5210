"""What a user of the library has installed: the needed packages alone, any system, and a wheel with every module."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement
from setuptools import find_packages

import minima_volume
from minima_volume.errors import UserError, extra
from tests.project import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = (
    "matplotlib",
    "pandas",
    "torchvision",
    "safetensors",
    "rich",
    "imageio",
    "imageio_ffmpeg",
    "plotly",
    "sklearn",
    "dask",
    "distributed",
    "dask_jobqueue",
)
# Modules of the standard library that Windows lacks.
POSIX = ("fcntl", "pwd", "grp", "resource", "termios", "tty", "pty", "syslog", "readline")
# A finder that is asked first, and packages that are hidden from it.
HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named '{{name}}'", name=name)
sys.meta_path.insert(0, Hidden())
"""
MEASURE = """
import torch
from minima_volume import measure_volume
model = torch.nn.Linear(3, 1, bias=False).eval()
torch.nn.init.zeros_(model.weight)
found = measure_volume(
    model, torch.nn.MSELoss(), (torch.eye(3), torch.zeros(3, 1)), threshold=0.03, n_directions=100, normalise=False,
    progress=False,
)
print(round(found.log_volume, 4))
"""
# ln of the volume of a ball of radius 0.3 in three dimensions, without the ball's constant.
EXACT = "-3.6119"


def fresh(names: tuple[str, ...], code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter in which some packages are not installed."""
    program = HIDE.format(names=set(names)) + code
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_hidden_packages_cannot_be_imported() -> None:
    done = fresh(EXTRAS, "import matplotlib")
    assert done.returncode != 0 and "No module named 'matplotlib'" in done.stderr


def test_measuring_needs_no_extra() -> None:
    done = fresh(EXTRAS, MEASURE)
    assert (done.returncode, done.stdout.strip()) == (0, EXACT), done.stderr


def test_saving_loading_and_printing_need_no_extra() -> None:
    code = MEASURE + (
        "import tempfile; from pathlib import Path; from minima_volume import Measurement\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    found.save(Path(folder) / 'a.json'); again = Measurement.load(Path(folder) / 'a.json')\n"
        "print(str(again) == str(found))\n"
    )
    done = fresh(EXTRAS, code)
    assert done.returncode == 0 and done.stdout.split() == [EXACT, "True"], done.stderr


def test_a_missing_extra_is_one_sentence() -> None:
    code = MEASURE + "try:\n    found.plot()\nexcept Exception as error:\n    print(type(error).__name__, error)\n"
    said = fresh(EXTRAS, code).stdout.splitlines()[1]
    sentence = "Expected matplotlib for plot(), which is not installed: pip install 'minima_volume[plot]'"
    assert said == f"UserError {sentence}"


def test_only_missing_modules_count_as_missing_extras() -> None:
    with pytest.raises(UserError, match=r"no_such_package for a test.*minima_volume\[plot\]"), extra("plot", "a test"):
        import no_such_package.part  # noqa: F401
    with pytest.raises(ZeroDivisionError), extra("plot", "a test"):
        _ = 1 / 0


def test_the_library_imports_nothing_that_only_posix_has() -> None:
    """Everything but torch and its kin, which have their own builds for Windows, is imported without these modules."""
    code = "\n".join(f"import {home}" for home in sorted(set(minima_volume._HOMES.values())))
    before = f"import torch, numpy, scipy, tqdm, filelock, asyncio\nfor name in {POSIX}: sys.modules.pop(name, None)\n"
    program = "import sys\n" + before + HIDE.format(names=set(POSIX)) + code
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "minima_volume").rglob("*.py")), ids=lambda path: path.stem)
def test_no_module_names_what_only_posix_has(path: object) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not names & set(POSIX)


def test_every_import_of_the_library_is_a_dependency_or_an_extra() -> None:
    needed = {Requirement(text).name for text in PROJECT["project"]["dependencies"]}
    assert needed == {"torch", "numpy", "scipy", "tqdm", "filelock"}
    code = "import sys, minima_volume.measure, minima_volume.measurement; print(*sys.modules)"
    loaded = set(fresh(EXTRAS, code).stdout.split())
    assert needed <= loaded and not loaded & set(EXTRAS)


def test_stages_on_threads_import_no_dask() -> None:
    dask = ("dask", "distributed", "dask_jobqueue")
    stages = "train_models, random_perturbs, volume_cutoff, volume_estimation, local_volumes, sharpness_table, cluster"
    done = fresh(dask, f"from minima_volume.pipeline import cli, {stages}")
    assert done.returncode == 0, done.stderr


def test_no_dependency_is_pinned_outside_the_constraints() -> None:
    texts = [*PROJECT["project"]["dependencies"]]
    texts += [text for group in PROJECT["project"]["optional-dependencies"].values() for text in group]
    assert texts and not [text for text in texts if "==" in text]


def test_the_wheel_holds_every_module() -> None:
    settings = PROJECT["tool"]["setuptools"]
    packages = set(find_packages(str(ROOT), **settings["packages"]["find"]))
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "minima_volume").rglob("*.py")}
    assert packages == {".".join(folder.parts) for folder in folders}
    here = ROOT / "minima_volume"
    others = {path for path in here.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    listed = {path for pattern in settings["package-data"]["minima_volume"] for path in here.glob(pattern)}
    assert others == listed and here / "py.typed" in listed


def test_the_version_has_one_home() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", minima_volume.__version__)
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "minima_volume.__version__"}
    assert "version" not in PROJECT["project"] and version("minima_volume")


def test_planes_need_no_extra_and_name_the_one_that_pictures_need() -> None:
    code = (
        "import torch; from minima_volume import loss_plane\n"
        "model = torch.nn.Linear(3, 1).eval()\n"
        "data = (torch.eye(3), torch.zeros(3, 1))\n"
        "plane = loss_plane(model, loss=torch.nn.MSELoss(), data=data, nodes=3, progress=False)\n"
        "print(plane.loss.shape)\n"
        "for draw in (plane.plot, plane.plot_surface, lambda: plane.to_html('plane.html')):\n"
        "    try:\n        draw()\n    except Exception as error:\n        print(str(error).rpartition('[')[2])\n"
    )
    done = fresh(EXTRAS, code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["(3,", "3)", "plot]'", "plot]'", "videos]'"]
