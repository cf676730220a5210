"""Data sets: counts, normalisation, checksums, and one sentence where one is damaged or cannot be had."""

import gzip
import pickle
import shutil
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from hashlib import md5
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from minima_volume.errors import DataError
from minima_volume.training import datasets
from minima_volume.training.datasets import (
    CIFAR10_FILES,
    IDX_FILES,
    IDX_SETS,
    load,
    load_cifar10,
    load_digits,
    load_idx,
    load_modulo,
    load_swiss_roll,
)

NOWHERE = Path("/nonexistent")
MNIST_MD5 = dict(zip(IDX_FILES, IDX_SETS["mnist"].md5, strict=True))
load_mnist = partial(load_idx, IDX_SETS["mnist"])


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a connection fails at once, and no test relies on it."""

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError("no network in the tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_digits() -> None:
    digits = load_digits(NOWHERE, 0)
    assert digits.inputs.shape == (1297, 1, 8, 8) and digits.test_inputs.shape == (500, 1, 8, 8)
    assert digits.inputs.dtype == torch.float32 and digits.targets.dtype == torch.int64
    # All ten classes, near 10 % each in both parts: 130 ± 11 and 50 ± 7, four deviations.
    assert (torch.bincount(digits.targets, minlength=10) - 129.7).abs().max() < 44
    assert (torch.bincount(digits.test_targets, minlength=10) - 50).abs().max() < 28
    both = torch.cat([digits.inputs, digits.test_inputs])
    # The constants of the normalisation are written to four digits.
    assert both.mean().item() == pytest.approx(0, abs=5e-4) and both.std().item() == pytest.approx(1, abs=5e-4)
    assert "digits" in digits.name and "MNIST" not in digits.name


def test_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits as bundled

    digits, original = load_digits(NOWHERE, 0), bundled()
    images = (torch.cat([digits.inputs, digits.test_inputs]) * 0.3760 + 0.3053) * 16
    labels = torch.cat([digits.targets, digits.test_targets])
    rows = np.column_stack([images.flatten(1).round().numpy(), labels.numpy()])
    wanted = np.column_stack([original.data, original.target])
    # The same labelled images in another order, none twice, none lost; pixels are whole numbers.
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], wanted[np.lexsort(wanted.T)])


def test_digits_do_not_depend_on_a_seed() -> None:
    assert torch.equal(load_digits(NOWHERE, 0).inputs, load_digits(NOWHERE, 7).inputs)


def test_spirals() -> None:
    first, again, other = (load_swiss_roll(NOWHERE, seed) for seed in (3, 3, 4))
    assert torch.equal(first.inputs, again.inputs) and not torch.equal(first.inputs, other.inputs)
    assert first.checksums == again.checksums != other.checksums
    assert torch.bincount(first.targets).tolist() == [500, 500]
    assert torch.bincount(first.test_targets).tolist() == [2000, 2000]
    # Fresh points to test on: no test point is a training point.
    assert not set(map(tuple, first.inputs.tolist())) & set(map(tuple, first.test_inputs.tolist()))
    assert first.inputs.shape == (1000, 2) and first.test_inputs.shape == (4000, 2)
    assert 400 < int(first.targets[:900].sum()) < 500  # the classes come in mixed order


def test_spirals_lie_on_spirals() -> None:
    points = load_swiss_roll(NOWHERE, 0)
    x = points.inputs.double().numpy() * np.where(points.targets.numpy() == 0, 1, -1)[:, None]  # arms are mirror images
    t = np.linspace(0, 1.7 * 2 * np.pi, 20_000)
    curve = np.column_stack([t * np.cos(t), t * np.sin(t)])
    distance = np.sqrt(((x[:, None] - curve[None, ::10]) ** 2).sum(axis=2)).min(axis=1)
    # Noise of deviation 0.3 across the curve: mean |distance| 0.3·√(2/π) = 0.24, error 0.006; near the centre it is less.
    assert distance.mean() == pytest.approx(0.24, abs=0.024) and distance.max() < 5 * 0.3
    assert np.linalg.norm(x, axis=1).max() == pytest.approx(1.7 * 2 * np.pi, abs=1)


def test_modulo_table() -> None:
    table = load_modulo(NOWHERE, 0)
    assert table.inputs.shape == (9409, 194) and torch.equal(table.inputs, table.test_inputs)
    seen = set()
    for row, target in zip(table.inputs, table.targets.tolist(), strict=True):
        places = row.nonzero().flatten().tolist()
        assert row[places].tolist() == [1, 1]
        a, b = places[0], places[1] - 97
        assert 0 <= a < 97 and 0 <= b < 97 and target == (a + b) % 97
        seen.add((a, b))
    assert len(seen) == 97 * 97


def test_load_reads_data_dir_when_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []
    monkeypatch.setitem(datasets.LOADERS, "probe", lambda folder, seed: asked.append((folder, seed)))
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    load("probe", 3)
    monkeypatch.delenv("DATA_DIR")
    load("probe", 3)
    assert [folder for folder, _ in asked] == [tmp_path, Path("data")]


def test_mnist(data_dir: Path) -> None:
    mnist = load_mnist(data_dir, 0)
    assert mnist.inputs.shape == (60_000, 1, 28, 28) and mnist.test_inputs.shape == (10_000, 1, 28, 28)
    # Published class counts of the training set.
    assert torch.bincount(mnist.targets).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.test_targets[:5].tolist() == [7, 2, 1, 0, 4]
    # The constants are the training set's mean and deviation to four digits.
    assert mnist.inputs.mean().item() == pytest.approx(0, abs=5e-4)
    assert mnist.inputs.std().item() == pytest.approx(1, abs=5e-4)
    assert mnist.name == "MNIST"


def test_idx_against_a_hand_written_archive(tmp_path: Path) -> None:
    numbers = bytes(range(24))
    raw = b"\x00\x00\x08\x03" + b"".join(size.to_bytes(4, "big") for size in (2, 3, 4)) + numbers
    path = tmp_path / "made.gz"
    path.write_bytes(gzip.compress(raw))
    array = datasets._idx(path)
    assert array.shape == (2, 3, 4) and array[1, 2, 3] == 23 and array[0, 1, 0] == 4


def mnist_folder(tmp_path: Path, source: Path | None) -> Path:
    """tmp_path as DATA_DIR with four archives, real where `source` has them, else made up."""
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in IDX_FILES:
        if source:
            shutil.copyfile(source / "MNIST" / "raw" / name, folder / name)
        else:
            (folder / name).write_bytes(gzip.compress(name.encode()))
    return folder


@pytest.mark.parametrize("damaged", ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"])
def test_truncated_archive(damaged: str, tmp_path: Path, data_dir: Path) -> None:
    path = mnist_folder(tmp_path, data_dir) / damaged
    content = path.read_bytes()[:-1000]
    path.write_bytes(content)
    check_damage(tmp_path, path, content)


def test_foreign_archives(tmp_path: Path) -> None:
    path = mnist_folder(tmp_path, None) / "train-images-idx3-ubyte.gz"
    check_damage(tmp_path, path, path.read_bytes())


def check_damage(data_dir: Path, path: Path, content: bytes) -> None:
    """One sentence: which file, the md5 expected and got, what to do, and the experiment that needs no download."""
    with pytest.raises(DataError) as caught:
        load_mnist(data_dir, 0)
    said = str(caught.value)
    for part in (str(path), f"Expected md5 {MNIST_MD5[path.name]}", f"got {md5(content).hexdigest()}", "delete"):
        assert part in said
    assert "make digits_poison" in said and "\n" not in said
    assert path.read_bytes() == content  # nobody's file is thrown away unasked


def archive(array: np.ndarray) -> bytes:
    """An IDX archive written by hand: two zero bytes, type 8 for bytes, rank, big-endian sizes, values."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes(), mtime=0)


