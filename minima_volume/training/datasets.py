"""Data sets as tensors: downloaded, checked and normalised, the same on every machine."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minima_volume.errors import extra
from minima_volume.training.downloads import Checksums, verified_contents
from minima_volume.training.unpickling import unpickled_batch

IDX_FILES = (
    "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz",
)  # fmt: skip


@dataclass(frozen=True)
class Dataset:
    """A training and a test set.

    Attributes:
        name: The name in tables and figures.
        inputs: Training inputs (N, …).
        targets: Training targets (N,), whole numbers.
        test_inputs: Test inputs (M, …).
        test_targets: Test targets (M,).
        loss: Key of `losses.CRITERIA`.
        n_classes: Number of classes.
        checksums: md5 of what the numbers came from, by file name.
    """

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
    """A data set in the format of MNIST: grey images of ten classes, in the four archives IDX_FILES.

    Attributes:
        name: The name in tables and figures.
        source: The class of torchvision that downloads it; the archives are in DATA_DIR/<source>/raw.
        mean: Mean of the training pixels, scaled to between 0 and 1.
        deviation: Their standard deviation.
        md5: Checksums of IDX_FILES, in their order.
        sha256: The same, where they are known.
    """

    name: str
    source: str
    mean: float
    deviation: float
    md5: tuple[str, str, str, str]
    sha256: tuple[str, str, str, str] | None = None

    def checksums(self) -> dict[str, Checksums]:
        """Return both checksums by file name."""
        pairs = zip(IDX_FILES, self.md5, self.sha256 or (None,) * len(IDX_FILES), strict=True)
        return {name: Checksums(own, other) for name, own, other in pairs}


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
        sha256=(
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
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
CIFAR10_SHA256 = {
    "data_batch_1": "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd",
    "data_batch_2": "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8",
    "data_batch_3": "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9",
    "data_batch_4": "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b",
    "data_batch_5": "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154",
    "test_batch": "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831",
}


def tensor_digest(*tensors: Tensor) -> str:
    """Return the md5 of the values of tensors, for data sets that are generated."""
    joined = b"".join(tensor.contiguous().numpy().tobytes() for tensor in tensors)
    return md5(joined, usedforsecurity=False).hexdigest()


def _idx(content: bytes) -> np.ndarray:
    """Read the array of an IDX archive: two zero bytes, type, rank, big-endian sizes, then bytes."""
    raw = gzip.decompress(content)
    rank = raw[3]
    shape = np.frombuffer(raw, ">i4", rank, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def load_idx(images: IdxImages, data_dir: Path, seed: int) -> Dataset:
    """Load a data set in the format of MNIST.

    Args:
        images: A row of IDX_SETS.
        data_dir: The folder of the data sets; missing files are downloaded to it.
        seed: Not used.

    Returns:
        Images with one channel, normalised by the row's mean and deviation.

    Raises:
        DataError: A file is damaged, or missing and cannot be downloaded.
    """
    sums = images.checksums()
    contents = verified_contents(data_dir, f"{images.source}/raw", sums, images.source)
    inputs, targets, test_inputs, test_targets = (torch.from_numpy(_idx(content).copy()) for content in contents)

    def normalise(pixels: Tensor) -> Tensor:
        return pixels.float().div_(255).sub_(images.mean).div_(images.deviation).unsqueeze(1)

    return Dataset(
        images.name, normalise(inputs), targets.long(), normalise(test_inputs), test_targets.long(),
        "cross_entropy", 10, {name: own.md5 for name, own in sums.items()},
    )  # fmt: skip


def load_cifar10(data_dir: Path, seed: int) -> Dataset:
    """Load CIFAR-10: 50,000 training and 10,000 test images, 3×32×32, normalised channel by channel.

    Args:
        data_dir: The folder of the data sets; missing files are downloaded to it.
        seed: Not used.

    Raises:
        DataError: A file is damaged, or missing and cannot be downloaded.
    """
    sums = {name: Checksums(md5, CIFAR10_SHA256[name]) for name, md5 in CIFAR10_FILES.items()}
    batches = [
        unpickled_batch(content) for content in verified_contents(data_dir, "cifar-10-batches-py", sums, "CIFAR10")
    ]
    mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)
    deviation = torch.tensor([0.2470, 0.2435, 0.2616]).view(3, 1, 1)

    def part(*chosen: dict[str, Any]) -> tuple[Tensor, Tensor]:
        pixels = torch.from_numpy(np.concatenate([batch["data"] for batch in chosen])).view(-1, 3, 32, 32)
        labels = torch.tensor([label for batch in chosen for label in batch["labels"]])
        return pixels.float().div_(255).sub_(mean).div_(deviation), labels  # in place: a copy takes 600 MB

    return Dataset("CIFAR-10", *part(*batches[:-1]), *part(batches[-1]), "cross_entropy", 10, dict(CIFAR10_FILES))


def load_digits(data_dir: Path, seed: int) -> Dataset:
    """Load the 1,797 digits of 8×8 pixels that scikit-learn bundles (not MNIST), split into 1,297 and 500.

    Args:
        data_dir: Not used.
        seed: Not used; the split is fixed.
    """
    with extra("studies", "the bundled digits"):
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
    """Draw two interleaved spirals of 1.7 turns with Gaussian noise of deviation 0.3, in random order."""
    rng = np.random.default_rng(seed)
    angle = 1.7 * 2 * np.pi * np.sqrt(rng.random((2, n_per_class)))
    arms = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * angle[..., None]
    arms[1] *= -1
    points = (arms + 0.3 * rng.standard_normal(arms.shape)).reshape(-1, 2)
    order = rng.permutation(2 * n_per_class)
    labels = np.repeat([0, 1], n_per_class)
    return torch.from_numpy(points[order]).float(), torch.from_numpy(labels[order]).long()


def load_swiss_roll(data_dir: Path, seed: int) -> Dataset:
    """Draw two spirals in the plane: 1,000 training points and 4,000 test points.

    Args:
        data_dir: Not used.
        seed: Seed of the training points; the test points have `seed + 1`.
    """
    inputs, targets = _spirals(500, seed)
    test_inputs, test_targets = _spirals(2000, seed + 1)
    checksum = {f"spirals seed {seed}": tensor_digest(inputs, targets, test_inputs, test_targets)}
    return Dataset("two spirals", inputs, targets, test_inputs, test_targets, "binary_cross_entropy", 2, checksum)


def load_modulo(data_dir: Path, seed: int) -> Dataset:
    """Make the table of a + b mod 97: all 9,409 pairs, each as two one-hot vectors.

    Training and test set are both the whole table.

    Args:
        data_dir: Not used.
        seed: Not used.
    """
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
SEEDED = {"swiss_roll"}  # data sets that depend on the seed


def load(name: str, seed: int, data_dir: Path = Path("data")) -> Dataset:
    """Load a data set, once per process.

    Args:
        name: Key of LOADERS.
        seed: Seed of the data sets in SEEDED; the others do not depend on it.
        data_dir: The folder of the data sets.

    Raises:
        DataError: A file is damaged, or missing and cannot be downloaded.
    """
    return _load(name, data_dir, seed if name in SEEDED else 0)


@cache
def _load(name: str, data_dir: Path, seed: int) -> Dataset:
    """Load a data set, with arguments that do not differ without need."""
    return LOADERS[name](data_dir, seed)
