"""Data sets: counts, normalisation, and readers against hand-written archives."""

import gzip
import pickle
from dataclasses import replace
from functools import partial
from hashlib import md5, sha256
from pathlib import Path

import numpy as np
import pytest
import torch

from minima_volume.training import datasets
from minima_volume.training.datasets import (
    CIFAR10_FILES,
    IDX_FILES,
    IDX_SETS,
    load_cifar10,
    load_digits,
    load_idx,
    load_modulo,
    load_swiss_roll,
)
from tests.training.archives import idx_archive

NOWHERE = Path("/nonexistent")
load_mnist = partial(load_idx, IDX_SETS["mnist"])


def test_digits() -> None:
    digits = load_digits(NOWHERE, 0)
    assert digits.inputs.shape == (1297, 1, 8, 8) and digits.test_inputs.shape == (500, 1, 8, 8)
    assert digits.inputs.dtype == torch.float32 and digits.targets.dtype == torch.int64
    # Both parts have about 10 % of each class: 130 ± 11 and 50 ± 7; the bounds are four deviations.
    assert (torch.bincount(digits.targets, minlength=10) - 129.7).abs().max() < 44
    assert (torch.bincount(digits.test_targets, minlength=10) - 50).abs().max() < 28
    both = torch.cat([digits.inputs, digits.test_inputs])
    # The normalisation's constants have four digits.
    assert both.mean().item() == pytest.approx(0, abs=5e-4) and both.std().item() == pytest.approx(1, abs=5e-4)
    assert "digits" in digits.name and "MNIST" not in digits.name


def test_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits as bundled

    digits, original = load_digits(NOWHERE, 0), bundled()
    images = (torch.cat([digits.inputs, digits.test_inputs]) * 0.3760 + 0.3053) * 16
    labels = torch.cat([digits.targets, digits.test_targets])
    rows = np.column_stack([images.flatten(1).round().numpy(), labels.numpy()])
    wanted = np.column_stack([original.data, original.target])
    # The same labelled images in another order, none twice and none missing; pixels are whole numbers.
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], wanted[np.lexsort(wanted.T)])


def test_digits_do_not_depend_on_a_seed() -> None:
    assert torch.equal(load_digits(NOWHERE, 0).inputs, load_digits(NOWHERE, 7).inputs)


def test_spirals() -> None:
    first, again, other = (load_swiss_roll(NOWHERE, seed) for seed in (3, 3, 4))
    assert torch.equal(first.inputs, again.inputs) and not torch.equal(first.inputs, other.inputs)
    assert first.checksums == again.checksums != other.checksums
    assert torch.bincount(first.targets).tolist() == [500, 500]
    assert torch.bincount(first.test_targets).tolist() == [2000, 2000]
    # No test point is a training point.
    assert not set(map(tuple, first.inputs.tolist())) & set(map(tuple, first.test_inputs.tolist()))
    assert first.inputs.shape == (1000, 2) and first.test_inputs.shape == (4000, 2)
    assert 400 < int(first.targets[:900].sum()) < 500  # the classes are in random order


def test_spirals_lie_on_spirals() -> None:
    points = load_swiss_roll(NOWHERE, 0)
    x = (
        points.inputs.double().numpy() * np.where(points.targets.numpy() == 0, 1, -1)[:, None]
    )  # one arm is the mirror image of the other
    t = np.linspace(0, 1.7 * 2 * np.pi, 20_000)
    curve = np.column_stack([t * np.cos(t), t * np.sin(t)])
    distance = np.sqrt(((x[:, None] - curve[None, ::10]) ** 2).sum(axis=2)).min(axis=1)
    # Noise of deviation 0.3 across the curve has mean distance 0.3·√(2/π) = 0.24, standard error 0.006; near the centre
    # other turns are closer.
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


def test_load_passes_the_folder_and_the_seed_of_generated_data_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []
    for name in ("probe", "swiss_roll"):
        monkeypatch.setitem(datasets.LOADERS, name, lambda *given, name=name: asked.append((name, *given)))
    datasets.load("probe", 3, tmp_path)
    datasets.load("probe", 4, tmp_path)  # another seed gives the same data, so nothing is loaded again
    datasets.load("probe", 3)
    datasets.load("swiss_roll", 3, tmp_path)
    assert asked == [("probe", tmp_path, 0), ("probe", Path("data"), 0), ("swiss_roll", tmp_path, 3)]


