"""Exports: tables, meshes and pages, read back and compared with the surface."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.videos.films import TINY, OneHand
from videos import export, html_page


@pytest.fixture(scope="module")
def exported(example: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All exports of the example."""
    folder = tmp_path_factory.mktemp("exports")
    piece = export.Export("example", example[1], "")
    piece.make(folder, TINY, OneHand())
    return example[0], dict(zip(("csv", "html", "vtp", "A", "B", "C"), piece.files(folder), strict=True))


def test_the_table_reads_back(exported: Any) -> None:
    data, files = exported
    header, rows = files["csv"].read_text().split("\n", 1)
    assert header == "training_samples,from_a_to_b,from_a_to_c,mean_loss"
    numbers = np.array([[float(cell) for cell in row.split(",")] for row in rows.splitlines()])
    shape = (len(data.few_sizes()), len(data.y), len(data.x))
    assert len(numbers) == np.prod(shape)
    # Cells carry eight digits.
    np.testing.assert_allclose(numbers[:, 3].reshape(shape), data.mean_loss[data.few_sizes()], rtol=1e-7)
    np.testing.assert_array_equal(numbers[:, 0].reshape(shape)[:, 0, 0], data.sizes[data.few_sizes()])
    np.testing.assert_allclose(numbers[:, 1].reshape(shape)[0, 0], data.x, atol=1e-7)
    np.testing.assert_allclose(numbers[:, 2].reshape(shape)[0, :, 0], data.y, atol=1e-7)


def test_the_wavefront_mesh_is_the_surface(exported: Any) -> None:
    data, files = exported
    for letter, corner in zip("ABC", data.info["corners"], strict=True):
        lines = files[letter].read_text(encoding="utf-8").splitlines()
        nodes = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
        faces = np.array([line.split()[1:] for line in lines if line.startswith("f ")], int) - 1
        assert nodes.shape == (21 * 21, 3) and faces.shape == (2 * 20 * 20, 3)
        assert f"; {corner['n_train']} training samples" in lines[0] and "quick run" in lines[0]
        # Heights are written with six digits.
        np.testing.assert_allclose(nodes[:, 2], data.drawn(data.size_index(corner["n_train"])).ravel(), atol=1e-5)
        a, b, c = (nodes[faces[:, i]] for i in range(3))
        area = np.cross(b - a, c - a)[:, 2]
        assert (area > 0).all() and area.sum() / 2 == pytest.approx(4.0)  # every face up, the whole plane once


def test_the_vtk_mesh_is_the_surface(exported: Any) -> None:
    data, files = exported
    piece = ElementTree.parse(files["vtp"]).getroot().find("PolyData/Piece")
    assert piece is not None
    arrays = {array.get("Name"): np.array((array.text or "").split(), float) for array in piece.iter("DataArray")}
    n_points, n_faces = int(piece.get("NumberOfPoints", 0)), int(piece.get("NumberOfPolys", 0))
    assert (n_points, n_faces) == (21 * 21, 2 * 20 * 20)
    assert arrays["points"].size == 3 * n_points and arrays["connectivity"].size == 3 * n_faces
    assert arrays["connectivity"].max() == n_points - 1 and arrays["offsets"].tolist() == list(
        range(3, 3 * n_faces + 1, 3)
    )
    fields = [name for name in arrays if name and name.startswith("log10_loss_")]
    assert fields == [f"log10_loss_{data.sizes[i]:06d}" for i in data.few_sizes()]
    np.testing.assert_allclose(arrays[fields[0]], data.drawn(0).ravel(), atol=1e-5)
    np.testing.assert_allclose(arrays["points"][2::3], arrays[fields[-1]])


def test_the_page_has_a_frame_for_every_size_and_needs_no_network(exported: Any) -> None:
    data, files = exported
    sizes = [str(data.sizes[i]) for i in data.few_sizes()]
    figure = html_page.page(data)
    assert [frame.name for frame in figure.frames] == sizes
    assert [step.args[0] for step in figure.layout.sliders[0].steps] == [(size,) for size in sizes]
    for frame, index in zip(figure.frames, data.few_sizes(), strict=True):
        np.testing.assert_array_equal(frame.data[0].z, data.drawn(index).astype(np.float32))
    text = files["html"].read_text(encoding="utf-8")
    frames = text[text.index("Plotly.addFrames(") :]
    assert re.findall(r'"name":\s*"(\d+)"', frames) == sizes
    assert not re.search(r"<(script|link)[^>]+(src|href)=", text)
    assert "quick run, not paper scale" in text and "A → B (1 = distance 1.0)" in json.loads(f'"{_scene_names(text)}"')


def _scene_names(text: str) -> str:
    found = re.search(r'"xaxis":\s*\{"title":\s*\{"text":\s*"([^"]+)"', text)
    assert found is not None
    return found[1]


WATCH = """<script>requestAnimationFrame = f => setTimeout(() => f(performance.now()), 16);  // no screen, no frames
window.told = []; console.error = (...words) => told.push(words.join(' '));
addEventListener('error', event => told.push(event.message));
addEventListener('unhandledrejection', event => told.push(String(event.reason)));</script>"""
DRIVE = """<script>addEventListener('load', async () => {
const pause = time => new Promise(go => setTimeout(go, time)), plot = document.getElementById('surface'), seen = {};
const look = () => ({heights: Array.from(plot._fullData[0].z, row => Array.from(row)),
  slider: plot.querySelector('.slider-label').textContent, title: plot.querySelector('.gtitle').textContent,
  webgl: plot.querySelectorAll('canvas').length});
try {
  for (let i = 0; i < 50 && !plot.querySelector('.slider-rail-touch-rect'); i++) await pause(50);
  seen.before = look();
  const rail = plot.querySelector('.slider-rail-touch-rect'), box = rail.getBoundingClientRect();
  const end = {clientX: box.right - 1, clientY: box.top + box.height / 2, bubbles: true, view: window};
  rail.dispatchEvent(new MouseEvent('mousedown', end)); await pause(100);
  rail.dispatchEvent(new MouseEvent('mouseup', end)); await pause(600);
  seen.after = look();
} catch (error) { told.push(String(error)); }
seen.told = told;
document.body.innerHTML = ''; document.body.appendChild(document.createElement('pre')).textContent = JSON.stringify(seen);
});</script>"""


def test_the_slider_moves_the_surface_in_a_browser(exported: Any, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs chromium on the PATH (apt-get install chromium)")
    data, files = exported
    text = files["html"].read_text(encoding="utf-8")
    driven = tmp_path / "driven.html"
    driven.write_text(
        text.replace("<head>", f"<head>{WATCH}", 1).replace("</body>", f"{DRIVE}</body>", 1), encoding="utf-8"
    )
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
             f"--user-data-dir={tmp_path / 'profile'}", "--window-size=640,480", "--virtual-time-budget=3000",
             "--dump-dom", driven.as_uri()]  # fmt: skip
    done = subprocess.run([browser, *flags], capture_output=True, text=True, timeout=100)
    found = re.search(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    seen = json.loads(unescape(found[1]))
    assert seen["told"] == []
    first, last = data.few_sizes()[0], data.few_sizes()[-1]
    for look, index in ((seen["before"], first), (seen["after"], last)):
        np.testing.assert_allclose(look["heights"], data.drawn(index), atol=1e-6)
        assert (
            look["slider"].endswith(f": {data.sizes[index]:,}") and f"{data.sizes[index]:,} training" in look["title"]
        )
        assert look["webgl"] > 0
