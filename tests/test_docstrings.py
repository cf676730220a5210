"""Docstrings: examples run as written, and the sections of public names describe their signatures."""

import ast
import doctest
import inspect
import re
import socket
import tempfile
from importlib import import_module
from pathlib import Path

import pytest

import minima_volume
from tests.project import ROOT

PACKAGE = sorted((ROOT / "minima_volume").rglob("*.py"))
WITH_EXAMPLES = [path for path in PACKAGE if ">>>" in path.read_text()]
# Objects that a library user calls, beside those of minima_volume.__all__.
WITH_EXAMPLE_TOO = {
    "minima_volume.estimators.cutoff": "cutoff",
    "minima_volume.estimators.published": "grid_log_volume",
    "minima_volume.estimators.radial": "log_mean_power",
    "minima_volume.estimators.volume": "estimate_volume",
}
PUBLIC = {name: getattr(minima_volume, name) for name in minima_volume.__all__}
FUNCTIONS = sorted(name for name, public in PUBLIC.items() if inspect.isfunction(public))
CLASSES = sorted(name for name, public in PUBLIC.items() if inspect.isclass(public))


def dotted(path: Path) -> str:
    """The name by which a file of the package is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def sections(docstring: str) -> dict[str, str]:
    """The text of each section of a Google style docstring by its title."""
    parts = re.split(r"^(Args|Returns|Yields|Raises|Attributes|Example):\n", docstring, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def described(docstring: str) -> list[str]:
    """The parameters that the section Args describes, in its order, without stars."""
    return re.findall(r"^    \*{0,2}(\w+)(?: \([^)]*\))?: ", sections(docstring).get("Args", ""), re.MULTILINE)


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=dotted)
def test_examples_run_as_written(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("examples must not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = doctest.testmod(import_module(dotted(path)), report=True)
    assert found.attempted and not found.failed
    # torch makes the folder of its compiler's cache when forward-mode derivatives are first used.
    left = [path.name for path in tmp_path.iterdir() if not path.name.startswith("torchinductor_")]
    assert not left, "an example leaves files behind"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_functions_describe_arguments_and_result_with_an_example(name: str) -> None:
    text = inspect.getdoc(PUBLIC[name]) or ""
    assert {"Args", "Returns", "Example"} <= sections(text).keys()
    assert described(text) == list(inspect.signature(PUBLIC[name]).parameters)
    assert ">>> " in sections(text)["Example"]


@pytest.mark.parametrize("name", CLASSES)
def test_public_classes_have_a_docstring(name: str) -> None:
    text = PUBLIC[name].__doc__ or ""
    # A dataclass without a docstring gets its signature as one.
    assert text.strip() and not text.startswith(f"{PUBLIC[name].__name__}(")


@pytest.mark.parametrize(("module", "name"), WITH_EXAMPLE_TOO.items())
def test_estimators_have_an_example(module: str, name: str) -> None:
    assert ">>> " in sections(inspect.getdoc(getattr(import_module(module), name)) or "").get("Example", "")


def test_a_measurement_has_an_example() -> None:
    assert ">>> " in sections(inspect.getdoc(minima_volume.Measurement) or "").get("Example", "")


@pytest.mark.parametrize("path", PACKAGE, ids=dotted)
def test_described_parameters_are_those_of_the_signature(path: Path) -> None:
    """A section Args that is there names all parameters in their order; so a renamed one is noticed."""
    wrong = {}
    for node in ast.walk(ast.parse(path.read_text())):
        names = described(ast.get_docstring(node) or "") if isinstance(node, ast.FunctionDef) else []
        if isinstance(node, ast.FunctionDef) and names:
            own = [*node.args.posonlyargs, *node.args.args, node.args.vararg, *node.args.kwonlyargs, node.args.kwarg]
            parameters = [each.arg for each in own if each is not None and each.arg not in ("self", "cls")]
            if names != parameters:
                wrong[node.name] = (names, parameters)
    assert not wrong


def test_the_parser_of_sections_finds_what_is_missing() -> None:
    """The checks above compare with what this parser finds, so it is tested on a docstring of its own."""
    text = "Do it.\n\nArgs:\n    first: One\n        more: text.\n    *rest (int): Others.\n\nReturns:\n    A number.\n"
    assert described(text) == ["first", "rest"] and list(sections(text)) == ["Args", "Returns"]
    assert described("Do it.") == []
