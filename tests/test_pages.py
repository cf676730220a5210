"""README.md and docs/: their links, their pictures, and the output that they quote."""

import os
import re
import runpy
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import minima_volume
from tests.project import ROOT

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
FOLDERS = ("figs", "videos", "toy_models", "docs", "benchmarks")
PICTURES = {".png", ".jpg", ".svg", ".gif", ".pdf", ".mp4"}
NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")
# Markdown links and images, `<img src="">`, and the figures and includes of the documentation.
LINK = re.compile(r"\]\(([^)\s]+)\)|\bsrc=\"([^\"]+)\"|^```\{(?:figure|image|include)\} (\S+)", re.MULTILINE)
ROLE = re.compile(r"\{doc\}`(?:[^`<]*<)?([^`>]+)>?`")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    """The text of a page without blocks of code, which may show links as text; figures are kept."""
    return re.sub(r"^```\w.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def links(path: Path) -> Iterator[str]:
    """Local links of a page, without addresses on the web."""
    for found in LINK.finditer(prose(path)):
        target = next(filter(None, found.groups()))
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors(path: Path) -> set[str]:
    """Names that a link to a page may carry after its #: labels, and headings as GitHub writes them."""
    text = path.read_text()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_local_link_leads_somewhere(page: Path) -> None:
    lost = []
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
        # `make docs` ends with a warning where the website has no such page.
        if page.parent == ROOT / "docs" and target.suffix == ".md" and f"]({link})" in page.read_text():
            lost += [link] * (target.parent != page.parent)
    assert not lost
    # Pages of the gallery are written by `make docs` from the examples.
    for name in ROLE.findall(page.read_text()):
        example = re.fullmatch(r"auto_examples/(\w+)", name)
        source = f"examples/{example[1]}.py" if example else f"{name}.md"
        assert name == "auto_examples/index" or (ROOT / "docs" / source).exists(), name


def test_every_tracked_picture_is_shown() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("only a repository knows what is tracked")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", "ls-files", *FOLDERS], cwd=ROOT, env=clean, capture_output=True, text=True, check=True
    )
    tracked = {name for name in done.stdout.splitlines() if Path(name).suffix in PICTURES}
    pages = (*PAGES, ROOT / "benchmarks" / "README.md", ROOT / "benchmarks" / "validation.md")
    shown = {
        os.path.relpath((page.parent / link.partition("#")[0]).resolve(), ROOT)
        for page in pages
        for link in links(page)
    }
    assert len(tracked) > 20 and not tracked - shown, f"shown on no page: {', '.join(sorted(tracked - shown))}"


def test_the_readme_is_short() -> None:
    assert (ROOT / "README.md").stat().st_size <= 8192


def test_the_readme_maps_every_folder() -> None:
    text = (ROOT / "README.md").read_text()
    table = text.partition("\n## Map\n")[2].partition("\n## ")[0]
    folders = {path.parent.name for path in ROOT.glob("*/*") if path.is_file() and not path.parent.name.startswith(".")}
    missing = [name for name in sorted(folders) if f"`{name}/" not in table and name not in ("build", "data")]
    assert not [name for name in missing if not name.endswith(".egg-info")]


def test_the_api_page_names_everything_that_is_public() -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    errors = re.search(r"automodule:: minima_volume\.errors\n\s+:members: (.*)", text)
    assert errors is not None
    public = set(re.findall(r"^\.\. auto\w+:: minima_volume\.(\w+)$", text, re.MULTILINE)) | set(errors[1].split(", "))
    assert public >= set(minima_volume.__all__)
    for module in ("rays", "crossings", "sampling", "planes", "testing"):
        assert f":: minima_volume.{module}." in text


# --- quoted output --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines that the README's example prints first: the measurement."""
    from contextlib import redirect_stdout
    from io import StringIO

    out = StringIO()
    with redirect_stdout(out):
        runpy.run_path(str(ROOT / "docs" / "examples" / "plot_your_network.py"))
    lines = out.getvalue().splitlines()
    return lines[: next(i for i, line in enumerate(lines) if line.startswith("log volume") and i > 0)]


def assert_same(quoted: str, line: str) -> None:
    """The same words, and numbers within 5 %: another processor rounds a thousand steps of training differently."""
    assert NUMBER.sub("#", quoted) == NUMBER.sub("#", line)[: len(NUMBER.sub("#", quoted))]
    for ours, theirs in zip(NUMBER.findall(quoted), NUMBER.findall(line), strict=False):
        assert float(ours.replace(",", "")) == pytest.approx(float(theirs.replace(",", "")), rel=0.05, abs=0.005)


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "your-model.md"], ids=named)
def test_quoted_output_is_what_the_example_prints(page: Path, printed: list[str]) -> None:
    (block,) = re.findall(r"^```text\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    lines = block.splitlines()
    assert len(lines) == len(printed)
    for quoted, line in zip(lines, printed, strict=True):
        assert_same(quoted, line)


def test_explained_lines_are_what_the_example_prints(printed: list[str]) -> None:
    """The tutorial explains each line under its own words, with one blank between them and a true minus sign."""
    page = (ROOT / "docs" / "your-model.md").read_text()
    section = page.partition("## What the output says")[2].partition("\n## ")[0]
    plain = [" ".join(line.split()) for line in printed]
    quotes = [
        quote.replace("\N{MINUS SIGN}", "-").rstrip("…")
        for quote in re.findall(r"^- \*\*`(.+?)`\*\*", section, re.MULTILINE)
    ]
    assert len(quotes) == 7
    for quote in quotes:
        assert_same(quote, next(line for line in plain if line.split()[0] == quote.split()[0]))
    parts = [
        part.replace("\n", " ") for part in re.findall(r"(?<!\*)\*(?!\*)([^*]+)\*", section.partition("**`profile")[0])
    ]
    verdict = next(line for line in plain if line.startswith("verdict"))
    for part in parts:
        words = part.replace(" %", "%").lower()
        found = re.search(
            re.sub(r"\d[\d.]*", r"[\\d.]+", re.escape(words).replace(r"\.", ".").replace(r"\ ", " ")), verdict
        )
        assert found is not None, part
        assert_same(words, found[0])
