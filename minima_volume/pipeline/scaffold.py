"""Make a new experiment folder from one study: config.py with its row, studies.mk with its name, and the four stages."""

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from minima_volume.errors import UserError
from minima_volume.pipeline.study import Study, did_you_mean, read_studies
from minima_volume.storage import scratch
from minima_volume.storage.atomic import write_error
from minima_volume.text import prepare_streams

LONGEST_NAME = 100  # letters: file systems take 255 bytes, and files are named after studies
EXAMPLE = "`make new_experiment NAME=fashion FROM=MNIST`"
CONFIG = '''"""The studies of {folder}: what is trained, what varies, and in which landscapes the minima are measured."""

from minima_volume.pipeline.study import Study
from minima_volume.training.recipe import Recipe

{constant} = {row}

STUDIES = {{study.name: study for study in ({constant},)}}
'''
FACTS = """# The studies of this folder; about.NAME is the line of study NAME in `make help`.
{folder}_STUDIES := {study}
{together}
about.{study} := {about}
"""
TOGETHER = """# Small networks: one process runs all repeats of a stage.
{folder}_TOGETHER := {study}
"""


def new_experiment(root: Path, name: str, source: str, title: str = "") -> str:
    """Make the folder `name` from a study, or from the first study of a folder.

    Args:
        root: The repository.
        name: The new folder.
        source: An experiment folder, or one of its studies.
        title: The title of figures and the line in `make help`; by default those of a copy.

    Returns:
        The name of the new study.

    Raises:
        UserError: The name is missing, invalid or taken, or the source does not exist. Nothing has been written then.
    """
    studies = read_studies(root)
    folder, row = _source_row(studies, source)
    study = replace(row, name="_".join([name.lower(), *(row.name.split("_")[1:] or ["data"])]))
    study = replace(study, title=title) if title else study
    _check_name(root, name, title)
    together = _goes_together((root / folder / "studies.mk").read_text(encoding="utf-8"), folder, row.name)
    facts = TOGETHER.format(folder=name, study=study.name) if together else ""
    files = {
        "config.py": _config(name, study),
        "studies.mk": FACTS.format(
            folder=name, study=study.name, about=title or f"a copy of {row.name} so far", together=facts
        ),
        **{
            path.name: path.read_text(encoding="utf-8")
            for path in (root / folder).glob("*.py")
            if path.name != "config.py"
        },
    }
    # The same command again, after it was killed before it could say that it had made the folder.
    if _text_files(root / name) != files:
        _check_free(root, name, {study.name}, {each for rows in studies.values() for each in rows})
        _write_folder(root, name, files)
    return study.name


def _text_files(folder: Path) -> dict[str, str] | None:
    """Return the files of a folder of sources, or None if it holds anything else."""
    found = [path for path in folder.glob("*") if path.name != "__pycache__"]
    try:
        return {path.name: path.read_text(encoding="utf-8") for path in found}
    except (OSError, ValueError):
        return None


