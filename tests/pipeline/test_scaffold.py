"""A new experiment: the folder that `make new_experiment` writes, the steps of the tutorial, and a run repeated."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from minima_volume.errors import UserError
from minima_volume.pipeline.scaffold import new_experiment
from minima_volume.storage import archives as storage_archives
from tests.faults import new_experiments
from tests.project import ROOT, STAGES, linked_project, row_of

SOURCES = {name: study for path in ROOT.glob("*/studies.mk")
           for name, study in runpy.run_path(str(path.parent / "config.py"))["STUDIES"].items()}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return linked_project(tmp_path)


def make(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make in the copy, with the package of the copy, as from a new shell."""
    foreign = (
        "MAKEFLAGS",
        "MFLAGS",
        "MAKELEVEL",
        "MAKEOVERRIDES",
        "NAME",
        "FROM",
        "DATA_DIR",
    )
    clean = {name: value for name, value in os.environ.items() if name not in foreign}
    own = {"PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["make", *arguments], cwd=project, env=clean | own, capture_output=True, text=True, timeout=1200
    )


# --- the folder ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
def test_the_new_row_is_the_old_one_under_a_new_name(source: str, project: Path) -> None:
    name = new_experiment(project, "Fresh", source)
    assert name == "fresh_" + source.split("_", 1)[1]
    assert row_of(project / "Fresh") == replace(SOURCES[source], name=name)
    assert asdict(row_of(project / "Fresh").at_scale("quick")) == asdict(
        replace(SOURCES[source], name=name).at_scale("quick")
    )


def test_a_folder_means_its_first_study(project: Path) -> None:
    assert new_experiment(project, "fresh", "MNIST") == "fresh_poison"
    assert row_of(project / "fresh").data == "digits"  # needs no download


def test_make_has_the_new_study_and_no_other_file_changed(project: Path) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file() and ".venv" not in path.parts}
    new_experiment(project, "fresh", "digits_data")
    after = {path: path.read_bytes() for path in project.rglob("*") if path.is_file() and ".venv" not in path.parts}
    assert before == {path: content for path, content in after.items() if path.parent.name != "fresh"}
    for script in STAGES:  # tests/test_architecture.py checks the same for all experiments
        assert (project / "fresh" / f"{script}.py").read_text() == (ROOT / "MNIST" / f"{script}.py").read_text()
    lines = make(project, "-n", "all", "SCALE=quick", "REPEATS=2").stdout.splitlines()
    mine = [line for line in lines if "fresh/" in line and " fresh_data " in line]
    # TOGETHER is copied: four stages, each for both repeats at once, and the joined table.
    assert len(mine) == 5 and mine[0].endswith("--repeats 0 1")
    assert re.search(r"^  fresh_data +a copy of digits_data so far$", make(project, "help").stdout, re.MULTILINE)


@pytest.mark.parametrize("repository", [True, False])
def test_names_that_git_ignores_are_refused(repository: bool, project: Path) -> None:
    if repository:
        subprocess.run(["git", "init", "-q"], cwd=project, check=True)
        (project / ".git" / "info" / "exclude").write_text("/secret/\n")
        with pytest.raises(UserError, match="git keeps, got 'secret'"):
            new_experiment(project, "secret", "MNIST")
    for name in ("data", "build"):
        with pytest.raises(UserError, match=f"git keeps, got '{name}'"):
            new_experiment(project, name, "MNIST")
        assert not (project / name).exists()


def test_the_same_command_again_changes_nothing(project: Path) -> None:
    study = new_experiment(project, "fresh", "MNIST")
    before = {path: path.stat().st_mtime_ns for path in (project / "fresh").iterdir()}
    assert new_experiment(project, "fresh", "MNIST") == study
    assert before == {path: path.stat().st_mtime_ns for path in (project / "fresh").iterdir()}
    (project / "fresh" / "config.py").write_text("# mine\n")
    with pytest.raises(UserError, match="choose another name"):
        new_experiment(project, "fresh", "MNIST")
    assert (project / "fresh" / "config.py").read_text() == "# mine\n"


@pytest.mark.parametrize("write", [0, 3, 6])
def test_a_killed_command_leaves_no_half_folder(write: int, project: Path) -> None:
    command = [sys.executable, "-c", new_experiments.PROGRAM, str(write), "--name=fresh", "--source=MNIST"]
    assert subprocess.run(command, cwd=project, check=False).returncode == 9
    assert not (project / "fresh").exists()
    new_experiment(project, "fresh", "MNIST")
    assert row_of(project / "fresh").data == "digits" and not list(project.glob(".*.part"))


