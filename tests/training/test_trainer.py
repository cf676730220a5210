"""Training against plain torch loops, and stacked networks against networks trained alone."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from minima_volume.networks.losses import CRITERIA, Criterion
from minima_volume.networks.parameters import Parameters, parameters_of
from minima_volume.training.models import cnn, mlp
from minima_volume.training.recipe import Recipe
from minima_volume.training.trainer import Job, evaluate, train

Seeded = Callable[..., nn.Module]
CROSS_ENTROPY = CRITERIA["cross_entropy"]


def net() -> nn.Module:
    return mlp(5, 8, 6, 3)


def data(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw n float64 samples of three classes; if n is a power of two, the float32 weights 1/n are exact."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(n, 5, generator=rng, dtype=torch.float64), torch.randint(3, (n,), generator=rng)


def last(model: nn.Module, jobs: list[Job], recipe: Recipe, criterion: Criterion = CROSS_ENTROPY) -> list[Parameters]:
    """Return the parameters of every job after the last epoch."""
    *_, (epoch, found) = train(model, jobs, recipe, criterion)
    assert epoch == recipe.epochs
    return found


def plain_training(model: nn.Module, inputs: Tensor, targets: Tensor, recipe: Recipe) -> Parameters:
    """Train on full batches with the mean loss and torch's own AdamW."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    for _ in range(recipe.epochs):
        optimiser.zero_grad()
        functional.cross_entropy(model(inputs), targets).backward()
        optimiser.step()
    return parameters_of(model)


def same(found: Parameters, wanted: Parameters) -> None:
    # Float64 sums of 64 terms in another order differ by 10⁻¹⁶; Adam amplifies this where a gradient is near its ε of 10⁻⁸.
    assert list(found) == list(wanted)
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-8, atol=1e-9)


def identical(found: Parameters, wanted: Parameters) -> bool:
    return all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("weight_decay", [0.01, 0.5])
def test_full_batch_against_a_plain_loop(weight_decay: float, seeded: Seeded) -> None:
    model, (inputs, targets) = seeded(net), data(64)
    recipe = Recipe(epochs=40, lr=1e-2, weight_decay=weight_decay)
    (found,) = last(model, [Job(parameters_of(model), inputs, targets, 0)], recipe)
    same(found, plain_training(model, inputs, targets, recipe))


def test_networks_of_different_data_train_as_if_alone(seeded: Seeded) -> None:
    recipe, jobs, wanted = Recipe(epochs=30, lr=1e-2), [], []
    for seed, n in enumerate((64, 16, 32, 64)):
        model, (inputs, targets) = seeded(net, seed), data(n, seed)
        jobs.append(Job(parameters_of(model), inputs, targets, seed))
        wanted.append(plain_training(model, inputs, targets, recipe))
    for found, expected in zip(last(seeded(net, 9), jobs, recipe), wanted, strict=True):
        same(found, expected)


def test_sam_networks_train_as_if_alone(seeded: Seeded) -> None:
    for adaptive in (False, True):
        recipe = Recipe(epochs=15, lr=1e-2, sam_rho=0.05, sam_adaptive=adaptive)
        jobs = [Job(parameters_of(seeded(net, s)), *data(n, s), s) for s, n in enumerate((32, 64))]
        together = last(seeded(net), jobs, recipe)
        for job, found in zip(jobs, together, strict=True):
            same(found, last(seeded(net), [job], recipe)[0])


def test_checkpoints_equal_shorter_runs(seeded: Seeded) -> None:
    model, job = seeded(net), Job(parameters_of(seeded(net)), *data(32), 0)
    for batch_size in (None, 8):
        yielded = dict(
            train(model, [job], Recipe(epochs=9, lr=1e-2, batch_size=batch_size), CROSS_ENTROPY, checkpoints=(2, 5))
        )
        assert list(yielded) == [2, 5, 9]
        for epochs, (found,) in yielded.items():
            # The same steps in the same order give the same bits.
            assert identical(found, last(model, [job], Recipe(epochs=epochs, lr=1e-2, batch_size=batch_size))[0])


