"""Downloads: damaged and foreign files are refused by checksum, missing ones are downloaded once and complete."""

import gzip
import os
import pickle
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from hashlib import md5, sha256
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minima_volume.errors import DataError
from minima_volume.storage.atomic import LOCK
from minima_volume.training.datasets import CIFAR10_FILES, IDX_FILES, IDX_SETS, IdxImages, load_cifar10, load_idx
from minima_volume.training.downloads import Checksums, verified_contents
from minima_volume.training.unpickling import unpickled_batch
from tests.training.archives import idx_archive

MNIST_MD5 = dict(zip(IDX_FILES, IDX_SETS["mnist"].md5, strict=True))
load_mnist = partial(load_idx, IDX_SETS["mnist"])


def mnist_folder(tmp_path: Path, source: Path | None) -> Path:
    """Write four archives below tmp_path as DATA_DIR: those of `source`, or made-up ones."""
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
    """Check that one sentence names the file, both checksums, what to do, and the experiment without a download."""
    with pytest.raises(DataError) as caught:
        load_mnist(data_dir, 0)
    said = str(caught.value)
    for part in (str(path), f"Expected md5 {MNIST_MD5[path.name]}", f"got {md5(content).hexdigest()}", "delete"):
        assert part in said
    assert "make digits_poison" in said and "\n" not in said
    assert path.read_bytes() == content  # the file is kept


def test_a_foreign_batch_is_never_unpickled(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in CIFAR10_FILES:
        (folder / name).write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(DataError, match=r"Expected md5 .*data_batch_1, got .*delete"):
        load_cifar10(tmp_path, 0)
    assert not (tmp_path / "ran").exists()


class Pickled:
    """An object whose unpickling makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.mkdir, (self.path,))


def test_a_batch_is_unpickled_without_running_anything(tmp_path: Path) -> None:
    """Even bytes with the right checksums, for a checksum may be forged or mistyped."""
    plain = {"data": np.arange(6, dtype=np.uint8).reshape(2, 3), "labels": [1, 2], "name": "text", "share": 0.5}
    found = unpickled_batch(pickle.dumps(plain, protocol=3))
    np.testing.assert_array_equal(found.pop("data"), plain.pop("data"))
    assert found == plain
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        for harmful in (Pickled(tmp_path / "crater"), {"data": np.array([Pickled(tmp_path / "crater")])}, os.getcwd):
            with pytest.raises(pickle.UnpicklingError, match="expected arrays"):
                unpickled_batch(pickle.dumps(harmful, protocol))
    assert not (tmp_path / "crater").exists()


def test_a_forged_md5_is_not_enough() -> None:
    """Anyone can make two files with one md5."""
    sums = Checksums(md5(b"digits").hexdigest(), sha256(b"others").hexdigest())
    assert str(sums.difference(b"digits")).startswith(f"sha256 {sums.sha256} of ")
    assert Checksums(sums.md5, sha256(b"digits").hexdigest()).difference(b"digits") is None


def test_what_is_used_is_what_was_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that changes after it was checked changes nothing, because it is read once."""
    path = tmp_path / "set" / "a"
    path.parent.mkdir()
    path.write_bytes(b"digits")
    sums = {"a": Checksums(md5(b"digits").hexdigest())}
    plain = Checksums.difference

    def changed_meanwhile(own: Checksums, content: bytes) -> str | None:
        path.write_bytes(b"others")
        return plain(own, content)

    monkeypatch.setattr(Checksums, "difference", changed_meanwhile)
    assert verified_contents(tmp_path, "set", sums, "MNIST") == [b"digits"]


class Shop:
    """A substitute for a class of torchvision.datasets: it slowly writes the archives and counts its downloads."""

    mirrors = ("http://shop", "https://shop")
    root: str
    downloads = 0
    damaged = False

    def __init__(self) -> None:
        raise AssertionError("a constructor of torchvision reads and unpickles what it downloaded")

    def download(self) -> None:
        assert self.mirrors == ["https://shop"]
        type(self).downloads += 1
        folder = Path(self.root) / "Shop" / "raw"
        folder.mkdir(parents=True)
        for name in IDX_FILES:
            time.sleep(0.02)
            content = idx_archive(np.zeros((2, 3, 3) if "images" in name else 2))
            (folder / name).write_bytes(content + b"x" * self.damaged)


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> IdxImages:
    """Let torchvision be the shop; return the row of its data set."""
    shops = SimpleNamespace(datasets=SimpleNamespace(Shop=Shop))
    monkeypatch.setitem(sys.modules, "torchvision", shops)
    monkeypatch.setattr(Shop, "downloads", 0)
    archives = [idx_archive(np.zeros((2, 3, 3) if "images" in name else 2)) for name in IDX_FILES]
    sums = tuple(md5(content).hexdigest() for content in archives)
    return replace(IDX_SETS["mnist"], source="Shop", md5=sums, sha256=None)


def test_data_are_downloaded_once_and_complete(shop: IdxImages, tmp_path: Path) -> None:
    # Each call opens its own lock, like the stages of several studies under `make -j`.
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: load_idx(shop, tmp_path / "data", 0), range(4)))
    assert Shop.downloads == 1 and all(len(each.inputs) == 2 for each in found)
    left = {path.name for path in (tmp_path / "data").iterdir()}
    assert left == {"Shop", LOCK}  # no scratch folder


def test_a_damaged_download_does_not_enter_the_folder(
    shop: IdxImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shop, "damaged", True)
    with pytest.raises(DataError, match=r"Expected md5 .* of train-images.* from the servers of Shop"):
        load_idx(shop, tmp_path, 0)
    assert not list(tmp_path.rglob("*.gz"))


def test_a_server_without_https_is_not_asked(shop: IdxImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shop, "mirrors", ("http://shop",))
    with pytest.raises(DataError, match="no answer from any address with https: copy the files there"):
        load_idx(shop, tmp_path, 0)
    assert Shop.downloads == 0


@pytest.mark.filterwarnings("default")  # torchvision warns about failed mirrors
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
    # No new file and no scratch folder.
    assert sorted(path.name for path in folder.iterdir()) == before
    assert {path.name for path in tmp_path.iterdir()} == {"MNIST", LOCK}