def _write_folder(root: Path, name: str, files: Mapping[str, str]) -> None:
    """Write all files into a folder inside a scratch folder, where it is no experiment yet, and rename it."""
    scratch.sweep(root, name)
    part = root / f"{scratch.scratch_start(name)}0{scratch.SUFFIX}"
    try:
        (part / name).mkdir(parents=True)
        for file, text in files.items():
            (part / name / file).write_text(text, encoding="utf-8")
        (part / name).rename(root / name)
    except OSError as error:
        raise write_error(root / name, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _source_row(studies: Mapping[str, Mapping[str, Study]], source: str) -> tuple[str, Study]:
    """Return the folder and the row that FROM names."""
    if source in studies:
        return source, next(iter(studies[source].values()))
    for folder, rows in studies.items():
        if source in rows:
            return folder, rows[source]
    names = [*studies, *(name for rows in studies.values() for name in rows)]
    raise UserError(
        f"Expected FROM to be an experiment folder ({', '.join(studies)}) or one of their studies, "
        f"got '{source}': run for example {EXAMPLE}.{did_you_mean(source, names)}"
    )


def _check_name(root: Path, name: str, title: str) -> None:
    """Raise UserError if TITLE cannot stand in a studies.mk, or NAME is no name of a folder, or of one that git ignores."""
    if not title.isprintable() or set(title) & set("#$\\'"):
        raise UserError(
            f"Expected TITLE to be one line without #, $, \\ and ', which mean something to make, got {title!r}: "
            "choose another title."
        )
    if len(name) > LONGEST_NAME:
        raise UserError(f"Expected NAME of at most {LONGEST_NAME} letters, got {len(name)}: choose another name.")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise UserError(
            f"Expected NAME to be letters, digits and underscores with a letter first, got '{name}': "
            f"run for example {EXAMPLE}."
        )
    if _is_ignored(root, name):
        raise UserError(
            f"Expected NAME to be a folder that git keeps, got '{name}', which .gitignore names: choose another name."
        )


def _is_ignored(root: Path, name: str) -> bool:
    """Whether git ignores a folder of the repository; without git, whether .gitignore names it."""
    command = ["git", "-C", str(root), "check-ignore", "--quiet", "--no-index", f"{name}/"]
    try:
        code = subprocess.run(command, capture_output=True).returncode
    except OSError:
        code = 128
    if code in (0, 1):
        return code == 0
    ignore = root / ".gitignore"
    lines = ignore.read_text(encoding="utf-8").splitlines() if ignore.exists() else []
    return any(fnmatch(name, line.strip("/")) for line in lines if not line.startswith(("#", "!")))


def _check_free(root: Path, name: str, new: set[str], taken: set[str]) -> None:
    """Raise UserError unless folder and study can be made without changing an existing file or make target."""
    rules = (root / "Makefile").read_text(encoding="utf-8")
    targets = {name for line in re.findall(r"^([.\w -]+):", rules, re.MULTILINE) for name in line.split()} | taken
    targets |= {name for line in re.findall(r"^\.PHONY:(.*)$", rules, re.MULTILINE) for name in line.split()}
    # Some disks do not tell upper from lower case.
    folders = {path.name.lower() for path in root.iterdir()}
    if name.lower() in folders or ({name} | new) & targets:
        raise UserError(
            f"Expected NAME to be a folder and a target that are not there yet, got '{name}': choose another name."
        )


def _goes_together(facts: str, folder: str, study: str) -> bool:
    """Whether a folder's studies.mk runs all repeats of a study in one process."""
    found = re.search(rf"^{folder}_TOGETHER := (.*)$", facts, re.MULTILINE)
    return found is not None and bool({study, f"$({folder}_STUDIES)"} & set(found[1].split()))


def _config(folder: str, study: Study) -> str:
    """Return the text of a config.py whose only row is the study."""
    return CONFIG.format(folder=folder, constant=study.name.upper(), row=_source(study, lines=True))


def _source(value: Any, *, lines: bool = False, depth: int = 0) -> str:
    """Return a value as formatted source: one line per field and per dictionary entry, without fields at their defaults."""
    if is_dataclass(value):
        set_here = {each.name: getattr(value, each.name) for each in fields(value)}
        given = {each.name: set_here[each.name] for each in fields(value) if set_here[each.name] != _default(each)}
        entries = [f"{name}={_source(content, depth=depth + 1)}" for name, content in given.items()]
        return f"{type(value).__name__}{_joined('()', entries, lines, depth)}"
    if isinstance(value, Mapping):
        entries = [f"{_source(key)}: {_source(content, depth=depth + 1)}" for key, content in value.items()]
        return _joined("{}", entries, True, depth)
    if isinstance(value, tuple):
        return f"({', '.join(map(_source, value))}{',' * (len(value) == 1)})"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _default(field: Field[Any]) -> Any:
    """Return the default of a field."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def _joined(brackets: str, entries: list[str], lines: bool, depth: int) -> str:
    """Return entries in brackets, on one line or on a line each."""
    if not lines:
        return f"{brackets[0]}{', '.join(entries)}{brackets[1]}"
    inner = "".join(f"{'    ' * (depth + 1)}{entry},\n" for entry in entries)
    return f"{brackets[0]}\n{inner}{'    ' * depth}{brackets[1]}"


def main() -> None:
    """Make the folder below the working folder, and print what to do next."""
    prepare_streams()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="", help="the new folder")
    parser.add_argument("--source", default="", help="an experiment folder, or one of its studies")
    parser.add_argument("--title", default="", help="the title of its figures and its line in `make help`")
    given = parser.parse_args()
    try:
        study = new_experiment(Path.cwd(), given.name, given.source, given.title)
    except UserError as error:
        sys.exit(f"error: {error}")
    name = given.name
    print(f"{name}/ is a copy: edit {name}/config.py and {name}/studies.mk, then run `make {study} SCALE=quick`.")
    print(
        f"The table of studies in docs/reproduction.md gets a row for {study}; `make readme` writes it again after edits."
    )


if __name__ == "__main__":
    main()
