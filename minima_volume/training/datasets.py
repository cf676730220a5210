"""Data sets as tensors: downloaded, verified and normalised once, the same on every machine."""

import fcntl
import gzip
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minima_volume.errors import DataError

IDX_FILES = (
    "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz",
)  # fmt: skip
OFFLINE = "`make digits_poison` runs the same experiment and needs no download."


@dataclass(frozen=True)
class Dataset:
    """A training and a test set; `loss` names the criterion, `checksums` what the numbers came from."""

    name: str
    inputs: Tensor
    targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor
    loss: str
    n_classes: int
    checksums: dict[str, str]


@dataclass(frozen=True)
class IdxImages:
    """A data set in the format of MNIST: ten kinds of grey images, in the four archives IDX_FILES."""

    name: str
    source: str  # torchvision's class that knows where to get it; the archives lie in DATA_DIR/<source>/raw
    mean: float  # of the training set's pixels, which are between 0 and 1
    deviation: float
    md5: tuple[str, str, str, str]  # of IDX_FILES, in their order


IDX_SETS = {
    "mnist": IdxImages(
        name="MNIST",
        source="MNIST",
        mean=0.1307,
        deviation=0.3081,
        md5=(
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
    ),
}
CIFAR10_FILES = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}


def digest(path: Path) -> str:
    """The md5 of a file, as the data sets' authors publish it; it guards against damage, not against attackers."""
    return md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def tensor_digest(*tensors: Tensor) -> str:
    """An md5 of tensors' values, for data sets that are made rather than downloaded."""
    joined = b"".join(tensor.contiguous().numpy().tobytes() for tensor in tensors)
    return md5(joined, usedforsecurity=False).hexdigest()


def _verified(data_dir: Path, folder: str, md5s: dict[str, str], source: str) -> list[Path]:
    """The files of a data set in the order of `md5s`, downloaded where they are missing, and exact."""
    paths = [data_dir / folder / name for name in md5s]
    if not all(path.exists() for path in paths):
        _fetch(data_dir, [path.relative_to(data_dir) for path in paths], source)
    for path, expected in zip(paths, md5s.values(), strict=True):
        got = digest(path)
        if got != expected:
            raise DataError(
                f"Expected md5 {expected} of {path}, got {got} ({path.stat().st_size} bytes): "
                f"delete the file to have it downloaded again, or copy a good one there. {OFFLINE}"
            )
    return paths


def _fetch(data_dir: Path, wanted: Sequence[Path], source: str) -> None:
    """Download through torchvision into a scratch folder and move whole files only, so that none is ever half there."""
    # Imported only here, because torchvision takes longer to load than any of its data sets.
    from torchvision import datasets as sources

    known = getattr(sources, source)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with _alone(data_dir), tempfile.TemporaryDirectory(dir=data_dir) as scratch:
            missing = [path for path in wanted if not (data_dir / path).exists()]
            if missing:
                print(f"Downloading {source} into {data_dir}", flush=True)
                known(scratch, download=True)
            for path in missing:
                (data_dir / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(Path(scratch) / path, data_dir / path)
    except (NotADirectoryError, FileExistsError, PermissionError) as error:
        raise DataError(f"Expected DATA_DIR to be a folder to write to, got {data_dir}: {error.strerror}.") from error
    except (OSError, RuntimeError) as error:
        missing = [path for path in wanted if not (data_dir / path).exists()]
        raise DataError(
            f"Expected the files {', '.join(path.name for path in missing)} in {data_dir / wanted[0].parent}, found none, "
            f"and none of {' and '.join(getattr(known, 'mirrors', None) or [known.url])} answered: put them there or "
            f"point DATA_DIR at them. {OFFLINE}"
        ) from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time; the others wait, and find the files when their turn comes."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _idx(path: Path) -> np.ndarray:
    """The array in an IDX archive: two zero bytes, type, rank, big-endian sizes, then bytes."""
    raw = gzip.decompress(path.read_bytes())
    rank = raw[3]
    shape = np.frombuffer(raw, ">i4", rank, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def load_idx(images: IdxImages, data_dir: Path, seed: int) -> Dataset:
    """Grey images of a row of IDX_SETS with one channel, shifted and scaled by the row's mean and deviation."""
    md5s = dict(zip(IDX_FILES, images.md5, strict=True))
    paths = _verified(data_dir, f"{images.source}/raw", md5s, images.source)
    inputs, targets, test_inputs, test_targets = (torch.from_numpy(_idx(path).copy()) for path in paths)

    def normalised(pixels: Tensor) -> Tensor:
        return pixels.float().div_(255).sub_(images.mean).div_(images.deviation).unsqueeze(1)

    return Dataset(
        images.name, normalised(inputs), targets.long(), normalised(test_inputs), test_targets.long(),
        "cross_entropy", 10, md5s,
    )  # fmt: skip


def load_cifar10(data_dir: Path, seed: int) -> Dataset:
    """50,000 + 10,000 colour images, 3×32×32, normalised channel by channel."""
    paths = _verified(data_dir, "cifar-10-batches-py", CIFAR10_FILES, "CIFAR10")
    # Unpickling runs what a file says; these are the published files to the byte.
    batches = [pickle.loads(path.read_bytes(), encoding="latin1") for path in paths]
    mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)
    deviation = torch.tensor([0.2470, 0.2435, 0.2616]).view(3, 1, 1)

    def part(*chosen: dict[str, Any]) -> tuple[Tensor, Tensor]:
        pixels = torch.from_numpy(np.concatenate([batch["data"] for batch in chosen])).view(-1, 3, 32, 32)
        labels = torch.tensor([label for batch in chosen for label in batch["labels"]])
        return pixels.float().div_(255).sub_(mean).div_(deviation), labels  # in place: a copy is 600 MB

    return Dataset("CIFAR-10", *part(*batches[:-1]), *part(batches[-1]), "cross_entropy", 10, dict(CIFAR10_FILES))


def load_digits(data_dir: Path, seed: int) -> Dataset:
    """1,797 digits of 8×8 pixels that ship inside scikit-learn: 1,297 to train, 500 to test, a fixed split. Not MNIST."""
    from sklearn.datasets import load_digits as bundled

    data = bundled()
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(data.target)))
    images = torch.from_numpy(data.images).float()[order].unsqueeze(1) / 16
    images, labels = (images - 0.3053) / 0.3760, torch.from_numpy(data.target).long()[order]
    checksum = {"digits": tensor_digest(images, labels)}
    return Dataset(
        "digits 8×8", images[:1297], labels[:1297], images[1297:], labels[1297:], "cross_entropy", 10, checksum
    )


