"""Settings and targets that a user gives make: one sentence for every mistake, and nothing that reaches a shell."""

from pathlib import Path

import pytest

from tests.faults import words
from tests.pipeline.make_runs import calls, make, sentence, stub_project, table


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return stub_project(tmp_path)


MISTAKES = [
    ("SCALE", "papr", ("Expected SCALE=quick or SCALE=paper", "got SCALE=papr")),
    ("REPEATS", "1000", ("Expected REPEATS to be below 1000", "got REPEATS=1000")),
    ("DIRECTIONS", "1" + "0" * 20, ("Expected DIRECTIONS to be below 10000000", "got DIRECTIONS=1")),
    ("THREADS", "0x10", ("Expected THREADS to be a whole number above 0", "got THREADS=0x10")),
    ("MEMORY", "1 2", ("Expected MEMORY to be a whole number above 0", "got MEMORY=1 2")),
    ("LEVELS", "`touch crater`", ("Expected LEVELS to be a whole number above 0", "got LEVELS=`touch crater`")),
    ("QUALITY", "high", ("Expected QUALITY=draft or QUALITY=final", "got QUALITY=high")),
    ("STYLE", "poster", ("Expected STYLE=paper or STYLE=talk", "got STYLE=poster")),
    ("DATA_DIR", "a folder", ("Expected DATA_DIR to name a folder", "got DATA_DIR=a folder")),
    ("SCALE", "quick paper", ("Expected SCALE=quick or SCALE=paper", "got SCALE=quick paper")),
    ("REPEATS", "0", ("Expected REPEATS to be a whole number above 0", "got REPEATS=0")),
    ("REPEATS", "", ("Expected REPEATS to be a whole number above 0", "got nothing", "give a number of repeats")),
    ("REPEATS", "-3", ("Expected REPEATS to be a whole number above 0", "got REPEATS=-3")),
    ("DIRECTIONS", "abc", ("Expected DIRECTIONS to be a whole number above 0", "got DIRECTIONS=abc")),
    ("DIRECTIONS", "2.5", ("Expected DIRECTIONS to be a whole number above 0", "got DIRECTIONS=2.5")),
    ("LEVELS", "0", ("Expected LEVELS to be a whole number above 0", "got LEVELS=0")),
    ("THREADS", "0", ("Expected THREADS to be a whole number above 0", "got THREADS=0")),
    ("JOBS", "many", ("Expected JOBS to be a whole number above 0", "got JOBS=many")),
    ("CLUSTER", "slurn", ("Expected CLUSTER to be local, slurm or an address", "got CLUSTER=slurn")),
    ("CLUSTER", "local slurm", ("Expected CLUSTER to be local, slurm or an address", "got CLUSTER=local slurm")),
    ("MEMORY", "2G", ("Expected MEMORY to be a whole number above 0", "got MEMORY=2G")),
    (
        "DATA_DIR",
        "/nonexistent",
        ("Expected DATA_DIR to name a folder", "got DATA_DIR=/nonexistent", "create the folder or omit"),
    ),
]


@pytest.mark.parametrize(("name", "value", "parts"), MISTAKES)
@pytest.mark.parametrize("how", ["argument", "environment"])
def test_invalid_settings_are_refused(name: str, value: str, parts: tuple[str, ...], how: str, project: Path) -> None:
    if how == "argument":
        done = make("mnist_poison", f"{name}={value}", cwd=project)
    else:
        done = make("mnist_poison", cwd=project, **{name: value})
    assert all(part in sentence(done) for part in parts)
    assert calls(project) == [] and not (project / "results").exists()


SHELL_FREE = (
    "SCALE", "REPEATS", "DIRECTIONS", "LEVELS", "THREADS", "MEMORY", "DEVICE", "DATA_DIR", "QUALITY", "STYLE", "TORCH",
    "CLUSTER", "JOBS", "SLURM",
)  # fmt: skip


@pytest.mark.parametrize("name", SHELL_FREE)
def test_no_setting_reaches_a_shell(name: str, project: Path) -> None:
    target = "test-torch" if name == "TORCH" else "digits_poison"
    for value in words.COMMANDS:
        make(target, f"{name}={value}", cwd=project)
        make(target, cwd=project, **{name: value.replace("$$", "$")})
    assert not (project / "crater").exists()


def test_no_target_reaches_a_shell(project: Path) -> None:
    for value in words.COMMANDS:
        make(value, cwd=project)
    assert not (project / "crater").exists()


@pytest.mark.parametrize("name", ["a folder", "a[b", "what?", "st*r", "it's"])
def test_a_data_folder_may_have_any_name(name: str, project: Path) -> None:
    (project / name).mkdir()
    assert make("help", f"DATA_DIR={project / name}", cwd=project).returncode == 0
    (project / name).rmdir()
    assert "does not exist" in sentence(make("help", f"DATA_DIR={project / name}", cwd=project))


@pytest.mark.parametrize("scale", ["quick ", " quick", "quick  "])
def test_spaces_around_the_scale_do_not_count(scale: str, project: Path) -> None:
    assert make(table("digits_poison"), f"SCALE={scale}", "REPEATS=1", cwd=project).returncode == 0
    assert [path.name for path in (project / "results").iterdir()] == ["quick"]


def test_a_makefile_of_another_folder_is_refused(project: Path) -> None:
    (project / "elsewhere").mkdir()
    for arguments in (("-f", "../Makefile"), ("-f", str(project / "Makefile"))):
        message = sentence(make(*arguments, "digits_poison", cwd=project / "elsewhere"))
        assert "Expected make to run in the folder of its Makefile" in message and "run make -C " in message
    assert make("-C", "..", "help", cwd=project / "elsewhere").returncode == 0
    assert make("-f", str(project / "Makefile"), "help", cwd=project).returncode == 0
