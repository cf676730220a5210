"""Data sets: counts, normalisation, checksums, and one sentence where MNIST is damaged or cannot be had."""

import gzip
import shutil
import socket
from hashlib import md5
from pathlib import Path

import numpy as np
import pytest
import torch

from minima_volume import datasets
from minima_volume.datasets import MNIST_FILES, load, load_digits, load_mnist, load_modulo, load_swiss_roll
from minima_volume.errors import DataError

NOWHERE = Path("/nonexistent")


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
    for name in MNIST_FILES:
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
    for part in (str(path), f"Expected md5 {MNIST_FILES[path.name]}", f"got {md5(content).hexdigest()}", "delete"):
        assert part in said
    assert "make digits_poison" in said and "\n" not in said
    assert path.read_bytes() == content  # nobody's file is thrown away unasked


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
