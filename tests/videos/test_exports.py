"""Exports of a study's plane, read back and compared with the surface; tests/landscapes drives the page."""

from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.videos.films import TINY, OneHand
from videos import export


@pytest.fixture(scope="module")
def exported(example: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All exports of the example."""
    folder = tmp_path_factory.mktemp("exports")
    piece = export.Export("example", example[1], "")
    piece.make(folder, TINY, OneHand())
    return example[0], dict(zip(("csv", "html", "vtp", "A", "B", "C"), piece.files(folder), strict=True))


def test_the_table_and_the_mesh_hold_few_sizes(exported: Any) -> None:
    data, files = exported
    rows = np.genfromtxt(files["csv"], delimiter=",", names=True)
    few = data.few_sizes()
    assert {corner["n_train"] for corner in data.info["corners"]} <= set(few) <= set(data.sizes)
    assert len(rows) == len(few) * data.plane.x.size * data.plane.y.size
    places = [data.sizes.index(size) for size in few]
    # Cells carry eight digits.
    np.testing.assert_allclose(rows["mean_loss"], data.plane.mean_loss[places].ravel(), rtol=1e-7)
    names = [array.get("Name") for array in ElementTree.parse(files["vtp"]).getroot().iter("DataArray")]
    assert [name for name in names if name and name.startswith("log10_loss_")] == [f"log10_loss_{n:06d}" for n in few]


def test_each_wavefront_mesh_is_the_surface_at_the_size_of_its_minimum(exported: Any) -> None:
    data, files = exported
    for letter, corner in zip("ABC", data.info["corners"], strict=True):
        lines = files[letter].read_text(encoding="utf-8").splitlines()
        nodes = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
        assert f"{corner['n_train']:,} samples" in lines[0]
        losses = data.plane.mean_loss[data.size_index(corner["n_train"])].ravel()
        wanted = np.log10(np.maximum(losses, losses.max() * 1e-6))  # six decades are drawn
        # Heights are written with six digits.
        np.testing.assert_allclose(nodes[:, 2], wanted, atol=1e-5)


def test_the_page_names_the_study(exported: Any) -> None:
    data, files = exported
    text = files["html"].read_text(encoding="utf-8")
    assert "<title>Loss on the plane through three minima: three basins</title>" in text
    assert "quick run, not paper scale" in text and f"A trained on {data.info['corners'][0]['n_train']:,}" in text
    assert len(text) < 3_000_000
