"""Concordances of measures with the test loss: scipy's Kendall tau, a plain loop, and tables whose answer is known."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import kendalltau

from minima_volume.analysis import sharpness
from minima_volume.storage import layout, tables
from tests.figures.made_up_results import nested, write

pytestmark = pytest.mark.usefixtures("folders")


def test_one_group_gives_kendalls_tau() -> None:
    draw = np.random.default_rng(0)
    x, y = draw.standard_normal((2, 12))
    value, chance, pairs = sharpness.concordance(x, y, np.zeros(12, dtype=np.int64))
    assert value == pytest.approx(kendalltau(x, y).statistic) and pairs == 66
    # The deviation of τ without ties and without dependence; 2,000 shuffles know it to 2 %.
    assert chance == pytest.approx(np.sqrt(2 * (2 * 12 + 5) / (9 * 12 * 11)), rel=0.06)


def test_groups_are_compared_within_only() -> None:
    draw = np.random.default_rng(1)
    x, y, groups = draw.standard_normal(10), draw.standard_normal(10), np.repeat([0, 1], 5)
    signs = [np.sign((x[i] - x[j]) * (y[i] - y[j])) for i, j in combinations(range(10), 2) if groups[i] == groups[j]]
    value, _, pairs = sharpness.concordance(x, y, groups)
    assert value == pytest.approx(np.mean(signs)) and pairs == len(signs) == 20
    assert np.isnan(sharpness.concordance(x[:2], y[:2], np.array([0, 1]))[0])


def _rows(study: str, opposite: bool) -> list[dict[str, object]]:
    """Four repeats of three levels: more data is sharper and better; at one level the sharper is worse, or better."""
    made = []
    for repeat in range(4):
        for level in (0, 10, 100):
            value = 1 + np.log1p(level) + 0.01 * repeat
            test = 10 - np.log1p(level) + (-0.01 if opposite else 0.01) * repeat
            common = {
                "study": study, "data": "made", "model": "made", "repeat": repeat, "level": level, "n_train": 60 + level,
                "n_samples": 60 + level, "n_params": 100, "train_loss": 0.01, "test_loss": test, "test_accuracy": 0.9,
            }  # fmt: skip
            made += [
                common | {"measure": "hessian_max", "coordinates": "raw", "value": value, "error": None},
                common | {"measure": "log_scales", "coordinates": "filter", "value": 5.0, "error": None},
            ]
    return made


@pytest.mark.parametrize("opposite", [False, True])
def test_both_pairings_of_a_made_up_study(opposite: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    write("study", nested("study"), scale="paper")
    path = layout.study_folder("paper", "study") / layout.SHARPNESS
    made = tables.table_text(layout.SHARPNESS_COLUMNS, _rows("study", opposite))
    tables.write_tables(path.with_suffix(".json"), {path: made}, {})
    found = sharpness.concordances("paper", "study").set_index(["measure", "coordinates", "pairing"])["concordance"]
    assert found["hessian_max", "raw", "across"] == -1
    assert found["hessian_max", "raw", "same"] == (-1 if opposite else 1)
    # Scales of networks with other test losses than those of the volumes are not added to these volumes.
    assert "raw_log_volume" not in found.index.get_level_values(0)
    text = sharpness.sharpness_table()
    assert "| λ_max of the Hessian, raw | −1.00" in text and "`study`, 12 pairs" in text and "`study`, 18 pairs" in text
    # The same minima, if levels are seeds on the same samples: then pairs of one repeat are pairs at the same level.
    monkeypatch.setattr(sharpness.tables, "settings", lambda scale, study: SimpleNamespace(level_means="model_seed"))
    seeds = sharpness.concordances("paper", "study").set_index(["measure", "coordinates", "pairing"])["concordance"]
    assert seeds["hessian_max", "raw", "same"] == -1 and ("hessian_max", "raw", "across") not in seeds.index
