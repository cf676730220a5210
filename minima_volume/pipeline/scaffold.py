"""A new experiment folder that starts as a copy of one study: its row in config.py, its name in studies.mk, the stages."""

import json
import os
import re
import runpy
import shutil
import sys
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from minima_volume.errors import UserError
from minima_volume.pipeline.study import Study

EXAMPLE = "`make new_experiment NAME=fashion FROM=MNIST`"
CONFIG = '''"""{folder}: what is trained, how it is varied, and in which landscapes it is measured."""

from minima_volume.pipeline.study import Study
from minima_volume.training.recipe import Recipe

{constant} = {row}

STUDIES = {{study.name: study for study in ({constant},)}}
'''
FACTS = """# Studies of this folder: about.NAME is a study's line in `make help`.
{folder}_STUDIES := {study}
{together}
about.{study} := a copy of {source} so far
"""
TOGETHER = """# Small networks: all repeats go through a stage in one process.
{folder}_TOGETHER := {study}
"""


def new_experiment(root: Path, name: str, source: str) -> str:
    """Make the folder `name` from a study, or from the first study of a folder; the new study's name.

    Raises UserError, before anything is written, for a name that is missing, cannot be meant or is taken, and for a source
    that is neither an experiment folder nor one of its studies.
    """
    studies = {
        path.parent.name: runpy.run_path(str(path.parent / "config.py"))["STUDIES"]
        for path in sorted(root.glob("*/studies.mk"))
    }
    folder, row = _found(studies, source)
    study = replace(row, name="_".join([name.lower(), *(row.name.split("_")[1:] or ["data"])]))
    _check(root, name, {study.name}, {each for rows in studies.values() for each in rows})
    shutil.copytree(root / folder, root / name, ignore=shutil.ignore_patterns("config.py", "studies.mk", "__pycache__"))
    (root / name / "config.py").write_text(_config(name, study))
    together = _goes_together((root / folder / "studies.mk").read_text(), folder, row.name)
    facts = TOGETHER.format(folder=name, study=study.name) if together else ""
    (root / name / "studies.mk").write_text(
        FACTS.format(folder=name, study=study.name, source=row.name, together=facts)
    )
    return study.name


def _found(studies: Mapping[str, Mapping[str, Study]], source: str) -> tuple[str, Study]:
    """The folder and row that FROM names."""
    if source in studies:
        return source, next(iter(studies[source].values()))
    for folder, rows in studies.items():
        if source in rows:
            return folder, rows[source]
    raise UserError(
        f"Expected FROM to be an experiment folder ({', '.join(studies)}) or one of their studies, "
        f"got '{source}': {EXAMPLE}."
    )


def _check(root: Path, name: str, new: set[str], taken: set[str]) -> None:
    """That the folder and its study can be made without touching a file or a target that is there."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise UserError(
            f"Expected NAME to be letters, digits and underscores with a letter first, got '{name}': {EXAMPLE}."
        )
    targets = set(re.findall(r"^([\w-]+):", (root / "Makefile").read_text(), re.MULTILINE)) | taken
    if (root / name).exists() or ({name} | new) & targets:
        raise UserError(
            f"Expected NAME to be a folder and a target that are not there yet, got '{name}': choose another name."
        )


def _goes_together(facts: str, folder: str, study: str) -> bool:
    """Whether a folder's studies.mk sends all repeats of a study through one process."""
    found = re.search(rf"^{folder}_TOGETHER := (.*)$", facts, re.MULTILINE)
    return found is not None and bool({study, f"$({folder}_STUDIES)"} & set(found[1].split()))


def _config(folder: str, study: Study) -> str:
    """The text of a config.py whose only row is the study."""
    return CONFIG.format(folder=folder, constant=study.name.upper(), row=_source(study, lines=True))


def _source(value: Any, *, lines: bool = False, depth: int = 0) -> str:
    """A value as the formatter would write it: rows and dictionaries a line for each entry, defaults left out."""
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
    return field.default if field.default_factory is MISSING else field.default_factory()


def _joined(brackets: str, entries: list[str], lines: bool, depth: int) -> str:
    """Entries in brackets, side by side or one below the other."""
    if not lines:
        return f"{brackets[0]}{', '.join(entries)}{brackets[1]}"
    inner = "".join(f"{'    ' * (depth + 1)}{entry},\n" for entry in entries)
    return f"{brackets[0]}\n{inner}{'    ' * depth}{brackets[1]}"


def main() -> None:
    """Make the folder that NAME and FROM ask for, below the working folder, and say how to go on."""
    name, source = os.environ.get("NAME", ""), os.environ.get("FROM", "")
    try:
        study = new_experiment(Path.cwd(), name, source)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"{name}/ starts as a copy: edit {name}/config.py and {name}/studies.mk; `make {study} SCALE=quick` runs it")


if __name__ == "__main__":
    main()
