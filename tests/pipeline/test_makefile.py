"""The Makefile: the order of the stages, what a second run does, what help lists, and one sentence for every mistake."""

import os
import re
import runpy
import shutil
import time
from pathlib import Path

import pytest

from tests.pipeline.make_runs import calls, make, sentence, stub_project, table
from tests.project import ROOT, STAGES

FOLDERS = sorted(path.parent.name for path in ROOT.glob("*/studies.mk"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return stub_project(tmp_path)


def stages_of(found: list[str]) -> list[str]:
    """Return the names of the scripts in command lines."""
    return [Path(line.split()[0]).stem for line in found]


@pytest.mark.parametrize(("study", "together"), [("digits_poison", True), ("mnist_poison", False)])
def test_dry_run_lists_the_stages_in_order(study: str, together: bool, project: Path) -> None:
    done = make("-n", study, "REPEATS=2", cwd=project)
    assert done.returncode == 0
    lines = [line for line in done.stdout.splitlines() if re.search(rf"/({'|'.join(STAGES)})\.py", line)]
    assert all(study in line and "--scale paper" in line for line in lines)
    named = [next(stage for stage in STAGES if f"/{stage}.py" in line) for line in lines]
    counts = {stage: named.count(stage) for stage in STAGES}
    each = 1 if together else 2
    assert counts == dict.fromkeys(STAGES[:3], each) | {"volume_estimation": each + 1}  # and the joined table
    for earlier, later in (("train_models", "random_perturbs"), ("train_models", "volume_cutoff")):
        assert named.index(earlier) < named.index(later)
    assert "--gather" in lines[-1]


@pytest.mark.parametrize("study", ["digits_poison", "mnist_poison"])
def test_second_run_does_nothing(study: str, project: Path) -> None:
    arguments = (table(study), "SCALE=quick", "REPEATS=2")
    assert make(*arguments, cwd=project).returncode == 0
    assert set(STAGES) <= set(stages_of(calls(project)))
    done = make(*arguments, cwd=project)
    assert done.returncode == 0 and calls(project) == []


@pytest.mark.parametrize(
    ("touched", "woken"),
    [
        ("MNIST/volume_estimation.py", {"volume_estimation"}),
        ("MNIST/volume_cutoff.py", {"volume_cutoff", "volume_estimation"}),
        ("MNIST/random_perturbs.py", {"random_perturbs", "volume_estimation"}),
        ("MNIST/config.py", set()),  # it is compared by content
    ],
)
def test_which_stages_a_changed_file_reruns(touched: str, woken: set[str], project: Path) -> None:
    arguments = (table("digits_poison"), "SCALE=quick", "REPEATS=2")
    make(*arguments, cwd=project)
    calls(project)
    (project / touched).touch()
    assert make(*arguments, cwd=project).returncode == 0
    assert set(stages_of(calls(project))) == woken


@pytest.mark.parametrize("script", ["config.py", "train_models.py"])
@pytest.mark.parametrize(("folder", "woken"), [("MNIST", set(STAGES)), ("sam", set())])
def test_a_changed_file_with_an_older_time_reruns_the_stages(
    script: str, folder: str, woken: set[str], project: Path
) -> None:
    arguments, path = (table("digits_poison"), "SCALE=quick", "REPEATS=1"), project / folder / script
    make(*arguments, cwd=project)
    calls(project)
    before = path.stat().st_mtime
    path.write_text(path.read_text() + "# A comment.\n")
    os.utime(path, (before - 1e6, before - 1e6))
    assert make(*arguments, cwd=project).returncode == 0
    assert set(stages_of(calls(project))) == woken
    make(*arguments, cwd=project)
    assert calls(project) == []


def test_results_from_the_future_are_made_again_once(project: Path) -> None:
    arguments = (table("digits_poison"), "SCALE=quick", "REPEATS=1")
    make(*arguments, cwd=project)
    calls(project)
    later = time.time() + 1e6
    os.utime(project / "results" / "quick" / "digits_poison" / "repeat_0" / "rays.json", (later, later))
    assert make(*arguments, cwd=project).returncode == 0
    assert set(STAGES) == set(stages_of(calls(project)))
    make(*arguments, cwd=project)
    assert calls(project) == []


@pytest.mark.parametrize("name", ["DIRECTIONS", "LEVELS"])
def test_another_number_reruns_the_stages(name: str, project: Path) -> None:
    arguments = (table("digits_poison"), "SCALE=quick", "REPEATS=1")
    make(*arguments, cwd=project)
    calls(project)
    make(*arguments, f"{name}=2", cwd=project)
    assert set(stages_of(calls(project))) == set(STAGES)
    make(*arguments, f"{name}=2", cwd=project)
    assert calls(project) == []


@pytest.mark.parametrize("study", ["mnist_poison", "digits_poison"])
def test_a_further_repeat_is_made(study: str, project: Path) -> None:
    make(table(study), "SCALE=quick", "REPEATS=1", cwd=project)
    calls(project)
    make(table(study), "SCALE=quick", "REPEATS=2", cwd=project)
    found = calls(project)
    trained = [line for line in found if "train_models" in line]
    assert len(trained) == 1 and trained[0].endswith(" 1") and found[-1].endswith("--repeats 0 1 --gather")


@pytest.mark.parametrize("study", ["mnist_poison", "digits_poison"])
def test_a_lost_repeat_is_made_again(study: str, project: Path) -> None:
    arguments = (table(study), "SCALE=quick", "REPEATS=2")
    make(*arguments, cwd=project)
    calls(project)
    shutil.rmtree(project / "results" / "quick" / study / "repeat_1")
    make(*arguments, cwd=project)
    assert set(stages_of(calls(project))) == set(STAGES)


@pytest.mark.parametrize("scale", ["quick", "paper"])
def test_all_makes_every_study_and_every_figure(scale: str, project: Path) -> None:
    lines = make("-n", "all", f"SCALE={scale}", "REPEATS=1", cwd=project).stdout.splitlines()
    called = {tuple(line.split()[1:5]) for line in lines if line.startswith(".venv/bin/python ")}
    for folder in FOLDERS:
        for study in studies_of(folder):
            assert {(f"{folder}/{stage}.py", study, "--scale", scale) for stage in STAGES} <= called
            assert ("-m", "figs.fixed_landscape", study, "--scale") in called
    drawn = next(line for line in lines if "-m figs.draw" in line)
    assert {study for folder in FOLDERS for study in studies_of(folder)} <= set(drawn.split())


def test_a_failing_stage_stops_and_deletes_no_table(project: Path) -> None:
    half = "results/quick/mnist_poison/repeat_0"
    (project / half).mkdir(parents=True)
    arguments = (table("mnist_poison"), "SCALE=quick", "REPEATS=1")
    done = make(*arguments, cwd=project, FAILING="random_perturbs.py", HALF=half)
    assert done.returncode != 0
    assert "volume_estimation" not in stages_of(calls(project))
    # Stages write whole files or none, and another process may have written this one.
    assert (project / half / "rays.json").exists() and (project / half / "minima.json").exists()


def test_delete_on_error_is_set() -> None:
    assert re.search(r"^\.DELETE_ON_ERROR:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    ("target", "nearest"), [("mnist_posion", "mnist_poison"), ("quickstrat", "quickstart"), ("swisroll", "swiss_roll")]
)
def test_misspelt_targets_are_refused_with_the_nearest_one(target: str, nearest: str, project: Path) -> None:
    shutil.rmtree(project / ".venv")  # a user's first command may be a misspelt one
    message = sentence(make(target, cwd=project))
    assert f"No target or file '{target}'. Did you mean '{nearest}'? Run 'make help'" in message
    assert not (project / ".venv").exists()


def test_marking_targets_as_new_is_refused_and_making_all_again_is_not(project: Path) -> None:
    assert "leave -t out" in sentence(make("-t", table("mnist_poison"), cwd=project))
    assert make("-B", table("mnist_poison"), "SCALE=quick", cwd=project).returncode == 0
    assert set(STAGES) <= set(stages_of(calls(project)))


@pytest.mark.parametrize(("target", "python"), [("zzzzzz", "python3"), ("mnist_posion", "no-such-python")])
def test_without_a_near_target_or_a_python_there_is_no_suggestion(target: str, python: str, project: Path) -> None:
    assert sentence(make(target, f"PYTHON={python}", cwd=project)).startswith(
        f"No target or file '{target}'. Run 'make help'"
    )


def database() -> str:
    """Return make's database of rules, without running any."""
    return make("-pn", "help").stdout


def phony() -> set[str]:
    """Return the targets that are not files."""
    lines = re.findall(r"^\.PHONY:(.*)$", database(), re.MULTILINE)
    return {name for line in lines for name in line.split() if "$" not in name}  # the text of a macro has `$1`


def test_names_of_folders_are_phony() -> None:
    rules = set(re.findall(r"^([\w-]+):(?!=)", database(), re.MULTILINE))
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    assert rules & folders <= phony() and "figs" in rules


def test_no_folder_name_is_a_target_that_silently_does_nothing(project: Path) -> None:
    folders = sorted(path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))
    for name in folders:
        (project / name).mkdir(exist_ok=True)
    # `make tests` instead of `make test` must fail, although there is a folder of that name.
    idle = re.compile(r"Nothing to be done|^make\b.*is up to date", re.MULTILINE)
    silent = [name for name in folders if idle.search(make("-n", name, cwd=project).stdout)]
    assert not silent, f"make does nothing and exits 0 for {', '.join(silent)}"


def test_help_lists_every_target_and_study() -> None:
    listed = dict(re.findall(r"^  ([\w-]+) {2,}(\S.*)$", make("help").stdout, re.MULTILINE))
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    # The studies' own targets for their local volumes share one line, and so do those for their sharpness.
    wanted = {name for name in phony() if not name.endswith((".local", ".sharpness"))} - {"FORCE"} - folders | {"figs"}
    assert "<study>.local" in listed["local_volumes"] and "<study>.sharpness" in listed["sharpness"]
    assert wanted <= set(listed), f"no line for {wanted - set(listed)}"
    assert {study for folder in FOLDERS for study in studies_of(folder)} <= set(listed)
    assert all(text.strip() for text in listed.values())
    assert make().stdout == make("help").stdout  # `make` alone is `make help`


def facts(folder: str) -> dict[str, str]:
    """Return the assignments of a folder's studies.mk, with references to earlier ones expanded."""
    found: dict[str, str] = {}
    for name, value in re.findall(r"^([\w.]+) := (.+)$", (ROOT / folder / "studies.mk").read_text(), re.MULTILINE):
        found[name] = re.sub(r"\$\((\w+)\)", lambda reference: found[reference[1]], value)
    return found


def studies_of(folder: str) -> list[str]:
    """Return the studies that a folder's studies.mk names."""
    return facts(folder)[f"{folder}_STUDIES"].split()


@pytest.mark.parametrize("folder", FOLDERS)
def test_studies_mk_agrees_with_config_py(folder: str) -> None:
    known, studies = facts(folder), runpy.run_path(str(ROOT / folder / "config.py"))["STUDIES"]
    assert sorted(studies_of(folder)) == sorted(studies)
    assert all(name == study.name for name, study in studies.items())
    assert set(known) - {f"{folder}_STUDIES", f"{folder}_TOGETHER"} == {f"about.{name}" for name in studies}
    assert set(known.get(f"{folder}_TOGETHER", "").split()) <= set(studies)


def test_promised_targets_exist() -> None:
    promised = """swiss_poison_x5 swiss_poison_x6 swiss_data_x5 swiss_data_x6 mnist_poison mnist_data mnist_data_large
        mnist_cnn_data cifar_poison cifar_data cifar_cnn_data modulo_data modulo_grokking mnist_sam swiss_sam cifar_sam
        mnist_imbalanced cifar_imbalanced mnist_batch_size digits_poison digits_data"""
    offered = [study for folder in FOLDERS for study in studies_of(folder)]
    assert set(promised.split()) <= set(offered) and len(offered) == len(set(offered))
