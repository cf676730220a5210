"""The page for reviewers of the artifact and the container file: their commands exist and their versions are allowed."""

import re
import tomllib

from packaging.specifiers import SpecifierSet

from minima_volume.analysis import claims, report
from tests.project import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
STUDIES = re.findall(
    r"^about\.(\w+) := ", "".join(path.read_text() for path in ROOT.glob("*/studies.mk")), re.MULTILINE
)
TARGETS = [*re.findall(r"^([a-z_-]+):.*## ", MAKEFILE, re.MULTILINE), *STUDIES]


def targets(text: str) -> set[str]:
    """The targets of all make commands in a text."""
    found = re.findall(r"\bmake ((?:[\w.<>/=-]+ ?)+)", text)
    words = {word for command in found for word in command.split() if "=" not in word}
    return {
        word.replace("<study>", "mnist_data").removesuffix(".local") for word in words if not word.startswith(".venv/")
    }


def test_every_command_of_the_artifact_page_is_a_target() -> None:
    page = (ROOT / "docs" / "artifact.md").read_text()
    code = "\n".join(
        first or second for first, second in re.findall(r"`([^`]+)`|^    (make [^#\n]+)", page, re.MULTILINE)
    )
    assert len(targets(code)) > 20 and not targets(code) - set(TARGETS)


def test_the_container_runs_targets_with_an_allowed_python() -> None:
    text = (ROOT / "Dockerfile").read_text()
    image = re.search(r"^FROM python:([\d.]+)-slim", text, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert image and image[1] in SpecifierSet(project["requires-python"])
    run = "\n".join(line for line in text.splitlines() if line.startswith(("RUN make", "CMD")))
    assert targets(run.replace("&&", "\n").replace('"', " ")) == {"quickstart", "report"}
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ".venv" in ignored and ".git" not in ignored  # records name the commit


def test_the_citation_says_where_the_doi_goes() -> None:
    text = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^(# .*add here: )?doi: 10\.", text, re.MULTILINE)


def test_the_page_of_claims_needs_only_committed_pictures() -> None:
    names = [claim.figure for claim in claims.CLAIMS] + list(report.OVERVIEWS)
    needed = [f"figs/paper/{name}.png" for name in names] + [f"toy_models/out/{name}.png" for name in report.TOYS]
    assert not [name for name in needed if not (ROOT / name).exists()]
    brief = re.search(r"^BRIEF := (.+)$", MAKEFILE, re.MULTILINE)
    assert brief and not set(brief[1].split()) - set(STUDIES)