class Recording:
    """A criterion that records which samples it gets; the targets are the samples' numbers."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        self.batches.append(targets.tolist())
        return functional.cross_entropy(outputs, targets % 3, reduction="none")


def numbered(n: int, seed: int = 0) -> Job:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Job(parameters_of(net()), torch.randn(n, 5), torch.arange(n), seed)


@pytest.mark.parametrize(("n", "size", "batches"), [(20, 6, 4), (20, 5, 4), (7, 6, 2)])
def test_mini_batches_use_every_sample_once_per_epoch(n: int, size: int, batches: int) -> None:
    recorded = Recording()
    last(net(), [numbered(n)], Recipe(epochs=3, batch_size=size), recorded)
    assert len(recorded.batches) == 3 * batches
    epochs = [list(chain(*recorded.batches[i : i + batches])) for i in range(0, 3 * batches, batches)]
    assert all(sorted(epoch) == list(range(n)) for epoch in epochs)
    assert all(len(batch) <= size for batch in recorded.batches)
    assert epochs[0] != epochs[1] != epochs[2] and epochs[0] != list(range(n))


def test_mini_batches_against_a_plain_loop(seeded: Seeded) -> None:
    recorded, recipe = Recording(), Recipe(epochs=4, lr=1e-2, batch_size=8)
    model, (inputs, _) = seeded(net), data(32)
    job = Job(parameters_of(model), inputs, torch.arange(32), 3)
    (found,) = last(model, [job], recipe, recorded)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=recipe.weight_decay)
    for batch in recorded.batches:
        optimiser.zero_grad()
        functional.cross_entropy(model(inputs[batch]), torch.tensor(batch) % 3).backward()
        optimiser.step()
    same(found, parameters_of(model))


@pytest.mark.parametrize("batch_size", [None, 150])
@pytest.mark.parametrize("channels", [1, 2])
def test_convolutions_in_tiles_against_a_plain_loop(channels: int, batch_size: int | None, seeded: Seeded) -> None:
    recorded, recipe = Recording(), Recipe(epochs=3, lr=1e-2, batch_size=batch_size)
    model = seeded(lambda: cnn((channels, 4, 5), 2, (6, 3)))
    images = torch.randn(256, channels, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (found,) = last(model, [Job(parameters_of(model), images, torch.arange(256), 3)], recipe, recorded)
    sizes = [64, 64, 22, 64, 42] if batch_size else [64] * 4
    assert [len(tile) for tile in recorded.batches] == sizes * 3
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=recipe.weight_decay)
    for epoch in torch.tensor([*chain(*recorded.batches)]).split(256):
        for batch in epoch.split(batch_size or 256):
            optimiser.zero_grad()
            functional.cross_entropy(model(images[batch]), batch % 3).backward()
            optimiser.step()
    same(found, parameters_of(model))


class Viewing(nn.Module):
    """A network that depends on the memory format of its maps, and that mixes samples."""

    def __init__(self) -> None:
        super().__init__()
        self.maps, self.norm, self.head = (
            nn.Conv2d(2, 3, 3),
            nn.BatchNorm2d(3, track_running_stats=False),
            nn.Linear(108, 3),
        )

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.norm(self.maps(images))
        return self.head(hidden.view(len(hidden), -1))


def test_other_modules_get_whole_batches_unchanged(seeded: Seeded) -> None:
    recipe, model, targets = Recipe(epochs=3, lr=1e-2), seeded(Viewing).double(), torch.arange(128) % 3
    images = torch.randn(128, 2, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (found,) = last(model, [Job(parameters_of(model), images, targets, 0)], recipe)
    same(found, plain_training(model, images, targets, recipe))


def test_stacked_convolutional_networks_train_as_if_alone(seeded: Seeded) -> None:
    recipe, jobs = Recipe(epochs=3, lr=1e-2), []
    for seed, n in enumerate((128, 32)):
        rng = torch.Generator().manual_seed(seed)
        images = torch.randn(n, 1, 8, 8, generator=rng, dtype=torch.float64)
        targets = torch.randint(3, (n,), generator=rng)
        jobs.append(Job(parameters_of(seeded(lambda: cnn((1, 4), 4, (3,)), seed)), images, targets, seed))
    for job, found in zip(jobs, last(seeded(lambda: cnn((1, 4), 4, (3,))), jobs, recipe), strict=True):
        same(found, last(seeded(lambda: cnn((1, 4), 4, (3,))), [job], recipe)[0])


def test_training_ends_after_the_first_epoch_below_a_loss(seeded: Seeded) -> None:
    job = Job(parameters_of(seeded(net).double()), *data(32), 0)
    losses = {
        epoch: evaluate(net().double(), found, *data(32), CROSS_ENTROPY)[0].mean().item()
        for epoch, (found,) in train(
            net().double(), [job], Recipe(epochs=60, lr=0.02), CROSS_ENTROPY, checkpoints=range(61)
        )
    }
    recipe = Recipe(epochs=60, lr=0.02, stop_loss=0.5)
    ((epoch, (found,)),) = train(net().double(), [job], recipe, CROSS_ENTROPY)
    assert epoch == min(number for number, loss in losses.items() if loss <= 0.5) and 1 < epoch < 60
    assert evaluate(net().double(), found, *data(32), CROSS_ENTROPY)[0].mean().item() == losses[epoch]
    ((epoch, _),) = train(net().double(), [job], replace(recipe, stop_loss=1e-9), CROSS_ENTROPY)
    assert epoch == 60
    with pytest.raises(ValueError, match="one job at a time"):
        next(train(net().double(), [job, job], recipe, CROSS_ENTROPY))


def test_batch_order_depends_on_the_seed_only() -> None:
    recipe, model, job = Recipe(epochs=3, batch_size=6), net(), numbered(20, seed=5)

    def work(seed: int) -> Parameters:
        torch.manual_seed(seed)  # as if a worker had drawn something else before
        return last(model, [job], recipe, Recording())[0]

    alone = work(0)
    with ThreadPoolExecutor(4) as pool:  # all threads share one model
        assert all(identical(found, alone) for found in pool.map(work, range(8)))
    assert not identical(last(model, [replace(job, seed=6)], recipe, Recording())[0], alone)


def test_batch_as_large_as_the_data_is_full_batch(seeded: Seeded) -> None:
    model, job = seeded(net), Job(parameters_of(seeded(net)), *data(32), 0)
    full, large = (last(model, [job], Recipe(epochs=5, batch_size=size))[0] for size in (None, 32))
    assert identical(full, large)


def test_mini_batches_of_several_networks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected one job at a time with mini-batches"):
        last(net(), [numbered(20), numbered(20)], Recipe(epochs=1, batch_size=5), Recording())


def test_initial_weights_and_data_are_not_changed(seeded: Seeded) -> None:
    model, job = seeded(net), Job(parameters_of(seeded(net)), *data(16), 0)
    before = {name: tensor.clone() for name, tensor in job.parameters.items()}
    inputs = job.inputs.clone()
    last(model, [job], Recipe(epochs=3, lr=0.1))
    assert identical(job.parameters, before) and torch.equal(job.inputs, inputs)


def test_evaluate_against_a_plain_loop(seeded: Seeded) -> None:
    model, (inputs, targets) = seeded(net), data(23)
    parameters = parameters_of(seeded(net, 1))
    model.load_state_dict(parameters)
    losses, errors = evaluate(seeded(net, 2), parameters, inputs, targets, CROSS_ENTROPY, chunk=7)
    with torch.no_grad():
        outputs = model(inputs)
    # Float64: rounding only.
    torch.testing.assert_close(
        losses, functional.cross_entropy(outputs, targets, reduction="none"), rtol=1e-12, atol=1e-12
    )
    assert errors.tolist() == [float(row.argmax() != t) for row, t in zip(outputs, targets, strict=True)]
