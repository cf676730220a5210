"""The record of a run names the code that ran: the package's own checksum, and the commit of its own folder."""

import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from minima_volume.pipeline import provenance


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    (folder / "part").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "part" / "module.py").write_text("x = 1\n")
    return folder


def test_the_checksum_can_be_computed_with_other_tools(package: Path) -> None:
    listed = "".join(
        f"{sha256(text.encode()).hexdigest()} {name}\n"
        for name, text in (("__init__.py", ""), ("part/module.py", "x = 1\n"))
    )
    assert provenance.package_checksum(package) == sha256(listed.encode()).hexdigest()


def test_the_checksum_changes_with_every_module(package: Path) -> None:
    found = [provenance.package_checksum(package)]
    (package / "part" / "module.py").write_text("x = 2\n")
    found.append(provenance.package_checksum(package))
    (package / "part" / "module.py").rename(package / "part" / "other.py")
    found.append(provenance.package_checksum(package))
    (package / "new.py").touch()
    found.append(provenance.package_checksum(package))
    assert len(set(found)) == 4
    (package / "notes.txt").touch()
    assert provenance.package_checksum(package) == found[-1]


def test_the_commit_is_that_of_the_package(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    own = ["git", "-C", str(package), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*own, *command], check=True)
    commit = subprocess.run([*own, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert provenance._git(package) == {"commit": commit, "dirty": False}
    (package / "results").mkdir()
    (package / "results" / "new.csv").touch()
    assert provenance._git(package / "part") == {"commit": commit, "dirty": False}
    (package / "part" / "module.py").write_text("x = 2\n")
    assert provenance._git(package / "part") == {"commit": commit, "dirty": True}
    # Not of a repository that only surrounds a copy, nor of one that the environment names.
    (package / ".git" / "info" / "exclude").write_text("copy\n")
    (package / "copy").mkdir()
    (package / "copy" / "module.py").touch()
    assert provenance._git(package / "copy") == {}
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert provenance._git(package / "part") == {"commit": commit, "dirty": True}
