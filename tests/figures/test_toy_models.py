"""The toy diagrams: complete and reproducible pictures."""

import os
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
from matplotlib import pyplot as plt

from minima_volume.drawing import style
from tests.pipeline.test_makefile import make
from tests.project import ROOT, copy_sources, mark_ready

DIAGRAMS = (
    "grid_rounding",
    "l_shaped_basin",
    "limit_points",
    "scale_invariance",
    "simplest_model",
    "volume_hypotheses",
    "volume_vs_data",
)


def test_every_script_is_tested() -> None:
    scripts = {path.stem for path in (ROOT / "toy_models").glob("*.py")}
    assert scripts == {*DIAGRAMS, "__init__", "closed_forms", "diagram"}


def run_script(name: str, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a diagram as `python -m toy_models.NAME` does."""
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--out", folder])
    runpy.run_path(str(ROOT / "toy_models" / f"{name}.py"), run_name="__main__")


@pytest.mark.parametrize("name", DIAGRAMS)
def test_script_writes_a_complete_picture(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_script(name, "made/here", monkeypatch)
    pdf, png = sorted((tmp_path / "made" / "here").iterdir())
    assert (pdf.name, png.name) == (f"{name}.pdf", f"{name}.png")
    ink = image.imread(png)[..., :3].min(axis=2) < 0.9
    assert 0.02 < ink.mean() < 0.6  # neither blank nor flooded
    edges = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
    assert not edges.any()  # no label is cut off at the edge of the paper
    assert b"/FontFile2" in pdf.read_bytes() and b"/Type3" not in pdf.read_bytes()  # TrueType, which editors accept
    if name == "simplest_model":  # one for all: they are saved by the same lines
        before = pdf.read_bytes(), png.read_bytes()
        run_script(name, "made/here", monkeypatch)
        assert (pdf.read_bytes(), png.read_bytes()) == before
        assert b"CreationDate" not in before[0]


def test_quick_note_overlaps_nothing() -> None:
    style.use()
    figure, axes = plt.subplots()
    axes.set_xlabel("data size (examples)")
    axes.set_title("landscape")
    style.label_panels([axes])
    style.mark_quick(figure)
    figure.draw_without_rendering()
    note, panel = figure.texts[0].get_window_extent(), axes.get_tightbbox()
    plt.close(figure)
    assert panel is not None and not note.overlaps(panel) and figure.bbox.contains(note.x0, note.y0)
    assert "quick run" in figure.texts[0].get_text() and axes.get_title(loc="left").endswith("landscape")


def test_quick_note_on_a_figure_that_is_laid_out() -> None:
    style.use()
    figure, _ = plt.subplots()
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    before = figure.axes[0].get_position().bounds
    style.mark_quick(figure)
    figure.draw_without_rendering()
    after = figure.axes[0].get_position().bounds
    plt.close(figure)
    assert "quick run" in figure.texts[0].get_text() and before == after


# Stands in for .venv/bin/python: writes down the script and touches the pictures that it would draw.
STUB = """#!/usr/bin/env bash
set -eu
name=${2##*.}
echo "$name" >> calls.log
mkdir -p toy_models/out
touch "toy_models/out/$name.pdf" "toy_models/out/$name.png"
"""


def test_make_toy_draws_what_is_not_up_to_date(tmp_path: Path) -> None:
    copy_sources(tmp_path)
    python, log = tmp_path / ".venv" / "bin" / "python", tmp_path / "calls.log"
    python.parent.mkdir(parents=True)
    python.write_text(STUB)
    python.chmod(0o755)
    mark_ready(tmp_path)

    def drawn() -> list[str]:
        log.unlink(missing_ok=True)
        done = make("toy", "-j2", cwd=tmp_path)
        assert done.returncode == 0 and "7 diagrams are up to date" in done.stdout, done.stderr
        return sorted(log.read_text().split()) if log.exists() else []

    assert drawn() == sorted(DIAGRAMS)
    assert drawn() == []
    out = tmp_path / "toy_models" / "out"
    (out / "limit_points.png").unlink()
    assert drawn() == ["limit_points"]
    later = max(path.stat().st_mtime for path in out.iterdir()) + 10
    os.utime(tmp_path / "toy_models" / "simplest_model.py", (later, later))
    assert make("toy", "-n", cwd=tmp_path).stdout.count("toy_models.simplest_model") == 1
    os.utime(tmp_path / "minima_volume" / "drawing" / "style.py", (later, later))
    assert make("toy", "-n", cwd=tmp_path).stdout.count("bin/python") == len(DIAGRAMS)


def test_failed_save_keeps_the_old_picture_and_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    style.use()
    style.save(plt.figure(), tmp_path / "kept")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    figure = plt.figure()
    monkeypatch.setattr(figure, "savefig", lambda path, **_: (path.write_bytes(b"half"), 1 / 0))
    with pytest.raises(ZeroDivisionError):
        style.save(figure, tmp_path / "kept")
    plt.close(figure)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_colors_and_ticks() -> None:
    assert len(set(style.level_colors(9))) == 9 and len(set(style.series_colors(7))) == 7
    with pytest.raises(ValueError, match="at most 7 series, got 8"):
        style.series_colors(8)
    _, axes = plt.subplots()
    style.nats(axes.yaxis)
    written = [axes.yaxis.get_major_formatter()(value) for value in (0, 250, 600e3, -27.7e3, 1.2e6)]
    plt.close("all")
    assert written == ["0", "250", "600k", "−27.7k", "1.2M"]