def _spirals(n_per_class: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two interleaved spirals of 1.7 turns with Gaussian noise of deviation 0.3, classes in random order."""
    rng = np.random.default_rng(seed)
    angle = 1.7 * 2 * np.pi * np.sqrt(rng.random((2, n_per_class)))
    arms = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * angle[..., None]
    arms[1] *= -1
    points = (arms + 0.3 * rng.standard_normal(arms.shape)).reshape(-1, 2)
    order = rng.permutation(2 * n_per_class)
    labels = np.repeat([0, 1], n_per_class)
    return torch.from_numpy(points[order]).float(), torch.from_numpy(labels[order]).long()


def load_swiss_roll(data_dir: Path, seed: int) -> Dataset:
    """Two spirals in the plane, 1,000 points to train, 2,000 per class to test, drawn from `seed` and `seed + 1`."""
    inputs, targets = _spirals(500, seed)
    test_inputs, test_targets = _spirals(2000, seed + 1)
    checksum = {f"spirals seed {seed}": tensor_digest(inputs, targets, test_inputs, test_targets)}
    return Dataset("two spirals", inputs, targets, test_inputs, test_targets, "binary_cross_entropy", 2, checksum)


def load_modulo(data_dir: Path, seed: int) -> Dataset:
    """a + b mod 97 for all 9,409 pairs as two one-hot vectors; training and test set are both the whole table."""
    a, b = torch.meshgrid(torch.arange(97), torch.arange(97), indexing="ij")
    a, b = a.flatten(), b.flatten()
    inputs = torch.cat([torch.nn.functional.one_hot(a, 97), torch.nn.functional.one_hot(b, 97)], dim=1).float()
    targets = (a + b) % 97
    checksum = {"modulo table": tensor_digest(inputs, targets)}
    return Dataset("addition mod 97", inputs, targets, inputs, targets, "one_hot_squared_error", 97, checksum)


LOADERS: dict[str, Callable[[Path, int], Dataset]] = {
    "cifar10": load_cifar10,
    "digits": load_digits,
    "swiss_roll": load_swiss_roll,
    "modulo": load_modulo,
    **{name: partial(load_idx, images) for name, images in IDX_SETS.items()},
}


def load(name: str, seed: int) -> Dataset:
    """The named data set from DATA_DIR (default `data`); `seed` matters only to the spirals, which are drawn."""
    return _load(name, Path(os.environ.get("DATA_DIR") or "data"), seed if name == "swiss_roll" else 0)


@cache
def _load(name: str, data_dir: Path, seed: int) -> Dataset:
    return LOADERS[name](data_dir, seed)
