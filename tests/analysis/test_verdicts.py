"""The rules of verdicts, on made-up numbers and tables whose answer is known."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minima_volume.analysis import claims, evidence, tables, verdicts
from minima_volume.analysis.checks import Check
from minima_volume.analysis.verdicts import AGREES, CANNOT, DISAGREES, FAILS, HOLDS, IN_PART, UNDECIDED, WEAKLY, Finding
from minima_volume.storage import layout
from minima_volume.storage import tables as storage_tables
from tests.figures.made_up_results import row, write

LEVELS = (0, 10, 20, 30)


@pytest.fixture(autouse=True)
def _results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "ROOT", tmp_path)


# --- from repeats to outcomes ---------------------------------------------------------------------------------------------


def test_the_error_of_a_mean_effect_by_hand() -> None:
    # Three repeats: the standard error of (1, 2, 6) is √7/√3, with two degrees of freedom.
    mean, error, limit = verdicts.mean_effect([1, 2, 6], [0] * 3)
    assert (mean, error) == pytest.approx((3, math.sqrt(7 / 3))) and limit == pytest.approx(4.3027, abs=1e-4)
    # The error of the estimator is that of all repeats at once, because they share their directions: it adds to the spread.
    _, error, limit = verdicts.mean_effect([1, 2, 6], [math.sqrt(7 / 3)] * 3)
    assert error == pytest.approx(math.sqrt(14 / 3))
    assert limit == pytest.approx(math.sqrt((4.3027**2 + 1.96**2) / 2), abs=1e-4)
    # Repeats that agree by chance keep it, with the limit of an error that is known.
    assert verdicts.mean_effect([2, 2, 2], [0.5] * 3)[1:] == (0.5, pytest.approx(1.96, abs=1e-3))
    assert verdicts.mean_effect([2.0], [0.5]) == (2, 0.5, pytest.approx(1.96, abs=1e-3))
    assert math.isnan(verdicts.mean_effect([2.0], [math.nan])[1])


@pytest.mark.parametrize("shared", [0.0, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("repeats", [2, 3])
def test_at_least_95_of_100_true_effects_lie_within_the_limit(repeats: int, shared: float) -> None:
    rng = np.random.default_rng(0)
    # Repeats of spread 1, whose common directions shift all of them by the same error.
    effects = rng.standard_normal((4000, repeats)) + shared * rng.standard_normal((4000, 1))
    found = [verdicts.mean_effect(effect, [shared] * repeats) for effect in effects]
    beyond = np.mean([abs(mean) > limit * error for mean, error, limit in found])
    # A share of 5 % in 4,000 studies varies by 0.35 %; in 200,000 studies it lies between 1.3 and 5 %.
    assert 0.005 < beyond < 0.061


def test_outcomes_by_hand() -> None:
    assert verdicts.outcome_of(5, 1, 4.3, wrong=False) == AGREES
    assert verdicts.outcome_of(5, 1, 4.3, wrong=True) == IN_PART
    assert verdicts.outcome_of(4, 1, 4.3, wrong=False) == UNDECIDED
    assert verdicts.outcome_of(4, 1, 4.3, wrong=True) == verdicts.outcome_of(-5, 1, 4.3, wrong=False) == DISAGREES
    assert verdicts.outcome_of(5, math.nan, 2, wrong=False) == UNDECIDED


def steps(*rows: list[float]) -> dict[str, tuple[dict[int, float], dict[int, float]]]:
    """Steps named a, b, … with a change in each repeat and errors of 1."""
    return {
        name: (dict(enumerate(changes)), dict.fromkeys(range(len(changes)), 1.0))
        for name, changes in zip("abc", rows, strict=False)
    }


def test_steps_that_go_the_wrong_way_by_hand() -> None:
    assert verdicts.wrong_steps(steps([-2.1, -2.1], [5, 5])) == ("a",)
    assert verdicts.wrong_steps(steps([-2.1, -1.9], [5, 5])) == ()
    assert verdicts.wrong_steps(steps([-2.9])) == () and verdicts.wrong_steps(steps([-3.1])) == ("a",)
    # Each repeat has a step of its own by more than three errors.
    assert verdicts.wrong_steps(steps([-3.1, 5], [5, -3.1])) == (verdicts.OWN_STEP,)
    assert verdicts.wrong_steps(steps([-3.1, 5], [5, -2.9])) == ()


# --- from outcomes to verdicts --------------------------------------------------------------------------------------------


def found(kind: Any, outcome: Any, *, converged: bool = True, repeats: int = 3) -> Finding:
    return Finding("made up", kind, outcome, converged, 1.0, 0.1, repeats)


def test_a_volume_that_does_not_converge_counts_neither_for_nor_against() -> None:
    ray = found("volume", AGREES, converged=False)
    assert verdicts.check_verdict([ray]) == CANNOT
    assert verdicts.check_verdict([ray, ray, found("typical direction", AGREES)]) == WEAKLY
    assert verdicts.check_verdict([found("volume", DISAGREES, converged=False), found("volume", AGREES)]) == HOLDS


@pytest.mark.parametrize(
    ("findings", "near", "verdict"),
    [
        ([found("volume", AGREES)], False, HOLDS),
        ([found("volume", AGREES)], True, WEAKLY),
        ([found("volume", AGREES, repeats=1)], False, WEAKLY),
        ([found("volume", IN_PART)], False, WEAKLY),
        ([found("volume", AGREES), found("volume", UNDECIDED)], False, WEAKLY),
        ([found("volume", AGREES), found("typical direction", UNDECIDED)], False, HOLDS),
        ([found("volume", AGREES), found("typical direction", DISAGREES)], False, WEAKLY),
        ([found("volume", UNDECIDED), found("typical direction", AGREES)], False, CANNOT),
        ([found("volume", DISAGREES), found("typical direction", AGREES)], False, FAILS),
        ([found("volume", DISAGREES), found("volume", AGREES)], False, CANNOT),
        ([found("typical direction", AGREES)], False, WEAKLY),
        ([found("typical direction", DISAGREES)], False, FAILS),
        ([found("outcome", AGREES)], False, HOLDS),
        ([], False, CANNOT),
    ],
)
def test_verdicts_on_a_check_by_hand(findings: list[Finding], near: bool, verdict: str) -> None:
    assert verdicts.check_verdict(findings, near=near) == verdict


@pytest.mark.parametrize(
    ("words", "most", "every", "some"),
    [
        ([HOLDS, HOLDS], HOLDS, HOLDS, HOLDS),
        ([HOLDS, WEAKLY], WEAKLY, WEAKLY, HOLDS),
        ([HOLDS, CANNOT], WEAKLY, WEAKLY, HOLDS),
        ([WEAKLY, WEAKLY, FAILS], WEAKLY, FAILS, WEAKLY),
        ([WEAKLY, FAILS, FAILS], FAILS, FAILS, WEAKLY),
        ([WEAKLY, FAILS], CANNOT, FAILS, WEAKLY),
        ([CANNOT, FAILS], FAILS, FAILS, CANNOT),
        ([CANNOT, CANNOT, FAILS], CANNOT, FAILS, CANNOT),
        ([FAILS, FAILS], FAILS, FAILS, FAILS),
        ([], CANNOT, CANNOT, CANNOT),
    ],
)
def test_verdicts_on_a_claim_by_hand(words: list[Any], most: str, every: str, some: str) -> None:
    assert [verdicts.claim_verdict(words, quantifier) for quantifier in ("most", "every", "some")] == [
        most,
        every,
        some,
    ]


# --- made-up tables -------------------------------------------------------------------------------------------------------


def study(values: dict[int, list[float]], **changed: Any) -> None:
    """Write a study with these typical volumes of each repeat, errors of 1 and rays that are max-dominated."""
    rows = [
        row("made", repeat, level, 0, 0.1, typical_log_volume=value, typical_log_volume_se=1.0,
            log_volume=value, log_volume_se=1.0, verdict="max-dominated", test_accuracy=0.9 - level / 100)
        | changed
        for repeat, here in values.items() for level, value in zip(LEVELS, here, strict=True)
    ]  # fmt: skip
    write("made", rows)


def outcomes(check: Check) -> dict[str, tuple[str, bool]]:
    return {each.estimator: (each.outcome, each.converged) for each in evidence.gather("paper", check).findings}


def test_a_fall_in_typical_directions_holds_weakly_and_rays_do_not_help() -> None:
    study({0: [400, 300, 200, 100], 1: [410, 310, 200, 100], 2: [400, 310, 210, 100]})
    got = evidence.gather("paper", Check("falls", "made"))
    assert got.verdict == WEAKLY
    assert outcomes(got.check)["typical"] == (AGREES, True) and outcomes(got.check)["log_volume"] == (AGREES, False)
    effect = next(each for each in got.findings if each.estimator == "typical")
    # Falls of 300, 310 and 300: a standard error of √(100/3)/√3 beside √2 of two errors of 1, which all repeats share.
    assert (effect.effect, effect.error) == pytest.approx((910 / 3, math.hypot(10 / 3, math.sqrt(2))))


def test_rays_that_converge_are_volumes() -> None:
    study({r: [400 + r, 300, 200, 100] for r in range(3)}, verdict="converged")
    assert evidence.gather("paper", Check("falls", "made")).verdict == HOLDS
    # Two minima with a loss above half the threshold might be small only because they hardly pass it.
    study({r: [400 + r, 300, 200, 100] for r in range(3)}, verdict="converged", loss_at_zero=0.06)
    assert evidence.gather("paper", Check("falls", "made")).verdict == WEAKLY


def test_a_sampler_outranks_typical_directions() -> None:
    study({r: [400 + r, 300, 200, 100] for r in range(3)})
    rows = [
        {"study": "made", "repeat": repeat, "level": level, "threshold": 0.1, "estimator": "gold", "sigma": 0.05,
         "value": -4.0 + level / 10, "error": 0.1, "verdict": "ok"}
        for repeat in range(3) for level in LEVELS
    ]  # fmt: skip
    folder = layout.study_folder("paper", "made")
    storage_tables.write_recorded_table(folder / layout.ORDERINGS, layout.ORDERING_COLUMNS, rows)
    got = evidence.gather("paper", Check("falls", "made"))
    assert outcomes(got.check)["gold"] == (DISAGREES, True) and got.verdict == FAILS
    # One value of the chain that does not converge, and the sampler tells nothing.
    rows[3]["verdict"] = "drift"
    storage_tables.write_recorded_table(folder / layout.ORDERINGS, layout.ORDERING_COLUMNS, rows)
    assert evidence.gather("paper", Check("falls", "made")).verdict == WEAKLY


def test_a_rise_at_one_step_and_a_wave() -> None:
    study({r: [400 + r, 300, 310, 100] for r in range(3)})
    got = evidence.gather("paper", Check("falls", "made"))
    typical = next(each for each in got.findings if each.estimator == "typical")
    assert typical.outcome == IN_PART and typical.wrong == ("10 → 20",) and got.verdict == WEAKLY
    study({0: [400, 300, 310, 400], 1: [400, 300, 200, 390], 2: [400, 420, 300, 410]})
    assert evidence.gather("paper", Check("falls", "made")).verdict == FAILS
    # Only the ends matter to a claim about the first and the last level.
    study({r: [400 + r, 300, 310, 100] for r in range(3)})
    assert outcomes(Check("ends", "made"))["typical"] == (AGREES, True)


def test_test_accuracy_must_follow_too() -> None:
    study({r: [400 + r, 300, 200, 100] for r in range(3)})
    assert evidence.gather("paper", Check("falls", "made", accuracy="falls")).verdict == WEAKLY
    assert evidence.gather("paper", Check("falls", "made", accuracy="rises")).verdict == FAILS
    study({r: [400 + r, 300, 200, 100] for r in range(3)}, test_accuracy=0.5)
    assert evidence.gather("paper", Check("falls", "made", accuracy="falls")).verdict == CANNOT


def test_volume_predicts_accuracy() -> None:
    # Accuracy falls with the level, and so does the volume: a rank correlation of 1 in three repeats of four levels.
    study({r: [400 + r, 300, 200, 100] for r in range(3)})
    typical = next(
        each for each in evidence.gather("paper", Check("predicts", "made")).findings if each.estimator == "typical"
    )
    # The error without a relation is √(1/3) for four levels, over √3 repeats.
    assert (typical.outcome, typical.effect, typical.error) == (AGREES, pytest.approx(1), pytest.approx(1 / 3))


def nested(volume: Any, **changed: Any) -> None:
    """Write a study of nested landscapes whose typical volume is a function of level and landscape; repeats differ by 1."""
    write("made", [
        row("made", repeat, level, landscape, 0.1, typical_log_volume=volume(level, landscape) + repeat,
            typical_log_volume_se=1.0, log_volume=volume(level, landscape) + repeat, log_volume_se=1.0,
            verdict="max-dominated")
        for repeat in range(3) for level in LEVELS for landscape in LEVELS if landscape <= level
    ], cut=[
        {"study": "made", "data": "d", "model": "m", "repeat": repeat, "level": level, "threshold": 0.1,
         "cutoff": 20 + level + 5 if level < 30 else None, "n_samples": 50, "final_mean_loss": 1.0 if level < 30 else 0.01}
        | changed
        for repeat in range(3) for level in LEVELS
    ], levels=LEVELS)  # fmt: skip


def test_the_largest_of_each_landscape() -> None:
    nested(lambda level, landscape: 400.0 - 5 * level - landscape)
    assert outcomes(Check("leads", "made"))["typical"] == (AGREES, True)
    nested(lambda level, landscape: 400.0 + 5 * level - landscape)
    assert outcomes(Check("leads", "made"))["typical"] == (DISAGREES, True)
    # Minima of fewer samples that stay below the threshold may be larger still: only the base landscape can be told.
    nested(lambda level, landscape: 400.0 - 5 * level - landscape, cutoff=None)
    assert outcomes(Check("leads", "made"))["typical"] == (IN_PART, True)


def test_minima_of_more_data_gain() -> None:
    # Each extra sample costs a minimum of level l 10 − l/10 nats, so the gain of 20 on 10 up to 10 samples is 10 nats.
    nested(lambda level, landscape: 900.0 - (10 - level / 10) * landscape)
    typical = next(
        each for each in evidence.gather("paper", Check("gains", "made")).findings if each.estimator == "typical"
    )
    # Gains of 10 nats over 10 samples and of 20 over 20: 15 on average.
    assert typical.outcome == AGREES and typical.effect == pytest.approx(15)
    nested(lambda level, landscape: 900.0 - level / 10 * landscape)
    assert outcomes(Check("gains", "made"))["typical"] == (DISAGREES, True)


def test_a_line_and_a_parabola() -> None:
    rng = np.random.default_rng(0)

    def power(bend: float) -> Any:
        return lambda level, _: -300 * math.log(20 + level) + bend * math.log(20 + level) ** 2 + 0.1 * rng.normal()

    nested(power(0))
    # The repeats of `nested` differ by a constant, so only the noise of 0.1 nats is left.
    assert outcomes(Check("line", "made"))["typical"] == (AGREES, True)
    nested(power(-400))
    assert outcomes(Check("line", "made"))["typical"] == (DISAGREES, True)


def test_three_minima_on_one_plane() -> None:
    nested(lambda level, _: 100.0 - level)
    assert evidence.gather("paper", Check("viable", "made")).verdict == HOLDS
    nested(lambda level, _: 100.0 - level, final_mean_loss=0.09)
    assert evidence.gather("paper", Check("viable", "made")).verdict == FAILS


def test_studies_that_were_not_run_are_named() -> None:
    study({r: [400 + r, 300, 200, 100] for r in range(3)})
    claim = claims.Claim(1, "n", "s", "w", "t", (Check("falls", "made"), Check("falls", "other")), "f")
    got = claims.judge("paper", claim)
    assert got.not_run == ("other",) and [each.check.study for each in got.evidence] == ["made"]
    assert claims.commands(claim, "paper") == ["make made other"]
    assert claims.commands(claim, "quick") == ["make made other SCALE=quick"]
    record = layout.study_folder("paper", "made") / "run.json"
    content = json.loads(record.read_text())
    spent = {
        "command": "make made SCALE=paper REPEATS=3 DIRECTIONS=40",
        "task_seconds": {"training": 60.0, "rays": 40.0},
    }
    record.write_text(json.dumps(content | spent))
    assert claims.commands(claim, "paper") == ["make made REPEATS=3 DIRECTIONS=40", "make other"]
    assert claims.seconds(claim, "paper") == 100
    # Three repeats of four levels, and a float32 for each of 1,000 parameters.
    assert claims.disk(claim, "paper") == pytest.approx(12 * 1000 * 4 / 2**20)
    assert tables.studies("paper") == ["made"]
