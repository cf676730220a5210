"""Files of lines and planes: they read back, in this package and in the form that other programs expect."""

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
import torch
from torch import nn

from minima_volume import loss_line, loss_path, loss_plane
from minima_volume.errors import ResultsError, UserError
from minima_volume.landscapes import html
from minima_volume.landscapes.plane import Plane
from tests.landscapes.problems import three, with_weights
from tests.project import ROOT

DRAW = torch.Generator().manual_seed(0)
DATA = (torch.randn(30, 4, generator=DRAW), torch.randint(0, 3, (30,), generator=DRAW))
NODES = 9


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.fixture(scope="module")
def plane() -> Plane:
    others = {"D": with_weights(mlp(), 9)}
    return loss_plane(
        *three(mlp), loss=nn.CrossEntropyLoss(), data=DATA, nodes=NODES, sizes=(10,), others=others, threshold=1.1,
        progress=False,
    )  # fmt: skip


def test_an_archive_reads_back_and_needs_no_pickle(plane: Plane, tmp_path: Path) -> None:
    plane.save(tmp_path / "plane.npz")
    again = Plane.load((tmp_path / "plane.npz").rename(tmp_path / "moved.npz"))
    for name, value in vars(plane).items():
        if name == "range":
            continue
        np.testing.assert_equal(getattr(again, name), value)
    with np.load(tmp_path / "moved.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["mean_loss"], plane.mean_loss)
        assert archive["model_distance"][3] == plane.models[3].distance > 0
    assert [plane.is_off(mark) for mark in plane.models] == [False, False, False, True]
    with pytest.raises(ResultsError, match="another archive"):
        loss_line(*three(mlp)[:2], nn.CrossEntropyLoss(), DATA, nodes=3, progress=False).save(tmp_path / "line.npz")
        Plane.load(tmp_path / "line.npz")


def test_a_plane_at_fewer_sizes_keeps_their_losses(plane: Plane) -> None:
    small = plane.at_sizes([10])
    assert small.sizes == (10,) and np.isnan(small.loss_se).all()  # errors are those of all samples
    np.testing.assert_array_equal(small.loss, plane.mean_loss[0])
    assert [mark.loss for mark in small.models] == [mark.mean_loss[0] for mark in plane.models]
    np.testing.assert_array_equal(plane.at_sizes([30, 10]).mean_loss, plane.mean_loss)
    np.testing.assert_array_equal(plane.at_sizes([30]).loss_se, plane.loss_se)
    for sizes in ([11], []):
        with pytest.raises(UserError, match="evaluate the plane with these sizes"):
            plane.at_sizes(sizes)


def test_a_path_is_saved_without_its_models(tmp_path: Path) -> None:
    curve = loss_path(*three(mlp)[:2], nn.CrossEntropyLoss(), DATA, steps=3, nodes=5, progress=False)
    for name in ("curve.npz", "curve.csv"):
        curve.save(tmp_path / name)
    with np.load(tmp_path / "curve.npz", allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["mean_loss"], curve.mean_loss)
        np.testing.assert_array_equal(archive["t"], curve.t)
        assert json.loads(str(archive["info"]))["length"] == curve.length
    assert len((tmp_path / "curve.csv").read_text().splitlines()) == 1 + 5


def test_tables_have_a_row_for_every_node(plane: Plane, tmp_path: Path) -> None:
    plane.save(tmp_path / "plane.csv")
    rows = np.genfromtxt(tmp_path / "plane.csv", delimiter=",", names=True)
    assert len(rows) == 2 * NODES * NODES
    # Cells carry eight digits.
    np.testing.assert_allclose(rows["mean_loss"], plane.mean_loss.ravel(), rtol=1e-7)
    np.testing.assert_allclose(rows["x"][:NODES], plane.x, rtol=1e-7, atol=1e-12)
    line = loss_line(*three(mlp)[:2], nn.CrossEntropyLoss(), DATA, test=DATA, nodes=5, progress=False)
    line.save(tmp_path / "line.csv")
    rows = np.genfromtxt(tmp_path / "line.csv", delimiter=",", names=True)
    np.testing.assert_allclose(rows["test_loss"], line.loss, rtol=1e-7)


def test_meshes_are_the_surface_with_true_lengths(plane: Plane, tmp_path: Path) -> None:
    plane.to_mesh(tmp_path / "plane.obj")
    lines = (tmp_path / "plane.obj").read_text(encoding="utf-8").splitlines()
    nodes = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
    faces = np.array([line.split()[1:] for line in lines if line.startswith("f ")], int) - 1
    a, b, c = (nodes[faces[:, i]] for i in range(3))
    area = np.cross(b - a, c - a)[:, 2]
    # Six digits are written.
    assert (area > 0).all() and area.sum() / 2 == pytest.approx(np.ptp(plane.x) * np.ptp(plane.y), rel=1e-4)
    np.testing.assert_allclose(nodes[:, 2], plane.drawn().ravel(), atol=1e-5)
    plane.to_mesh(tmp_path / "plane.vtp")
    piece = ElementTree.parse(tmp_path / "plane.vtp").getroot().find("PolyData/Piece")
    assert piece is not None
    arrays = {array.get("Name"): np.array((array.text or "").split(), float) for array in piece.iter("DataArray")}
    np.testing.assert_allclose(arrays["points"].reshape(-1, 3), nodes, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(arrays["log10_loss_000010"], plane.drawn(0).ravel(), atol=1e-5)
    np.testing.assert_allclose(arrays["error_rate"], plane.error_rate[-1].ravel(), atol=1e-5)


def test_the_archive_for_landscaper_has_its_two_arrays(plane: Plane, tmp_path: Path) -> None:
    """Landscaper takes `numpy.meshgrid(*coordinates)` as the places of `loss`, in this order."""
    plane.to_landscaper(tmp_path / "plane.npz")
    with np.load(tmp_path / "plane.npz", allow_pickle=False) as archive:
        loss, coordinates = archive["loss"], archive["coordinates"]
    x, y = np.meshgrid(*coordinates)
    assert loss.shape == x.shape
    at = np.unravel_index(7, loss.shape)
    assert (x[at], y[at]) == (plane.x[at[1]], plane.y[at[0]]) and loss[at] == plane.loss[at]


def test_an_unknown_ending_is_refused(plane: Plane, tmp_path: Path) -> None:
    for call, words in ((plane.save, ".npz or .csv"), (plane.to_mesh, ".vtp or .obj"), (plane.to_landscaper, ".npz")):
        with pytest.raises(ResultsError, match=re.escape(words)):
            call(tmp_path / "plane.txt")


def test_pictures_show_what_was_measured(plane: Plane, tmp_path: Path) -> None:
    figure = plane.plot()
    axes = figure.axes[0]
    assert axes.get_aspect() == 1 and f"angle at A {plane.angle:.1f}°" in axes.get_title(loc="left")
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[0].startswith("A: ") and names[3].endswith("off the plane")
    figure.savefig(tmp_path / "plane.png")
    plane.plot_surface(0).savefig(tmp_path / "surface.png")
    loss_line(*three(mlp)[:2], nn.CrossEntropyLoss(), DATA, nodes=3, progress=False).plot().savefig(
        tmp_path / "line.png"
    )


# --- the page ---------------------------------------------------------------------------------------------------------

WATCH = """<script>window.told = []; console.error = (...words) => told.push(words.join(' '));
console.warn = (...words) => told.push(words.join(' '));
addEventListener('error', event => told.push(event.message));
addEventListener('unhandledrejection', event => told.push(String(event.reason)));</script>"""
DRIVE = """<script>addEventListener('load', async () => {
const pause = time => new Promise(go => setTimeout(go, time)), seen = {};
const found = name => document.getElementById(name)._fullData.slice(1).map(trace => [trace.name, trace.z[0]]);
const look = () => ({heights: Array.from(surface._fullData[0].z, row => Array.from(row)),
  level: [surface._fullData[0].contours.z.start, map._fullData[1].contours.start], samples: samples.textContent,
  names: found('surface'), curve: document.getElementById('curves')._fullLayout.shapes[0].x0,
  width: document.documentElement.scrollWidth, inner: innerWidth, webgl: surface.querySelectorAll('canvas').length,
  right: Math.max(...[...document.querySelectorAll('.view, input')].map(part => part.getBoundingClientRect().right))});
const slide = async (input, value) => { input.value = value; input.dispatchEvent(new Event('input')); await pause(400); };
const [surface, map, samples, size, level] = ['surface', 'map', 'samples', 'size', 'level'].map(
  name => document.getElementById(name));
try {
  for (let i = 0; i < 100 && !(map._fullData && samples.textContent); i++) await pause(50);
  await pause(400);
  seen.before = look();
  await slide(level, 800); await slide(size, 0);
  seen.after = look();
} catch (error) { told.push(String(error)); }
seen.told = told;
document.body.innerHTML = ''; document.body.appendChild(document.createElement('pre')).textContent = JSON.stringify(seen);
});</script>"""


def test_a_page_needs_no_network_and_is_small(plane: Plane, tmp_path: Path) -> None:
    plane.to_html(tmp_path / "plane.html")
    text = (tmp_path / "plane.html").read_text(encoding="utf-8")
    assert len(text) < 3_000_000 and '<html lang="en">' in text and "<title>Loss on a plane" in text
    assert 'name="viewport"' in text and not re.search(r"<(script|link)[^>]+(src|href)=", text)


@pytest.mark.parametrize("width", [390, 1280])
def test_sliders_move_surface_and_contours_in_a_browser(plane: Plane, tmp_path: Path, width: int) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs chromium on the PATH (apt-get install chromium)")
    plane.to_html(tmp_path / "plane.html")
    text = (tmp_path / "plane.html").read_text(encoding="utf-8")
    driven = text.replace("<head>", f"<head>{WATCH}", 1).replace("</body>", f"{DRIVE}</body>", 1)
    (tmp_path / "driven.html").write_text(driven, encoding="utf-8")
    # A window cannot be narrower than 500 pixels, so that the page is shown in a frame.
    frame = f'<iframe id="frame" src="driven.html" style="width: {width}px; height: 800px; border: 0"></iframe>'
    fetch = "setTimeout(() => document.body.append(frame.contentDocument.querySelector('pre') || 'nothing'), 9000)"
    (tmp_path / "host.html").write_text(f"<body>{frame}<script>{fetch}</script></body>", encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
             "--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,900",
             "--virtual-time-budget=12000", "--dump-dom", (tmp_path / "host.html").as_uri()]  # fmt: skip
    done = subprocess.run([browser, *flags], capture_output=True, text=True, timeout=100)
    found = re.search(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)
    assert found is not None, done.stdout[-300:] + done.stderr[-2000:]
    seen: dict[str, Any] = json.loads(unescape(found[1]))
    assert seen["told"] == []
    low, high = np.log10(plane.range)
    for look, index in ((seen["before"], 1), (seen["after"], 0)):
        np.testing.assert_allclose(look["heights"], plane.drawn(index), atol=1e-3)  # three digits are in the page
        assert look["samples"] == str(plane.sizes[index]) and look["webgl"] > 0
        assert look["curve"] == pytest.approx(plane.sizes[index])
        for (name, height), mark in zip(look["names"], plane.models, strict=True):
            assert name.startswith(f"{mark.name}: {mark.mean_loss[index]:.3g}")
            assert height == pytest.approx(np.log10(mark.mean_loss[index]) + html.LIFT * (high - low), abs=1e-6)
        assert look["inner"] == width and look["width"] <= width and look["right"] <= width
    assert seen["before"]["level"][0] == pytest.approx(np.log10(1.1), abs=(high - low) / 100)
    assert seen["after"]["level"] == pytest.approx([low + 0.8 * (high - low)] * 2, abs=1e-9)


def test_the_example_of_the_readme_draws_a_surface(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Draw its loss landscape")[2]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None and len([line for line in found[1].splitlines() if line]) <= 5
    monkeypatch.chdir(tmp_path)
    exec(found[1], {"model": with_weights(mlp(), 0), "loss": nn.CrossEntropyLoss(), "data": DATA})
    assert (tmp_path / "surface.png").stat().st_size > 10_000
