"""Who may import whom: the map in docs/architecture.md against the imports in the syntax trees."""

import ast
import re
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from tests.project import OPTIONAL, ROOT, STAGES

PACKAGE = sorted((ROOT / "minima_volume").rglob("*.py"))
EXPERIMENTS = sorted(path.parent for path in ROOT.glob("*/studies.mk"))
SCRIPTS = sorted(chain.from_iterable(folder.glob("*.py") for folder in EXPERIMENTS))
# What drawing code may know of the package: stored tables, arithmetic on them, and the look.
FOR_FIGURES = {"errors", "storage", "estimators", "analysis", "drawing"}
WITHOUT_TORCH = FOR_FIGURES
DRAWS = {"figs": FOR_FIGURES, "videos": FOR_FIGURES | {"landscapes", "planes"}, "toy_models": {"drawing"}}
DRAWERS = sorted(path for folder in DRAWS for path in (ROOT / folder).glob("*.py"))


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


def wings_of(path: Path) -> set[str]:
    """Wings of the package that a file imports."""
    return {name.split(".")[1] for name in imported(path) if name.startswith("minima_volume.")}


def tops(path: Path) -> set[str]:
    """First parts of what a file imports."""
    return {name.split(".")[0] for name in imported(path)}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def floors() -> list[set[str]]:
    """The map of docs/architecture.md: the wings of every floor, the lowest first."""
    (block,) = re.findall(
        r"^```wings\n(.*?)^```", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE | re.DOTALL
    )
    return [set(line.split()) for line in block.splitlines()]


def wing_of(path: Path) -> str:
    """The wing that a file of the package belongs to; a module at the top is a wing of its own."""
    return path.relative_to(ROOT / "minima_volume").with_suffix("").parts[0]


def test_the_map_names_every_wing_once() -> None:
    mapped = [wing for floor in floors() for wing in sorted(floor)]
    assert sorted(mapped) == sorted({wing_of(path) for path in PACKAGE} - {"__init__"})


@pytest.mark.parametrize("path", PACKAGE, ids=named)
def test_a_wing_imports_only_wings_above_it_in_the_map(path: Path) -> None:
    own, below = wing_of(path), floors()
    # The package itself may only tell what goes wrong while its modules load.
    place = next((i for i, floor in enumerate(below) if own in floor), 1)
    assert wings_of(path) - {own} <= set().union(*below[:place])


def test_no_module_imports_itself_through_others() -> None:
    dotted = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in PACKAGE}
    names = {name.removesuffix(".__init__"): path for name, path in dotted.items()}
    graph = {
        name: {part for each in imported(path) for part in (each, each.rpartition(".")[0]) if part in names} - {name}
        for name, path in names.items()
    }
    left = dict(graph)
    while free := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in free:
            del left[name]
    assert not left, f"modules that import each other: {', '.join(sorted(left))}"


@pytest.mark.parametrize("path", PACKAGE, ids=named)
def test_the_package_knows_no_experiment_and_no_figure(path: Path) -> None:
    folders = {each.name for each in ROOT.iterdir() if each.is_dir()} - {"minima_volume"}
    assert not tops(path) & (folders | {"config"})


@pytest.mark.parametrize("path", [path for path in PACKAGE if wing_of(path) in WITHOUT_TORCH], ids=named)
def test_wings_that_load_fast_import_no_torch(path: Path) -> None:
    at_the_top = {
        alias.name.split(".")[0] for node in tree(path).body if isinstance(node, ast.Import) for alias in node.names
    }
    at_the_top |= {str(node.module).split(".")[0] for node in tree(path).body if isinstance(node, ast.ImportFrom)}
    assert not at_the_top & {"torch", "torchvision"}


@pytest.mark.parametrize("path", SCRIPTS, ids=named)
def test_experiments_import_the_package_and_their_own_config(path: Path) -> None:
    allowed = {"minima_volume", *sys.stdlib_module_names} | ({"config"} if path.stem in (*STAGES, *OPTIONAL) else set())
    assert tops(path) <= allowed


@pytest.mark.parametrize("folder", EXPERIMENTS, ids=named)
def test_stage_scripts_are_a_docstring_imports_and_one_call(folder: Path) -> None:
    assert {path.name for path in folder.glob("*.py")} == {
        "config.py",
        *(f"{name}.py" for name in (*STAGES, *OPTIONAL)),
    }
    for name in (*STAGES, *OPTIONAL):
        assert (folder / f"{name}.py").read_text() == (ROOT / "MNIST" / f"{name}.py").read_text()
        docstring, *imports, last = tree(folder / f"{name}.py").body
        assert isinstance(docstring, ast.Expr) and all(isinstance(node, ast.ImportFrom) for node in imports)
        assert ast.unparse(last) == f"if __name__ == '__main__':\n    main(STUDIES, {name})"


