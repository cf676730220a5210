"""Data sets as tensors: downloaded, verified and normalised once, the same on every machine."""

import gzip
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import md5
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from minima_volume.errors import DataError

MNIST_FILES = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
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


def digest(path: Path) -> str:
    """The md5 of a file, as the data sets' authors publish it; it guards against damage, not against attackers."""
    return md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def tensor_digest(*tensors: Tensor) -> str:
    """An md5 of tensors' values, for data sets that are made rather than downloaded."""
    joined = b"".join(tensor.contiguous().numpy().tobytes() for tensor in tensors)
    return md5(joined, usedforsecurity=False).hexdigest()


def _mnist_archives(data_dir: Path) -> dict[str, Path]:
    """The four verified MNIST archives, downloaded through torchvision where they are missing."""
    folder = data_dir / "MNIST" / "raw"
    paths = {name: folder / name for name in MNIST_FILES}
    missing = [name for name, path in paths.items() if not path.exists()]
    if missing:
        _download_mnist(data_dir, missing)
    for name, path in paths.items():
        got = digest(path)
        if got != MNIST_FILES[name]:
            raise DataError(
                f"Expected md5 {MNIST_FILES[name]} of {path}, got {got} ({path.stat().st_size} bytes): "
                f"delete the file to have it downloaded again, or copy a good one there. {OFFLINE}"
            )
    return paths


def _download_mnist(data_dir: Path, missing: list[str]) -> None:
    """Fetch into a scratch folder and move whole archives only, so that nothing half-written is ever found."""
    from torchvision.datasets import MNIST

    folder = data_dir / "MNIST" / "raw"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=data_dir) as scratch:
            MNIST(scratch, download=True)
            folder.mkdir(parents=True, exist_ok=True)
            for name in missing:
                shutil.move(Path(scratch) / "MNIST" / "raw" / name, folder / name)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"Expected the MNIST archives {', '.join(missing)} in {folder}, found none, and none of "
            f"{' and '.join(MNIST.mirrors)} answered: put the four .gz files there or point DATA_DIR at them. {OFFLINE}"
        ) from error


def _idx(path: Path) -> np.ndarray:
    """The array in an IDX archive: two zero bytes, type, rank, big-endian sizes, then bytes."""
    raw = gzip.decompress(path.read_bytes())
    rank = raw[3]
    shape = np.frombuffer(raw, ">i4", rank, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def load_mnist(data_dir: Path, seed: int) -> Dataset:
    """60,000 + 10,000 handwritten digits, 1×28×28, normalised by mean 0.1307 and deviation 0.3081."""
    paths = _mnist_archives(data_dir)
    arrays = {name.split("-idx")[0]: torch.from_numpy(_idx(path).copy()) for name, path in paths.items()}

    def normalised(images: Tensor) -> Tensor:
        return ((images.float() / 255 - 0.1307) / 0.3081).unsqueeze(1)

    return Dataset(
        "MNIST",
        normalised(arrays["train-images"]),
        arrays["train-labels"].long(),
        normalised(arrays["t10k-images"]),
        arrays["t10k-labels"].long(),
        "cross_entropy",
        10,
        dict(MNIST_FILES),
    )


def load_cifar10(data_dir: Path, seed: int) -> Dataset:
    """50,000 + 10,000 colour images, 3×32×32, normalised channel by channel."""
    from torchvision.datasets import CIFAR10

    present = (data_dir / "cifar-10-batches-py").is_dir()
    try:
        train, test = (CIFAR10(str(data_dir), train=part, download=not present) for part in (True, False))
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"Expected the md5-exact CIFAR-10 batches in {data_dir / 'cifar-10-batches-py'}, got: {error} "
            f"Unpack cifar-10-python.tar.gz there ({CIFAR10.url}) or point DATA_DIR at it. {OFFLINE}"
        ) from error
    mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)
    deviation = torch.tensor([0.2470, 0.2435, 0.2616]).view(3, 1, 1)

    def normalised(images: np.ndarray) -> Tensor:
        return (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - mean) / deviation

    return Dataset(
        "CIFAR-10",
        normalised(train.data),
        torch.tensor(train.targets),
        normalised(test.data),
        torch.tensor(test.targets),
        "cross_entropy",
        10,
        dict([*CIFAR10.train_list, *CIFAR10.test_list]),
    )


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
    "mnist": load_mnist,
    "cifar10": load_cifar10,
    "digits": load_digits,
    "swiss_roll": load_swiss_roll,
    "modulo": load_modulo,
}


def load(name: str, seed: int) -> Dataset:
    """The named data set from DATA_DIR (default `data`); `seed` matters only to the spirals, which are drawn."""
    return _load(name, Path(os.environ.get("DATA_DIR") or "data"), seed if name == "swiss_roll" else 0)


@cache
def _load(name: str, data_dir: Path, seed: int) -> Dataset:
    return LOADERS[name](data_dir, seed)


if __name__ == "__main__":
    try:
        for wanted in sys.argv[1:]:
            load(wanted, 0)
    except DataError as error:
        sys.exit(f"error: {error}")