def test_mnist(data_dir: Path) -> None:
    mnist = load_mnist(data_dir, 0)
    assert mnist.inputs.shape == (60_000, 1, 28, 28) and mnist.test_inputs.shape == (10_000, 1, 28, 28)
    # The published class counts of the training set.
    assert torch.bincount(mnist.targets).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.test_targets[:5].tolist() == [7, 2, 1, 0, 4]
    # The normalisation's constants have four digits.
    assert mnist.inputs.mean().item() == pytest.approx(0, abs=5e-4)
    assert mnist.inputs.std().item() == pytest.approx(1, abs=5e-4)
    assert mnist.name == "MNIST"


def test_idx_reader_on_a_hand_written_archive() -> None:
    numbers = bytes(range(24))
    raw = b"\x00\x00\x08\x03" + b"".join(size.to_bytes(4, "big") for size in (2, 3, 4)) + numbers
    array = datasets._idx(gzip.compress(raw))
    assert array.shape == (2, 3, 4) and array[1, 2, 3] == 23 and array[0, 1, 0] == 4


def test_a_new_row_of_idx_sets_loads_a_new_data_set(tmp_path: Path) -> None:
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
        (folder / name).write_bytes(idx_archive(array))
    sums = tuple(md5((folder / name).read_bytes()).hexdigest() for name in IDX_FILES)
    row = replace(IDX_SETS["mnist"], name="made", source="Made", mean=0.25, deviation=0.5, md5=sums, sha256=None)
    found = load_idx(row, tmp_path, 0)
    for inputs, pixels in ((found.inputs, arrays[0]), (found.test_inputs, arrays[2])):
        # Float32 keeps seven digits.
        np.testing.assert_allclose(inputs[:, 0].numpy(), (pixels / 255 - 0.25) / 0.5, rtol=1e-5, atol=1e-6)
    assert found.targets.tolist() == arrays[1].tolist() and found.test_targets.tolist() == arrays[3].tolist()
    assert found.name == "made" and tuple(found.checksums.values()) == sums
    assert found.targets.dtype == torch.int64


@pytest.fixture
def tiny_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Write six batches of three images in the published format to tmp_path; return their pixels, each (3, 3072)."""
    rng, folder = np.random.default_rng(1), tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = [rng.integers(0, 256, (3, 3072)).astype(np.uint8) for _ in CIFAR10_FILES]
    sums, sha256s = {}, {}
    for i, (name, data) in enumerate(zip(CIFAR10_FILES, pixels, strict=True)):
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": [i, 1, 2]}, protocol=3))
        sums[name] = md5((folder / name).read_bytes()).hexdigest()
        sha256s[name] = sha256((folder / name).read_bytes()).hexdigest()
    monkeypatch.setattr(datasets, "CIFAR10_FILES", sums)
    monkeypatch.setattr(datasets, "CIFAR10_SHA256", sha256s)
    return pixels


def test_cifar_batches_are_joined_channel_by_channel(tiny_cifar: list[np.ndarray], tmp_path: Path) -> None:
    cifar = load_cifar10(tmp_path, 0)
    assert cifar.inputs.shape == (15, 3, 32, 32) and cifar.test_inputs.shape == (3, 3, 32, 32)
    assert cifar.targets.tolist() == [label for i in range(5) for label in (i, 1, 2)]
    assert cifar.test_targets.tolist() == [5, 1, 2]
    # Each image has 1,024 red, then 1,024 green, then 1,024 blue values, row by row.
    blue = (tiny_cifar[1][2, 2048 + 32 * 7 + 9] / 255 - 0.4465) / 0.2616
    red = (tiny_cifar[5][0, 32 * 31] / 255 - 0.4914) / 0.2470
    assert cifar.inputs[5, 2, 7, 9].item() == pytest.approx(blue, rel=1e-5)
    assert cifar.test_inputs[0, 0, 31, 0].item() == pytest.approx(red, rel=1e-5)


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
