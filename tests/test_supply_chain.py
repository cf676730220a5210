"""Supply chain: all dependencies are pinned, only checksummed data sets are downloaded, and nothing else is unpickled."""

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from minima_volume.pipeline import environment
from tests.project import ROOT, sources

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCES = [path for path in sources() if path.suffix == ".py" and "tests" not in path.parts]
# CIFAR-10 is published as pickles, whose checksums are verified before anything reads them.
UNPICKLER = "minima_volume/training/unpickling.py"  # admits arrays, lists, dictionaries, texts and numbers
# A user's own model goes to workers that the user has connected to, and never comes from a file.
PACKER = "minima_volume/crossings/packed.py"
ALLOWED = {UNPICKLER: {"pickle"}, PACKER: {"cloudpickle"}}


def pins() -> dict[str, str]:
    """Return the exact version of each distribution in constraints.txt that applies to this interpreter and system."""
    text = re.sub(r" *\\\n *--hash=\S+", "", (ROOT / "constraints.txt").read_text())
    lines = [Requirement(line) for line in text.splitlines()]
    here = [line for line in lines if line.marker is None or line.marker.evaluate()]
    assert all(re.fullmatch(r"==[\w.]+", str(line.specifier)) for line in lines), "a constraint that is not exact"
    return {canonicalize_name(line.name): str(line.specifier).removeprefix("==") for line in here}


def needed() -> set[str]:
    """Return all distributions that the project and the extras of make's environment need, from what is installed."""
    extras_here = [text for name, texts in PROJECT["optional-dependencies"].items() if name != "docs" for text in texts]
    asked = [*PROJECT["dependencies"], *extras_here, "uv"]
    left = [Requirement(text) for text in asked if not text.startswith("minima_volume[")]
    found: set[str] = set()
    while left:
        name = canonicalize_name((requirement := left.pop()).name)
        extras = [{"extra": extra} for extra in requirement.extras] or [{"extra": ""}]
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        try:
            further = [Requirement(text) for text in requires(name) or []]
        except PackageNotFoundError:  # for another system or interpreter
            continue
        found.add(name)
        left += [
            Requirement(str(r).split(";")[0])
            for r in further
            if r.marker is None or any(r.marker.evaluate(extra) for extra in extras)
        ]
    return found


def test_every_dependency_is_pinned_to_what_is_installed() -> None:
    found, pinned = needed(), pins()
    assert {"torch", "numpy", "hypothesis", "sortedcontainers"} <= found, (
        "the dependencies of dependencies are not found"
    )
    assert not found - set(pinned), f"not in constraints.txt: {', '.join(sorted(found - set(pinned)))}"
    other = [name for name in sorted(found) if version(name).split("+")[0] != pinned[name]]
    assert not other, f"installed in another version than constraints.txt says: {', '.join(other)}"


def test_every_pin_has_the_checksums_of_its_files() -> None:
    entries = re.split(r"(?m)^(?=\S)", (ROOT / "constraints.txt").read_text())[1:]
    assert len(entries) > 100
    form = re.compile(r"[^\\\n]+( \\\n    --hash=sha256:[0-9a-f]{64})+\n")
    assert [entry.partition(" ")[0] for entry in entries if not form.fullmatch(entry)] == []


def test_the_makefile_installs_with_the_pins() -> None:
    installs = re.findall(r"^.*\binstall\b.*$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    recipes = [line for line in installs if line.startswith("\t")]
    assert recipes and all(re.search(r"-c \S*constraints\.txt", line) for line in recipes)


def test_the_environment_is_installed_with_the_pins() -> None:
    text = (ROOT / "minima_volume" / "pipeline" / "environment.py").read_text()
    assert text.count('"install"') == 2
    assert '"--require-hashes", "--no-deps", "-r", installer' in text and '"-c", pinned, "-b", pinned' in text
    assert environment.MADE_FROM[1] == "constraints.txt"


def test_a_backend_of_torch_has_no_checksums_of_another_index() -> None:
    without = environment.constraints(ROOT, backend="cpu")
    assert "\ntorch==2.13.0\n" in without and re.search(r"\ntorchvision==\S+\n", without)
    assert re.search(r"\nnumpy==\S+[^\n]* \\\n    --hash", without)
    assert environment.constraints(ROOT, backend="") == (ROOT / "constraints.txt").read_text()


def imported(module: ast.Module) -> Iterator[str]:
    """Yield the top-level names of the modules that a file imports anywhere."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def unsafe_calls(module: ast.Module) -> Iterator[str]:
    """Yield calls that run, or may run, code from a file."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            lenient = any(k.arg == "allow_pickle" and ast.unparse(k.value) != "False" for k in node.keywords)
            strict = any(k.arg == "allow_pickle" for k in node.keywords)
            if name in ("torch.load", "exec", "eval") or lenient or (name in ("np.load", "numpy.load") and not strict):
                yield f"{name}, line {node.lineno}"


def test_the_sources_are_found() -> None:
    names = {str(path.relative_to(ROOT)) for path in SOURCES}
    assert {"minima_volume/storage/archives.py", "MNIST/config.py", "figs/draw.py", *ALLOWED} <= names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_unpickled_or_downloaded(path: Path) -> None:
    module = ast.parse(path.read_text())
    unsafe = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    online = {"urllib", "requests", "http", "socket", "ftplib", "aiohttp", "httpx"}
    allowed = ALLOWED.get(str(path.relative_to(ROOT)), set())
    assert not (set(imported(module)) & (unsafe | online)) - allowed
    assert not list(unsafe_calls(module))


def test_the_makefile_downloads_nothing_itself() -> None:
    assert not re.search(r"\b(curl|wget|git clone|scp|rsync)\b", (ROOT / "Makefile").read_text())


@pytest.mark.parametrize(
    "source", ["torch.load(path)", "np.load(path)", "np.load(path, allow_pickle=True)", "exec(text)", "eval(text)"]
)
def test_unsafe_calls_are_found(source: str) -> None:
    assert list(unsafe_calls(ast.parse(source)))
    assert not list(unsafe_calls(ast.parse("np.load(path, allow_pickle=False)")))