@pytest.mark.parametrize("path", DRAWERS, ids=named)
def test_pictures_are_drawn_and_not_measured(path: Path) -> None:
    folder = path.parent.name
    # The two commands that start drawing processes read THREADS and print; the one of the diagrams prints.
    commands = {("figs", "draw"): {"pipeline", "text"}, ("videos", "build"): {"pipeline", "text"}}
    commands[("toy_models", "diagram")] = {"text"}
    assert wings_of(path) <= DRAWS[folder] | commands.get((folder, path.stem), set())
    assert not tops(path) & ({each.name for each in EXPERIMENTS} | {"torch"})


@pytest.mark.parametrize("path", PACKAGE, ids=named)
def test_assert_is_for_tests(path: Path) -> None:
    assert not [node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.Assert)]


@pytest.mark.parametrize("path", [*PACKAGE, *SCRIPTS], ids=named)
def test_public_things_say_what_they_are(path: Path) -> None:
    module = tree(path)
    public = [
        node
        for node in module.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        # The signatures of an overload have the docstring of the function that follows them.
        and "overload" not in map(ast.unparse, node.decorator_list)
    ]
    assert ast.get_docstring(module) and not [node.name for node in public if not ast.get_docstring(node)]


def test_the_import_path_is_left_alone() -> None:
    files = [path for path in ROOT.rglob("*.py") if not {".venv", "build"} & set(path.relative_to(ROOT).parts)]
    surgery = "sys." + "path"
    changed = [
        named(path)
        for path in files
        if re.search(rf"{re.escape(surgery)}\s*(\[|=|\.)|setattr\(sys, .path", path.read_text())
    ]
    assert len(files) > 200 and not changed, f"{surgery} is changed in {', '.join(changed)}"


def test_what_is_waved_through_says_why() -> None:
    """A check that is switched off, and an `except` for everything: the line has a reason after it."""
    waved = re.compile(r"except (?:BaseException|Exception)\b(?!.*#)|except:|# (?:noqa|type: ignore)[\w:\[\], -]*$")
    for path in [*PACKAGE, *DRAWERS, *SCRIPTS, *(ROOT / "benchmarks").glob("*.py")]:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            bare = waved.search(line) and not re.search(r"# noqa: \w+ - \w", line)
            assert not bare, f"{named(path)}:{number}: {line.strip()}"


# What may read or write files itself: storage, and what handles sources, pages, users' files and the system's.
OWN_FILES = {
    "minima_volume/pipeline/environment.py", "minima_volume/pipeline/scaffold.py", "minima_volume/cluster/machine.py",
    "minima_volume/pipeline/chain.py",
    "minima_volume/analysis/blocks.py", "minima_volume/analysis/report.py",
    "videos/build.py", "videos/html_page.py", "videos/meshes.py", "videos/encode.py",
    "minima_volume/landscapes/exports.py", "minima_volume/landscapes/trajectory.py",
}  # fmt: skip
OPENS = re.compile(
    r"\.(?:read_text|read_bytes|write_text|write_bytes|open)\(|\bopen\(|\bsafe_open\b|np\.load|gzip\.open"
)
MOVABLE = re.compile(r"\bwrite_json\(|\btables\.write_table\(|movable=True|recorded=False")


def test_stored_files_are_opened_by_storage_only() -> None:
    """A reader of its own would skip checksum, place and size."""
    others = [path for path in [*PACKAGE, *DRAWERS] if path.parent.name != "storage" and named(path) not in OWN_FILES]
    assert len(others) > 150
    for path in others:
        lines = [line.strip() for line in path.read_text().splitlines()]
        # The atomic writer of texts, and the place where output goes that nobody reads.
        own = [line for line in lines if OPENS.search(re.sub(r"atomic\.write_text|os\.open\(os\.devnull", "", line))]
        assert not own, f"{named(path)}: {own}"


def test_only_files_of_users_lack_their_place_or_record() -> None:
    free = {named(path) for path in [*PACKAGE, *DRAWERS] if MOVABLE.search(path.read_text())}
    assert {name for name in free if "/storage/" not in name} == {
        "minima_volume/reports/files.py", "minima_volume/analysis/published.py",
        "minima_volume/landscapes/exports.py", "minima_volume/landscapes/trajectory.py",
    }  # fmt: skip
