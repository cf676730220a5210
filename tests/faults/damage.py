"""Theme 4: damaged and foreign files are named and made again if a stage makes them, and refused otherwise."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np

from minima_volume.storage import archives
from tests.faults.sandbox import Row, Sandbox, Tables


class Bomb:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, crater: Path) -> None:
        self.crater = crater

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.mkdir, (self.crater,)


def cut(path: Path, _: Path) -> None:
    """Cut off the last third of a file."""
    path.write_bytes(path.read_bytes()[: -path.stat().st_size // 3])


def flip(path: Path, _: Path) -> None:
    """Flip one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def bomb(path: Path, crater: Path) -> None:
    """Replace a file by a pickle that runs code."""
    path.write_bytes(pickle.dumps(Bomb(crater)))


def bomb_in_archive(path: Path, crater: Path) -> None:
    """Replace a file by an archive whose array holds a pickle that runs code."""
    with path.open("wb") as stream:
        np.savez(stream, info=np.array([Bomb(crater)], dtype=object))


def of_other_settings(path: Path, _: Path) -> None:
    """Change the fingerprint of a minimum or of a block of rays; its checksum is right."""
    if path.suffix == ".npz":
        info, arrays = archives.read_arrays(path)
        archives.write_arrays(path, info | {"fingerprints": dict.fromkeys(info["fingerprints"], "another")}, arrays)
    else:
        info, tensors = archives.read_tensors(path)
        archives.write_tensors(path, info | {"fingerprint": "another"}, tensors)


def of_other_version(path: Path, _: Path) -> None:
    """Replace a file by an archive with a right checksum and another kind of header."""
    archives.write_arrays(path, {"version": 0}, {"radii": np.arange(3.0)})


ROUNDS: tuple[dict[str, Callable[[Path, Path], None]], ...] = (
    {
        "minima/level_0.safetensors": cut, "minima/level_10.safetensors": flip, "minima/level_50.safetensors": bomb,
        "minima/level_100.safetensors": of_other_settings, "rays/directions_00000_00025.npz": cut,
        "rays/directions_00025_00050.npz": flip, "rays/directions_00050_00060.npz": bomb_in_archive,
        "minima.json": bomb, "rays.json": flip,
    },
    {
        "rays/directions_00000_00025.npz": of_other_version, "rays/directions_00025_00050.npz": of_other_settings,
        "rays/directions_00050_00060.npz": bomb, "volumes.csv": cut, "cutoffs.csv": flip, "volumes.json": bomb,
    },
)  # fmt: skip


def recomputed(sandbox: Sandbox, study: str, expected: Tables, rounds: int) -> Row:
    """Damage files of a repeat and run the stages again: they name every file, make the same tables, and run no pickle."""
    lost, times, crater = 0, 0, sandbox.folder / "crater"
    for round_ in ROUNDS[:rounds]:
        for name, damage in round_.items():
            damage(sandbox.study(study) / "repeat_0" / name, crater)
        sandbox.touch()
        done = sandbox.make(study, THREADS="1")
        data = [name for name in round_ if name.endswith((".npz", ".safetensors"))]
        lost += sum(Path(name).name not in done.text for name in data)
        lost += done.code != 0 or sandbox.tables(study) != expected or crater.exists()
        times += len(round_)
    return Row("damage", f"results of {study} cut, flipped, of other settings, pickled: made again", times, lost)


# Files that a later step reads and that make does not make again, because they are newer than their inputs.
KEPT: tuple[tuple[str, Callable[[Path, Path], None]], ...] = (
    ("volumes.csv", flip), ("repeat_0/volumes.csv", flip), ("repeat_0/cutoffs.csv", cut), ("repeat_0/rays.json", bomb),
)  # fmt: skip


def refused(sandbox: Sandbox, study: str, expected: Tables) -> Row:
    """Damage files that no stage makes again: the command names the file to delete, and works once it is deleted."""
    lost = 0
    for name, damage in KEPT:
        path = sandbox.study(study) / name
        damage(path, sandbox.folder / "crater")
        lost += not sandbox.make(study, THREADS="1").refused("error: ", name, "Delete")
        path.unlink()
        lost += sandbox.make(study, THREADS="1").code != 0 or sandbox.tables(study) != expected
    lost += (sandbox.folder / "crater").exists()
    return Row(
        "damage", "tables and records flipped, cut, pickled: refused by name, made again once deleted", len(KEPT), lost
    )


def data_sets(sandbox: Sandbox) -> Row:
    """Put pickles that run code in DATA_DIR: they are refused by checksum before anything reads them."""
    data, crater, lost = sandbox.folder / "data", sandbox.folder / "crater", 0
    for kind, names in (("MNIST/raw", MNIST_NAMES), ("cifar-10-batches-py", CIFAR_NAMES)):
        (data / kind).mkdir(parents=True)
        for name in names:
            bomb(data / kind / name, crater)
    for study in ("mnist_poison", "cifar_data"):
        lost += not sandbox.make(study, THREADS="1").refused("error: Expected", str(Path("data")))
    lost += crater.exists()
    return Row("damage", "data sets that hold a pickle with code: refused, never run", 2, lost)


MNIST_NAMES = tuple(f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
CIFAR_NAMES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
