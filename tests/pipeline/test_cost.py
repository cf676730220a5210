"""The announced length of a run: its operations against torch's own counter, and how workers share them."""

from dataclasses import replace

import pytest
from torch.utils.flop_counter import FlopCounterMode

from minima_volume.pipeline import cost
from minima_volume.pipeline.study import Repeat, Study
from minima_volume.training.recipe import Recipe

STUDY = Study(
    name="counted",
    title="Counted",
    data="digits",
    model="digits_mlp",
    intervention="data",
    base=20,
    levels=(0, 40, 100),
    recipe=Recipe(epochs=3),
    thresholds=(0.1,),
    n_directions=10,
)


def test_a_training_step_counts_what_torch_counts() -> None:
    repeat = Repeat(STUDY, 0)
    inputs, targets = repeat.samples.inputs[:20], repeat.samples.targets[:20]
    with FlopCounterMode(display=False) as counter:
        repeat.criterion(repeat.model(inputs), targets).sum().backward()
    (counted,) = cost.training_operations(repeat, [0])
    assert counted == 3 * counter.get_total_flops()  # three epochs of 20 samples
    sam = Repeat(replace(STUDY, recipe=Recipe(epochs=3, sam_rho=0.05)), 0)
    assert cost.training_operations(sam, [0]) == [2 * counted]


def test_checkpoints_of_one_run_count_once() -> None:
    study = replace(STUDY, level_means="epochs", levels=(1, 2, 7))
    one = cost.training_operations(Repeat(replace(STUDY, recipe=Recipe(epochs=7)), 0), [0])
    assert cost.training_operations(Repeat(study, 0), [1, 2, 7]) == one


def test_the_largest_minimum_has_one_worker(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cost, "matmul_rate", lambda: 1e6)
    repeat = Repeat(STUDY, 0)
    counts = cost.training_operations(repeat, [0, 40, 100])
    rate = 60 * cost.TRAINING_EFFICIENCY * 1e6  # operations per minute
    for workers, wanted in ((1, sum(counts)), (2, max(counts)), (8, max(counts))):
        cost.print_estimate("counted", [repeat], [(repeat, level) for level in STUDY.levels], workers)
        assert f"about {cost.format_duration(60 * wanted / rate)} of training" in capsys.readouterr().out
    cost.print_estimate("counted", [repeat], [], 2)
    assert "about 0 s of training" in capsys.readouterr().out
