"""The rendering benchmark: its table, and that measuring it alone keeps the other numbers."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bench, planes, rendering, report
from tests.project import ROOT

BENCHMARKS = ROOT / "benchmarks"


def film(whole: float) -> dict[str, Any]:
    """A made-up row: 100 frames, 6 s of drawing, 2 s of blank frames, `whole` seconds of film in five equal phases."""
    phases = dict.fromkeys(rendering.PHASES, whole / 5)
    return {"name": "waves", "n_frames": 100, "processes": 2, "drawing": 6.0, "blank": 2.0, "phases": phases}


@pytest.mark.parametrize(("whole", "judged"), [(16.0, "2.00×"), (20.0, "**2.50×**, over the target")])
def test_the_table_compares_a_film_with_its_parts(whole: float, judged: str) -> None:
    *_, line = rendering.lines([film(whole)])
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == [
        "waves, 100 frames, 2 processes", f"{100 / whole:.1f}", f"{whole:.1f}", "6.0", "2.0", judged, *["20%"] * 5,
    ]  # fmt: skip
    head = rendering.lines([])[-2]
    assert head.count("|") == line.count("|")


def test_rendering_alone_is_merged_with_the_other_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(BENCHMARKS / "results.json", tmp_path)
    before = json.loads((tmp_path / "results.json").read_text())
    monkeypatch.setattr(bench, "HERE", tmp_path)
    monkeypatch.setattr(bench.rendering, "rendering", lambda: [film(16.0)])
    bench.only_rendering()
    after = json.loads((tmp_path / "results.json").read_text())
    assert after.pop("rendering") == [film(16.0)]
    before.pop("rendering", None)
    assert after == before
    page = (tmp_path / "README.md").read_text()
    assert "waves, 100 frames" in page
    assert page.startswith(report.page(before).rstrip("\n"))  # the other sections stay, and stay first


def test_films_are_measured_in_a_process_of_their_own() -> None:
    rows = rendering.rendering({"draft": 3})
    assert [row["name"].split(",")[0] for row in rows] == ["contours", "surface"]
    for row in rows:
        assert row["n_frames"] == 3 and set(row["phases"]) == set(rendering.PHASES)
        assert min(row["drawing"], row["blank"], *row["phases"].values()) > 0
    assert all(row["name"] in line for row, line in zip(rows, rendering.lines(rows)[-2:], strict=True))


def test_the_table_of_planes_compares_them_with_a_plain_loop() -> None:
    row = {"name": "MNIST MLP, few", "nodes": 100, "loop": 9.0, "plane": 2.0, "per_node": 0.015, "difference": 2e-7,
           "tool": 7.0, "limit": 6.6, "share_of_matmul": 0.5, "device": "cpu: Zeus"}  # fmt: skip
    *text, head, _, line = planes.lines([row])
    assert "Measured on cpu: Zeus." in "\n".join(text)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == ["MNIST MLP, few", "9", "2", "4.50×", "15", "6.00×", "4.5×", "7", "0.50", "2e-07"]
    assert head.count("|") == line.count("|")


def test_planes_alone_are_merged_with_the_other_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(BENCHMARKS / "results.json", tmp_path)
    before = json.loads((tmp_path / "results.json").read_text())
    monkeypatch.setattr(bench, "HERE", tmp_path)
    monkeypatch.setattr(planes, "planes", lambda runs: [])
    bench.only_planes(1)
    after = json.loads((tmp_path / "results.json").read_text())
    assert after.pop("planes") == [] and after == {name: rows for name, rows in before.items() if name != "planes"}