def test_new_files_are_formatted(project: Path) -> None:
    for i, source in enumerate(SOURCES):
        new_experiment(project, f"fresh{i}", source)
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["format", "--check", "."], ["check", "."]):
        done = subprocess.run([*ruff, *command, "--no-cache"], cwd=project, capture_output=True, text=True)
        assert "fresh" not in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("", "MNIST", "Expected NAME to be letters, digits and underscores with a letter first, got ''"),
        ("2fast", "MNIST", "got '2fast'"),
        ("../out", "MNIST", r"got '\.\./out'"),
        ("a b", "MNIST", "got 'a b'"),
        ("MNIST", "MNIST", "Expected NAME to be a folder and a target that are not there yet, got 'MNIST'"),
        ("tests", "MNIST", "not there yet, got 'tests'"),
        ("check", "MNIST", "not there yet, got 'check'"),  # would shadow `make check`
        ("data", "MNIST", "Expected NAME to be a folder that git keeps, got 'data'"),
        ("build", "MNIST", "got 'build', which .gitignore names"),
        ("mnisT", "digits_data", "not there yet, got 'mnisT'"),  # some disks do not tell it from MNIST
        ("mnist_data", "MNIST", "not there yet, got 'mnist_data'"),
        ("mnist", "mnist_data", "not there yet, got 'mnist'"),  # its study would be mnist_data
        (
            "fresh",
            "",
            r"Expected FROM to be an experiment folder \(CIFAR10, MNIST, .*\) or one of their studies, got ''",
        ),
        ("fresh", "figs", "got 'figs'"),
        ("fresh", "mnist_dat", r"got 'mnist_dat'.* Did you mean 'mnist_data'\?"),
    ],
)
def test_wrong_names_and_sources_give_one_message(name: str, source: str, said: str, project: Path) -> None:
    before = sorted(project.rglob("*"))
    with pytest.raises(UserError, match=said) as caught:
        new_experiment(project, name, source)
    assert "make new_experiment NAME=" in str(caught.value) or "choose another name" in str(caught.value)
    assert sorted(project.rglob("*")) == before


# --- made for real ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_new_study_runs_and_can_be_repeated_from_its_record(project: Path) -> None:
    done = make(project, "new_experiment", "NAME=fresh", "FROM=MNIST")
    assert done.returncode == 0 and "make fresh_poison SCALE=quick" in done.stdout, done.stderr
    assert "`make fresh_poison`" in (project / "docs" / "reproduction.md").read_text()
    done = make(project, "fresh_poison", "SCALE=quick", "REPEATS=2", "DIRECTIONS=3")
    assert done.returncode == 0 and (project / "figs" / "quick" / "fresh_poison.png").exists(), done.stderr
    folder = project / "results" / "quick" / "fresh_poison"
    record = storage_archives.read_json(folder / "run.json")
    tables = {name: (folder / name).read_bytes() for name in ("volumes.csv", "cutoffs.csv")}
    shutil.rmtree(project / "results")
    words = record["command"].split()
    assert words[0] == "make"
    assert make(project, *words[1:]).returncode == 0
    assert tables == {name: (folder / name).read_bytes() for name in tables}
    again = storage_archives.read_json(folder / "run.json")
    assert [again[name] for name in ("settings", "seeds", "command")] == [
        record[name] for name in ("settings", "seeds", "command")
    ]


def test_make_prints_one_message(project: Path) -> None:
    done = make(project, "new_experiment", "FROM=MNIST")
    first, *rest = done.stderr.splitlines()
    assert done.returncode != 0 and done.stdout == "" and first.startswith("error: Expected NAME to be letters")
    assert len(rest) == 1 and rest[0].startswith("make: ***")  # make's own line


def test_a_title_goes_into_the_row_and_into_help(project: Path) -> None:
    assert new_experiment(project, "fresh", "digits_data", "More data on nothing, 100 %") == "fresh_data"
    row = runpy.run_path(str(project / "fresh" / "config.py"))["STUDIES"]["fresh_data"]
    assert row.title == "More data on nothing, 100 %" and replace(row, title="") == replace(
        SOURCES["digits_data"], title="", name="fresh_data"
    )
    assert "about.fresh_data := More data on nothing, 100 %\n" in (project / "fresh" / "studies.mk").read_text()
    for title in ("$(shell id)", "a # b", "a\nb", "a\\", "a's"):
        with pytest.raises(UserError, match="Expected TITLE to be one line without"):
            new_experiment(project, "other", "digits_data", title)
    assert not (project / "other").exists()