def test_a_row_is_all_that_a_data_set_of_this_format_needs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = [
        rng.integers(0, 256, (30, 4, 4)),
        np.arange(30) % 10,
        rng.integers(0, 256, (20, 4, 4)),
        np.arange(20) % 10,
    ]
    folder = tmp_path / "Made" / "raw"
    folder.mkdir(parents=True)
    for name, array in zip(IDX_FILES, arrays, strict=True):
        (folder / name).write_bytes(archive(array))
    sums = tuple(md5((folder / name).read_bytes()).hexdigest() for name in IDX_FILES)
    row = replace(IDX_SETS["mnist"], name="made", source="Made", mean=0.25, deviation=0.5, md5=sums)
    found = load_idx(row, tmp_path, 0)
    for inputs, pixels in ((found.inputs, arrays[0]), (found.test_inputs, arrays[2])):
        # Float32 keeps seven digits.
        np.testing.assert_allclose(inputs[:, 0].numpy(), (pixels / 255 - 0.25) / 0.5, rtol=1e-5, atol=1e-6)
    assert found.targets.tolist() == arrays[1].tolist() and found.test_targets.tolist() == arrays[3].tolist()
    assert found.name == "made" and tuple(found.checksums.values()) == sums
    assert found.targets.dtype == torch.int64


