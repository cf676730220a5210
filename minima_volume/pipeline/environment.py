"""Make the environment `.venv` beside its final place, and rename it there once all of it works.

`make` runs this with the system's Python, so only the standard library is imported.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from minima_volume.storage.scratch import SUFFIX, scratch_start, sweep

FOLDER, NAME, READY = ".venv", "venv", ".ready"
MADE_FROM = ("pyproject.toml", "constraints.txt")
# UV_TORCH_BACKEND takes these from another index, whose files have other checksums.
OF_BACKEND = ("torch", "torchvision")
# Runs in the environment. Every file that an installer lists must be there with its size, every direct dependency must
# import, and the package must come from the folder that is named.
CHECK = """
import importlib, re, sys
from importlib import metadata
from pathlib import Path
for found in metadata.distributions():
    for file in found.files or sys.exit(f"{found.name} without its list of files"):
        path, written_again = Path(file.locate()), "bin" in file.parts  # scripts get another path
        if file.size is not None and not (path.exists() and (written_again or path.stat().st_size == file.size)):
            sys.exit(f"{found.name} without {file}")
own = metadata.requires(sys.argv[1]) or []
direct = {re.match(r"[\\w.-]+", line)[0] for line in own if not re.search(f"extra == .({sys.argv[3]})", line)}
names = {re.sub(r"[-_.]+", "-", name).lower() for name in direct}
for module, owners in metadata.packages_distributions().items():
    if names & {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners} and module.isidentifier() and module[0] != "_":
        try:
            importlib.import_module(module)
        except Exception as error:  # a broken package may raise anything when it is imported: make names it and builds anew
            sys.exit(f"{type(error).__name__} while {module} was imported: {error}")
place = Path(importlib.import_module(sys.argv[1]).__file__).resolve().parent.parent
if str(place) != sys.argv[2]:
    sys.exit(f"{sys.argv[1]} of {place}")
"""


def record(root: Path) -> bytes:
    """Return what `.ready` holds: the folder of the environment, and the files that it was made from.

    Args:
        root: The repository.
    """
    return f"{root.resolve()}\n".encode() + b"".join((root / name).read_bytes() for name in MADE_FROM)


def update(root: Path, python: str) -> None:
    """Make the environment unless there is one of this folder and of its requirements.

    Args:
        root: The repository.
        python: The Python to make it with.
    """
    place, wanted = root / FOLDER, record(root)
    ready = place / READY
    found = ready.read_bytes() if ready.is_file() else None
    if place.is_symlink():
        _check_link(place, found, wanted)
    elif found != wanted:
        print(f"Setting up {FOLDER} ({_reason(found, wanted, there=place.exists())})", flush=True)
        _build(root, python)


def _check_link(place: Path, found: bytes | None, wanted: bytes) -> None:
    """End with a sentence unless a link leads to a finished environment with this folder's requirements."""
    # It may be of another folder, because make names the package's folder itself.
    if (found or b"").partition(b"\n")[2] != wanted.partition(b"\n")[2]:
        got = "an environment with others" if found else "none that is finished"
        sys.exit(
            f"error: Expected {FOLDER}, a link to {place.resolve()}, to lead to an environment with the packages of "
            f"{' and '.join(MADE_FROM)}, got {got}: run make there, or remove the link so that make sets up {FOLDER} here."
        )


def _reason(found: bytes | None, wanted: bytes, *, there: bool) -> str:
    """Return why the environment is made."""
    if not found:
        return "again, because it is not finished" if there else "once"
    folder = found.partition(b"\n")[0]
    if folder != wanted.partition(b"\n")[0]:
        return f"again, because it was made for the folder {folder.decode(errors='replace')}"
    return f"again, because {' or '.join(MADE_FROM)} changed"


def check(place: Path, root: Path, *, without: str = "docs") -> str | None:
    """Return what is wrong with an environment, or None.

    Args:
        place: The environment.
        root: The repository, which its package must be of.
        without: The extra that need not be installed.
    """
    command: list[str | Path] = [
        place / "bin" / "python",
        "-I",
        "-W",
        "ignore",
        "-c",
        CHECK,
        "minima_volume",
        root.resolve(),
        without,
    ]
    try:
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    except OSError as error:
        return str(error)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


