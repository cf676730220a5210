"""Theme 4: damaged and foreign files are named and made again where they are ours to make, refused where not."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np

from minima_volume.storage import archives
from tests.faults.sandbox import House, Row


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, crater: Path) -> None:
        self.crater = crater

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.mkdir, (self.crater,)


def cut(path: Path, _: Path) -> None:
    """Lose the last third of a file."""
    path.write_bytes(path.read_bytes()[: -path.stat().st_size // 3])


def flip(path: Path, _: Path) -> None:
    """Turn over one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def bomb(path: Path, crater: Path) -> None:
    """Put a pickle with code inside in a file's place."""
    path.write_bytes(pickle.dumps(Bomb(crater)))


def bomb_in_archive(path: Path, crater: Path) -> None:
    """Put an archive in a file's place whose arrays hold a pickle with code inside."""
    with path.open("wb") as stream:
        np.savez(stream, info=np.array([Bomb(crater)], dtype=object))


def of_other_settings(path: Path, _: Path) -> None:
    """Change what a block of rays or a minimum says it was made with; its checksum is right."""
    if path.suffix == ".npz":
        info, arrays = archives.read_arrays(path)
        archives.write_arrays(path, info | {"fingerprints": dict.fromkeys(info["fingerprints"], "another")}, arrays)
    else:
        info, tensors = archives.read_tensors(path)
        archives.write_tensors(path, info | {"fingerprint": "another"}, tensors)


def of_other_version(path: Path, _: Path) -> None:
    """An archive with the right checksum and a header of another kind."""
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


def recomputed(house: House, study: str, expected: bytes, rounds: int) -> Row:
    """Damage files of a repeat, wake the stages, and compare: every file named, the tables the same, nothing run."""
    lost, times, crater = 0, 0, house.folder / "crater"
    for wounds in ROUNDS[:rounds]:
        for name, wound in wounds.items():
            wound(house.study(study) / "repeat_0" / name, crater)
        house.touch()
        done = house.make(study, THREADS="1")
        data = [name for name in wounds if name.endswith((".npz", ".safetensors"))]
        lost += sum(Path(name).name not in done.text for name in data)
        lost += done.code != 0 or house.table(study) != expected or crater.exists()
        times += len(wounds)
    return Row("damage", f"results of {study} cut, flipped, foreign, pickled: made again", times, lost)


# What a later step reads and no step before it makes again by itself, because make sees only that it is new.
KEPT: tuple[tuple[str, Callable[[Path, Path], None]], ...] = (
    ("volumes.csv", flip), ("repeat_0/volumes.csv", flip), ("repeat_0/cutoffs.csv", cut), ("repeat_0/rays.json", bomb),
)  # fmt: skip


def refused(house: House, study: str, expected: bytes) -> Row:
    """Damage that no stage comes past again: told with the file to delete, and whole after that."""
    lost = 0
    for name, wound in KEPT:
        path = house.study(study) / name
        wound(path, house.folder / "crater")
        lost += not house.make(study, THREADS="1").refused("error: ", name, "Delete")
        path.unlink()
        lost += house.make(study, THREADS="1").code != 0 or house.table(study) != expected
    lost += (house.folder / "crater").exists()
    return Row(
        "damage", "tables and records flipped, cut, pickled: refused by name, whole once deleted", len(KEPT), lost
    )


def data_sets(house: House) -> Row:
    """Damaged archives and a pickle with code inside in DATA_DIR: refused by checksum before anything reads them."""
    data, crater, lost = house.folder / "data", house.folder / "crater", 0
    for kind, names in (("MNIST/raw", MNIST_NAMES), ("cifar-10-batches-py", CIFAR_NAMES)):
        (data / kind).mkdir(parents=True)
        for name in names:
            bomb(data / kind / name, crater)
    for study in ("mnist_poison", "cifar_data"):
        lost += not house.make(study, THREADS="1").refused("error: Expected", str(Path("data")))
    lost += crater.exists()
    return Row("damage", "data sets that hold a pickle with code inside: refused, never run", 2, lost)


MNIST_NAMES = tuple(f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
CIFAR_NAMES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