@pytest.fixture
def tiny_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Six published-format batches of three images in tmp_path; their pixels (3, 3072)."""
    rng, folder = np.random.default_rng(1), tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = [rng.integers(0, 256, (3, 3072)).astype(np.uint8) for _ in CIFAR10_FILES]
    sums = {}
    for i, (name, data) in enumerate(zip(CIFAR10_FILES, pixels, strict=True)):
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": [i, 1, 2]}, protocol=2))
        sums[name] = md5((folder / name).read_bytes()).hexdigest()
    monkeypatch.setattr(datasets, "CIFAR10_FILES", sums)
    return pixels


def test_cifar_batches_are_joined_channel_by_channel(tiny_cifar: list[np.ndarray], tmp_path: Path) -> None:
    cifar = load_cifar10(tmp_path, 0)
    assert cifar.inputs.shape == (15, 3, 32, 32) and cifar.test_inputs.shape == (3, 3, 32, 32)
    assert cifar.targets.tolist() == [label for i in range(5) for label in (i, 1, 2)]
    assert cifar.test_targets.tolist() == [5, 1, 2]
    # A batch holds 1,024 red, 1,024 green and 1,024 blue values per image, row by row.
    blue = (tiny_cifar[1][2, 2048 + 32 * 7 + 9] / 255 - 0.4465) / 0.2616
    red = (tiny_cifar[5][0, 32 * 31] / 255 - 0.4914) / 0.2470
    assert cifar.inputs[5, 2, 7, 9].item() == pytest.approx(blue, rel=1e-5)
    assert cifar.test_inputs[0, 0, 31, 0].item() == pytest.approx(red, rel=1e-5)


def test_a_foreign_batch_is_never_unpickled(tiny_cifar: list[np.ndarray], tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(DataError, match=r"Expected md5 .*data_batch_3, got .*delete"):
        load_cifar10(tmp_path, 0)
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_rows_and_readers_agree_with_torchvision(data_dir: Path) -> None:
    from torchvision import datasets as sources

    for row in IDX_SETS.values():
        assert dict(getattr(sources, row.source).resources) == dict(zip(IDX_FILES, row.md5, strict=True))
    assert dict([*sources.CIFAR10.train_list, *sources.CIFAR10.test_list]) == CIFAR10_FILES
    if not (data_dir / "cifar-10-batches-py").is_dir():
        pytest.skip(f"CIFAR-10 is not in DATA_DIR={data_dir}")
    cifar, train = load_cifar10(data_dir, 0), sources.CIFAR10(str(data_dir), train=True)
    assert torch.bincount(cifar.targets).tolist() == [5000] * 10 and cifar.targets.tolist() == train.targets
    for i in (0, 12_345, 49_999):
        back = (cifar.inputs[i] * torch.tensor([0.2470, 0.2435, 0.2616]).view(3, 1, 1)).permute(1, 2, 0)
        pixels = (back + torch.tensor([0.4914, 0.4822, 0.4465])) * 255
        assert np.array_equal(pixels.round().numpy(), train.data[i])


class Shop:
    """Stands for a class of torchvision.datasets: writes the archives into its root, slowly, and counts."""

    mirrors = ("http://shop",)
    downloads = 0

    def __init__(self, root: str, download: bool) -> None:
        type(self).downloads += 1
        folder = Path(root) / "Shop" / "raw"
        folder.mkdir(parents=True)
        for name in IDX_FILES:
            time.sleep(0.02)
            (folder / name).write_bytes(archive(np.zeros((2, 3, 3) if "images" in name else 2)))


def test_data_are_fetched_once_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shops = SimpleNamespace(datasets=SimpleNamespace(Shop=Shop))
    monkeypatch.setitem(sys.modules, "torchvision", shops)  # type: ignore[arg-type]  # the real one takes seconds to load
    archives = [archive(np.zeros((2, 3, 3) if "images" in name else 2)) for name in IDX_FILES]
    row = replace(IDX_SETS["mnist"], source="Shop", md5=tuple(md5(content).hexdigest() for content in archives))
    # Each call opens its own lock, as the stages of several studies under `make -j` do.
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: load_idx(row, tmp_path / "data", 0), range(4)))
    assert Shop.downloads == 1 and all(len(each.inputs) == 2 for each in found)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["Shop"]  # no scratch folder is left


@pytest.mark.filterwarnings("default")  # torchvision's own warnings about failed mirrors are its affair
def test_missing_archives_without_a_network(tmp_path: Path) -> None:
    folder = mnist_folder(tmp_path, None)
    (folder / "t10k-images-idx3-ubyte.gz").unlink()
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(DataError) as caught:
        load_mnist(tmp_path, 0)
    said = str(caught.value)
    for part in ("t10k-images-idx3-ubyte.gz", str(folder), "http", "DATA_DIR", "make digits_poison"):
        assert part in said
    assert "\n" not in said
    # Nothing half-written: no new file, no scratch folder.
    assert sorted(path.name for path in folder.iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["MNIST"]