def _build(root: Path, python: str) -> None:
    """Make the environment in a scratch folder, check it, and rename it."""
    sweep(root, NAME)
    place = root / FOLDER
    new, old = (root / f"{scratch_start(NAME)}{which}{SUFFIX}" for which in ("new", "old"))
    try:
        _run([python, "-m", "venv", "--prompt", FOLDER, new])
        installer = new / "uv.txt"
        installer.write_text(pins(root)["uv"])
        pip: list[str | Path] = [new / "bin" / "python", "-m", "pip", "install", "--quiet"]
        _run([*pip, "--disable-pip-version-check", "--require-hashes", "--no-deps", "-r", installer])
        _install(root, new, "all,dev")
        if wrong := check(new, root):
            sys.exit(f"error: Expected a working {FOLDER}, got {wrong}: run the same command again.")
        _relocate(new, place)
        _write(new / READY, record(root))
        _swap(new, place, old)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def pins(root: Path) -> dict[str, str]:
    """Return the lines of the constraints by package: its versions with the checksums of their files.

    Args:
        root: The repository.
    """
    found: dict[str, str] = {}
    for lines in re.split(r"(?m)^(?=[^\s#])", (root / MADE_FROM[1]).read_text()):
        name = lines.partition("==")[0]
        found[name] = found.get(name, "") + lines
    return found


def constraints(root: Path, backend: str) -> str:
    """Return the constraints, without checksums for the packages that a backend of torch takes from its own index.

    Args:
        root: The repository.
        backend: The value of UV_TORCH_BACKEND, empty for none.
    """
    lines = pins(root)
    for name in OF_BACKEND if backend else ():
        lines[name] = re.sub(r" *\\\n *--hash=\S+", "", lines.get(name, ""))
    return "".join(lines.values())


def _install(root: Path, place: Path, extras: str) -> None:
    """Install the package with some extras into an environment, from the files that the constraints have checksums of."""
    own, pinned = place / "bin" / "python", place / MADE_FROM[1]
    pinned.write_text(constraints(root, os.environ.get("UV_TORCH_BACKEND", "")))
    uv: list[str | Path] = [own, "-m", "uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", own]
    # uv compares each file with the checksums that its constraint has; --require-hashes would refuse an editable package.
    _run([*uv, "-c", pinned, "-b", pinned, "-e", f"{root}[{extras}]"])


def _run(command: list[str | Path]) -> None:
    """Run a command, and end with a sentence if it fails."""
    try:
        code = subprocess.run(command).returncode
    except OSError as error:
        sys.exit(f"error: Expected to run {command[0]}, got '{error.strerror}': set PYTHON=path/to/python3.11.")
    if code:
        what = " ".join(map(str, command[1:4]))
        sys.exit(
            f"error: Expected to set up {FOLDER}, got exit code {code} of `{what}`: see the lines above, then run the "
            "same command again."
        )


def _relocate(new: Path, place: Path) -> None:
    """Write the final path into the scripts of an environment."""
    before, after = str(new).encode(), str(place).encode()
    for path in (new / "pyvenv.cfg", *(new / "bin").iterdir()):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if before in content and b"\0" not in content:
                path.write_bytes(content.replace(before, after))


def _write(path: Path, content: bytes) -> None:
    """Write a small file to the disk itself."""
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _swap(new: Path, place: Path, old: Path) -> None:
    """Put a finished environment in its place, unless another process has just put the same there."""
    mark = place / READY
    if mark.is_file() and mark.read_bytes() == (new / READY).read_bytes():
        return
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def add_docs(root: Path) -> None:
    """Install what builds the documentation; if this is killed, `.ready` is not there and all is made again.

    Args:
        root: The repository.
    """
    place = root / FOLDER
    (place / READY).unlink()
    _install(root, place, "all,dev,docs")
    if wrong := check(place, root, without="nothing"):
        sys.exit(f"error: Expected a working {FOLDER}, got {wrong}: run the same command again.")
    _write(place / READY, record(root))


def main(arguments: list[str]) -> None:
    """Make the environment with a Python, or add what builds the documentation.

    Args:
        arguments: The Python, or `docs`.
    """
    if sys.version_info < (3, 11):  # noqa: UP036 - make may find an older one
        sys.exit(f"error: Expected python 3.11 or newer, got {sys.version.split()[0]}: set PYTHON=path/to/python3.11.")
    try:
        if arguments == ["docs"]:
            add_docs(Path.cwd())
        else:
            update(Path.cwd(), *arguments)
    except OSError as error:
        sys.exit(f"error: Expected to write {error.filename}, got '{error.strerror}': free the disk or the folder.")
    except KeyboardInterrupt:
        sys.exit("error: Interrupted: run the same command again.")


if __name__ == "__main__":
    main(sys.argv[1:])
