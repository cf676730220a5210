"""The comparison of estimators: its tables against the study's own and against plain formulas, and its figure."""

import csv
import math
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import chi, norm

from benchmarks import trust
from figs import trust as trust_figure
from minima_volume.analysis import tables
from minima_volume.storage import layout
from tests.project import ROOT
from tests.study_runs import TINY, Stages, run

N_PARAMS = 6570
STUDY = replace(TINY, thresholds=(0.5,), landscapes="base")


@pytest.fixture(scope="module")
def folder(stages: Stages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of two repeats with both tables."""
    root = tmp_path_factory.mktemp("results")
    found = run(stages, root, STUDY, THREADS="1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "ROOT", root)
        trust.measure(STUDY, sample=False)
    return found


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_three_volumes_are_those_of_the_study(folder: Path) -> None:
    mine, columns = rows(folder / "orderings.csv"), {"grid": "log_volume_grid", "log_volume": "log_volume"}
    columns["typical"] = "typical_log_volume"
    table = rows(folder / "volumes.csv")
    assert len(table) == 4  # two repeats of two levels, one landscape and threshold
    for row in table:
        own = {r["estimator"]: r for r in mine if all(r[key] == row[key] for key in ("repeat", "level"))}
        for estimator, column in columns.items():
            assert float(own[estimator]["value"]) == pytest.approx(float(row[column]), abs=1e-3), estimator
        # The comparison never claims more certainty than the study does.
        solved = own["log_volume"]
        assert float(solved["error"]) >= float(row["log_volume_se"]) - 1e-3 and solved["verdict"] == row["verdict"]


def test_the_profile_is_the_mean_of_chi_probabilities(folder: Path) -> None:
    [first, *_] = sorted((folder / "repeat_1" / "rays").iterdir())
    blocks = [np.load(path) for path in sorted(first.parent.iterdir())]
    radii = np.concatenate([block["level_16.coefficients"][:, 0] * block["norms"] for block in blocks])
    assert len(radii) == STUDY.n_directions and np.isfinite(radii).all()
    seen = []
    for sigma in trust.SIGMAS:
        plain = logsumexp(chi.logcdf(radii / sigma, N_PARAMS)) - math.log(len(radii))
        [row] = [r for r in rows(folder / "orderings.csv")
                 if (r["repeat"], r["level"], r["sigma"]) == ("1", "16", str(sigma))]  # fmt: skip
        if np.isfinite(plain):  # scipy's chi underflows where the probability is below 1e-308
            assert float(row["value"]) == pytest.approx(plain, rel=1e-6, abs=1e-9)
            seen.append(plain)
    assert any(value < -0.01 for value in seen), seen  # else every step stays inside and nothing was compared


def test_the_order_is_that_of_the_values_and_its_confidence_a_probability(folder: Path) -> None:
    values = rows(folder / "orderings.csv")
    sure = rows(folder / "confidences.csv")
    assert {row["estimator"] for row in sure} == {"grid", "log_volume", "typical", "gamma"}
    for row in sure:
        same = [r for r in values if all(r[key] == row[key] for key in ("repeat", "estimator", "sigma"))]
        ordered = [r["level"] for r in sorted(same, key=lambda r: -float(r["value"]))]
        if len({r["value"] for r in same}) == len(same):
            assert row["order"] == " ".join(ordered)
        height = {r["level"]: float(r["value"]) for r in same}
        falls = height["0"] > height["16"]
        assert 0 <= float(row["falling"]) <= 1
        if row["estimator"] == "grid":
            assert float(row["falling"]) == falls
        elif falls:
            assert row["falling"] == row["confidence"]


def test_independent_values_are_compared_by_their_errors() -> None:
    found = trust._independent([{"level": 0, "value": 3.0, "error": 1.0}, {"level": 16, "value": 1.5, "error": 0.5}])
    expected = norm.cdf(1.5 / math.hypot(1.0, 0.5))
    assert found["order"] == "0 16"
    assert found["falling"] == found["confidence"] == pytest.approx(expected, abs=0.02)


def test_a_study_without_rays_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="run `make tiny REPEATS=3` first"):
        trust.measure(STUDY, sample=False)


def test_a_study_whose_minima_all_fail_the_threshold_has_empty_tables(
    stages: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = replace(STUDY, thresholds=(1e-7,), n_directions=5, recipe=replace(STUDY.recipe, epochs=2))
    found = run(stages, tmp_path, study, repeats=(0,))
    monkeypatch.setattr(layout, "ROOT", tmp_path)
    trust.measure(study, sample=False)
    assert rows(found / "orderings.csv") == rows(found / "confidences.csv") == []


def test_the_sampler_runs_once_and_is_stored(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(layout, "ROOT", folder.parent.parent)
    calls: list[tuple[float, ...]] = []

    def sampler(potential: Any, threshold: float, sigmas: tuple[float, ...], **_: Any) -> SimpleNamespace:
        calls.append(sigmas)
        return SimpleNamespace(
            at=sigmas.index, log_gamma=np.array([-1.0, -2.0, -3.0]), error=lambda: np.full(3, 0.5),
            status=("ok", "ok", "ok"), n_values=7, n_gradients=8,
        )  # fmt: skip

    monkeypatch.setattr(trust, "tethered_hmc", sampler)
    repeat = trust.Repeat(STUDY, 0)
    minima = trust.load_minima(repeat, "paper")
    assert trust.by_sampling(repeat, 0, minima, sample=False) == [] and not calls
    first = trust.by_sampling(repeat, 0, minima, sample=True)
    assert [row["value"] for row in first] == [-1.0, -2.0, -3.0] and calls == [trust.SAMPLING_SIGMAS]
    assert (
        trust.by_sampling(repeat, 0, minima, sample=True) == first == trust.by_sampling(repeat, 0, minima, sample=False)
    )
    assert len(calls) == 1
    # Other settings are another run.
    monkeypatch.setattr(trust, "SAMPLING", replace(trust.SAMPLING, keep=41))
    assert trust.by_sampling(repeat, 0, minima, sample=False) == []


KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from benchmarks import trust
from minima_volume.sampling.tethered import TetheredSettings
from minima_volume.storage import archives, layout
from tests.pipeline.test_trust import STUDY

layout.ROOT, deaths = Path(sys.argv[1]), int(sys.argv[2])
trust.SAMPLING = TetheredSettings(replicas=2, chains=2, burn=5, keep=5)
write, written = archives.write_record, []

def counted(path, content):
    if len(written) == deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    written.append(path)
    write(path, content)

archives.write_record = counted
trust.measure(STUDY, sample=True)
print(len(written))
"""


def test_a_comparison_that_is_killed_goes_on_to_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    roots = {deaths: tmp_path / str(deaths) for deaths in (99, 2)}
    for root in roots.values():
        shutil.copytree(folder.parent.parent, root)

    def run_once(root: Path, deaths: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", KILLED, str(root), str(deaths)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    whole = run_once(roots[99], 99)
    assert whole.stdout.strip() == "4", whole.stderr  # two repeats of two minima
    gold = "paper/tiny/repeat_*/gold/*.json"
    assert run_once(roots[2], 2).returncode == -signal.SIGKILL and len(list(roots[2].glob(gold))) == 2
    rest = run_once(roots[2], 99)
    assert rest.stdout.strip() == "2", rest.stderr  # the stored half is not measured again
    for pattern in (gold, "paper/tiny/orderings.csv", "paper/tiny/confidences.csv"):
        files = sorted(path.relative_to(roots[2]) for path in roots[2].glob(pattern))
        assert files and all((roots[2] / name).read_bytes() == (roots[99] / name).read_bytes() for name in files)


def test_the_figure_plots_the_rows_and_hollow_marks_have_not_converged(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib import pyplot as plt

    monkeypatch.setattr(layout, "ROOT", folder.parent.parent)
    frame = tables.orderings("paper", "tiny")
    assert frame is not None
    steps, settings = {level: float(level) for level in frame["level"].unique()}, tables.settings("paper", "tiny")
    assert trust_figure.panels(frame)[:3] == [("grid", None), ("log_volume", None), ("typical", None)]
    for name, sigma in trust_figure.panels(frame):
        drawn, axes = plt.subplots()
        trust_figure._panel(axes, frame, steps, settings, name, sigma)
        same = frame["sigma"].isna() if sigma is None else frame["sigma"] == sigma
        here = frame[(frame["estimator"] == name) & same]
        points = np.concatenate([np.asarray(part.get_offsets()) for part in axes.collections if len(part.get_offsets())
                                 and part.get_facecolor().size])  # fmt: skip
        assert sorted(points[:, 1]) == pytest.approx(sorted(here["value"]))
        plt.close(drawn)
