"""The estimate of a run's length: operations against torch's own counter, and durations worked out by hand."""

from dataclasses import replace

import pytest
from torch.utils.flop_counter import FlopCounterMode

from minima_volume.crossings.sweep import sweep_crossings
from minima_volume.networks.minimum import Minimum
from minima_volume.networks.parameters import layout_of
from minima_volume.pipeline import cost
from minima_volume.pipeline.parallel import Threads
from minima_volume.pipeline.repeat import Repeat
from minima_volume.pipeline.study import Study
from minima_volume.training.models import initial_parameters
from minima_volume.training.recipe import Recipe
from minima_volume.training.trainer import Job, train

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


def test_ray_operations_by_hand() -> None:
    # digits_mlp: 64·64 products in the first layer, 64·32 + 32·10 in the others, two operations each.
    first, rest = 2 * 64 * 64, 2 * (64 * 32 + 32 * 10)
    # The first layer is shared: the largest landscape has 120 samples, once in float32, once in float64 at half the rate.
    # Each minimum has 20 samples in its landscape: a scan of 4 evaluations, then 4.5 for its threshold.
    assert cost.ray_operations(Repeat(STUDY, 0)) == 10 * (3 * first * 20 + 3 * rest * (4 + 4.5) * 20)
    nested = replace(STUDY, landscapes="nested", levels=(0, 100), thresholds=(0.1, 0.05))
    # Level 100 has two landscapes, of 20 and 120 samples, with two thresholds each.
    own = rest * (4 * 20 + 4.5 * (20 + 20)) + rest * (4 * 120 + 4.5 * 2 * (20 + 120))
    assert cost.ray_operations(Repeat(nested, 0)) == 10 * (3 * first * 120 + own)


def test_ray_operations_are_of_the_size_that_torch_counts() -> None:
    study = replace(STUDY, base=400, levels=(0,), recipe=Recipe(epochs=150, lr=3e-3))
    repeat = Repeat(study, 0)
    samples = repeat.samples.part(0, 400)
    job = Job(initial_parameters("digits_mlp", 0), samples.inputs, samples.targets, 0)
    ((_, (parameters,)),) = train(repeat.model, [job], study.recipe, repeat.criterion)
    minimum = Minimum.of(parameters, layout_of(parameters))
    with FlopCounterMode(display=False) as counter:
        (found,) = sweep_crossings(
            repeat.model, [minimum], [study.targets(0)], samples, seed=0, indices=range(study.n_directions)
        ).crossings
    assert (found.coefficients > 0).all()
    # An estimate in minutes is useful within a factor of 2. Torch counts float64 operations once, the estimate twice.
    assert 0.5 < cost.ray_operations(repeat) / counter.get_total_flops() < 2


@pytest.mark.parametrize(
    ("workers", "training", "rays"), [(1, "10 min", "32 min"), (2, "6 min", "16 min"), (30, "6 min", "63 s")]
)
def test_the_estimate_by_hand(
    workers: int, training: str, rays: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Three epochs of 20, 60 and 120 samples with 2·8192 + 3·4736 = 30,592 operations each are 18.4 million. At 60 % of
    # 50,987 operations per second they take 600 s, and the largest minimum, which one worker trains, takes 360 s. The rays'
    # 10·(3·8192·20 + 3·4736·8.5·20) = 29.1 million operations take 1,900 s of one worker at 30 %.
    monkeypatch.setattr(cost, "matmul_rate", lambda device: 18_355_200 / (0.6 * 600))
    repeat = Repeat(STUDY, 0)
    cost.print_estimate("counted", [repeat], [(repeat, level) for level in STUDY.levels], Threads(workers))
    said = capsys.readouterr().out
    assert said == f"counted: about {training} of training and {rays} of rays on {workers} worker(s)\n"


def test_nothing_to_train_takes_no_time(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cost, "matmul_rate", lambda device: 1e6)
    cost.print_estimate("counted", [Repeat(STUDY, 0)], [], Threads(2))
    assert "about 0 s of training" in capsys.readouterr().out


def test_durations_have_units() -> None:
    assert [cost.format_duration(seconds) for seconds in (0.4, 89, 91, 7200)] == ["0 s", "89 s", "2 min", "120 min"]
