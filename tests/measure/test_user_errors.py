"""Every error message that a user can meet, with the mistake that causes it; no error is without a mistake."""

import ast
import re
from collections.abc import Collection, Iterator

import pytest

import minima_volume
from minima_volume.errors import UserError
from tests.api_errors import API_MISTAKES
from tests.landscape_errors import LANDSCAPE_MISTAKES
from tests.measure.zoo.cases import ZOO
from tests.measure.zoo.outcome import measured
from tests.project import ROOT, sources
from tests.result_errors import RESULT_MISTAKES
from tests.user_errors import MAKE_MISTAKES

# `tests/measure/test_zoo.py` checks the sentences of these.
ZOO_MISTAKES = tuple(
    (case.name, "Expected", lambda *_, case=case: measured(case)) for case in ZOO.cases if case.refusal
)
MISTAKES = (*MAKE_MISTAKES, *API_MISTAKES, *RESULT_MISTAKES, *LANDSCAPE_MISTAKES, *ZOO_MISTAKES)


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> list[BaseException]:
    """The error that each mistake causes."""
    found = []
    for _, _, trigger in MISTAKES:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Exception) as caught:
            trigger(tmp_path_factory.mktemp("mistake"), patch)
        found.append(caught.value)
    return found


@pytest.mark.parametrize("i", range(len(MISTAKES)), ids=[did for did, _, _ in MISTAKES])
def test_a_mistake_is_reported(i: int, errors: list[BaseException]) -> None:
    assert MISTAKES[i][1] in str(errors[i])
    # ValueError and AttributeError are for programmers, who call a function with arguments that it cannot take.
    assert isinstance(errors[i], UserError) or type(errors[i]) in (ValueError, AttributeError)


# Their errors are triggered in tests/analysis, tests/cluster, tests/figures, tests/planes and tests/videos.
TESTED_ELSEWHERE = [["analysis"], ["cluster"], ["drawing"], ["planes"]]


def modules() -> dict[str, str]:
    """Return the source of every module of the package by its dotted name."""
    paths = [path for path in sources() if path.relative_to(ROOT).parts[0] == "minima_volume"]
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    return {name.removesuffix(".__init__"): path.read_text() for name, path in names.items()}


def reached_modules() -> set[str]:
    """Return the modules that scripts of make and public names import, directly or through others."""
    package = modules()
    scripts = [
        path
        for path in sources()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] not in ("minima_volume", "tests")
    ]
    left = ["minima_volume", *re.findall(r"-m (minima_volume\.[\w.]+)", (ROOT / "Makefile").read_text())]
    left += list(minima_volume._HOMES.values())
    left += [name for path in scripts for name in _imported(path.read_text(), package)]
    found: set[str] = set()
    while left:
        if (name := left.pop()) not in found:
            found.add(name)
            left += _imported(package[name], package)
    return found


def _imported(source: str, package: Collection[str]) -> list[str]:
    """Return the modules of the package that a source imports."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom) and node.module]
    names = [
        name for node in nodes for alias in node.names for name in (str(node.module), f"{node.module}.{alias.name}")
    ]
    return [name for name in names if name in package]


def raised_errors() -> Iterator[tuple[str, str]]:
    """Yield the place and a pattern of the whole message of every error with a text of its own that a user can meet."""
    package = modules()
    for name in sorted(name for name in reached_modules() if name.split(".")[1:2] not in TESTED_ELSEWHERE):
        for node in ast.walk(ast.parse(package[name])):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("Error"):
                pattern = _pattern(node.args[0]) if node.args else ""
                if re.search(r"\w", pattern.replace(".*", "")):
                    yield f"{name}:{node.lineno}", pattern


def _pattern(text: ast.expr) -> str:
    """Return a regular expression for a literal or formatted string, whose fields match anything."""
    if isinstance(text, ast.Constant):
        return re.escape(str(text.value))
    if isinstance(text, ast.JoinedStr):
        return "".join(_pattern(part) if isinstance(part, ast.Constant) else ".*" for part in text.values)
    return ".*"


def test_every_error_of_the_package_has_a_trigger(errors: list[BaseException]) -> None:
    texts, places = [str(error) for error in errors], list(raised_errors())
    silent = [place for place, pattern in places if not any(re.fullmatch(pattern, text, re.DOTALL) for text in texts)]
    core = {"pipeline.cli", "storage.archives", "training.datasets", "training.trainer", "measure"}
    assert {f"minima_volume.{name}" for name in core} <= reached_modules(), "imports are not followed"
    assert len(places) > 60, "errors are not found"
    assert not silent, f"errors without a mistake: {', '.join(silent)}"
