"""Who may import whom, read from the syntax trees: downwards in the package, never sideways between experiments."""

import ast
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from conftest import ROOT, STAGES

# A module imports only from modules named before it.
ORDER = [
    "errors", "geometry", "verdict", "profile", "paired", "parameters", "directions", "precision", "losses",
    "datasets", "interventions", "models", "optim", "points", "criteria", "preconditioned", "stacked", "backprop",
    "training", "landscape", "hardest", "bridges", "potential", "hamiltonian", "gold", "annealed", "volume",
    "polish", "radius", "ladder", "close_in", "cutoff", "sweep", "files", "results", "measurement", "plan", "measure",
    "bodies", "experiment", "workload", "unfinished", "minima", "rays", "tables", "stage", "scaffold",
]  # fmt: skip
# What a figure may know: stored tables and arrays, and arithmetic on them.
FOR_FIGURES = {"errors", "files", "geometry", "results", "volume"}
PACKAGE = sorted((ROOT / "minima_volume").glob("*.py"))
EXPERIMENTS = sorted(path.parent for path in ROOT.glob("*/studies.mk"))
SCRIPTS = sorted(chain.from_iterable(folder.glob("*.py") for folder in EXPERIMENTS))
FIGURES = sorted((ROOT / "figs").glob("*.py"))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imported(path: Path) -> Iterator[str]:
    """Dotted names that a file imports anywhere, `from a import b` as a.b."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def from_package(path: Path) -> set[str]:
    """Modules of the package that a file imports."""
    return {name.split(".")[1] for name in imported(path) if name.startswith("minima_volume.")}


def tops(path: Path) -> set[str]:
    """First parts of what a file imports."""
    return {name.split(".")[0] for name in imported(path)}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_module_has_its_place() -> None:
    assert sorted([*ORDER, "__init__"]) == [path.stem for path in PACKAGE]


@pytest.mark.parametrize("path", PACKAGE, ids=named)
def test_the_package_imports_downwards(path: Path) -> None:
    # The package itself knows only how to tell what goes wrong while its modules load.
    below = ORDER[: ORDER.index(path.stem)] if path.stem in ORDER else ["errors"]
    assert from_package(path) <= set(below)


@pytest.mark.parametrize("path", PACKAGE, ids=named)
def test_the_package_knows_no_experiment_and_no_figure(path: Path) -> None:
    folders = {each.name for each in ROOT.iterdir() if each.is_dir()} - {"minima_volume"}
    scripts = {each.stem for each in (*SCRIPTS, *FIGURES)} - {path.stem for path in PACKAGE}
    assert not tops(path) & (folders | scripts)


@pytest.mark.parametrize("path", SCRIPTS, ids=named)
def test_experiments_import_the_package_and_their_own_config(path: Path) -> None:
    allowed = {"minima_volume", *sys.stdlib_module_names} | ({"config"} if path.stem in STAGES else set())
    assert tops(path) <= allowed


@pytest.mark.parametrize("folder", EXPERIMENTS, ids=named)
def test_experiments_share_their_stages(folder: Path) -> None:
    assert {path.name for path in folder.glob("*.py")} == {"config.py", *(f"{name}.py" for name in STAGES)}
    for name in STAGES:  # wiring may repeat, but it must not drift apart
        assert (folder / f"{name}.py").read_text() == (ROOT / "MNIST" / f"{name}.py").read_text()


@pytest.mark.parametrize("path", FIGURES, ids=named)
def test_figures_read_and_do_not_measure(path: Path) -> None:
    assert from_package(path) <= FOR_FIGURES
    assert not tops(path) & ({folder.name for folder in EXPERIMENTS} | {"torch"})


@pytest.mark.parametrize("path", PACKAGE, ids=named)
def test_assert_is_for_tests(path: Path) -> None:
    assert not [node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.Assert)]


@pytest.mark.parametrize("path", [*PACKAGE, *SCRIPTS], ids=named)
def test_public_things_say_what_they_are(path: Path) -> None:
    module = tree(path)
    public = [
        node
        for node in module.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    assert ast.get_docstring(module) and not [node.name for node in public if not ast.get_docstring(node)]
