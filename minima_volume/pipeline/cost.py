"""How long a study will take on this machine: operations counted, divided by the machine's own matrix-product rate."""

import time
from collections.abc import Sequence

import torch
from torch import nn

from minima_volume.pipeline.settings import device
from minima_volume.pipeline.study import Repeat

# Points per ray and threshold that the solver took on MNIST (two float32 steps, one float64 step worth two), and the
# scan that all thresholds share; counted on trained minima and only used to announce how long a run will take.
STEPS_PER_TARGET, SCAN_STEPS = 4.5, 4
# Shares of a bare matrix product's rate that training and rays reach; rays pass over activations more often than they
# multiply. From the seconds in run.json of the paper-scale studies: 0.3 to 0.9, and 0.2 to 0.5.
TRAINING_EFFICIENCY, RAYS_EFFICIENCY = 0.6, 0.3


def matmul_rate() -> float:
    """Float32 operations per second of one worker in a 1024³ matrix product."""
    a = torch.randn(1024, 1024, device=device())
    (a @ a).sum().item()
    started = time.perf_counter()
    for _ in range(3):
        (a @ a).sum().item()
    return 3 * 2 * 1024**3 / (time.perf_counter() - started)


def forward_operations(model: nn.Module, inputs: torch.Tensor) -> tuple[float, float]:
    """Multiply-adds ×2 per sample of the first linear layer and of the layers behind it, seen on one real sample."""
    counts: list[float] = []

    def count(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            counts.append(2.0 * output[0].numel() * layer.weight[0].numel())

    hooks = [layer.register_forward_hook(count) for layer in model.modules()]
    with torch.no_grad():
        model(inputs[:1])
    for hook in hooks:
        hook.remove()
    return (counts[0], sum(counts[1:])) if counts else (0.0, 0.0)


def training_operations(repeat: Repeat, levels: Sequence[int]) -> list[float]:
    """Operations of the training of each of these levels; of checkpoints along one run, of the last."""
    study = repeat.study
    first, rest = forward_operations(repeat.model, repeat.samples.inputs)
    # Forward, gradient of the weights, gradient of the inputs, which the first layer's inputs do not need.
    step = (2 if study.recipe.sam_rho is not None else 1) * (2 * first + 3 * rest)
    trained = levels if study.level_means != "epochs" else levels[-1:]
    return [step * study.n_train(level) * study.recipe_at(level).epochs for level in trained]


def ray_operations(repeat: Repeat) -> float:
    """Operations of sweeping all of a repeat's minima."""
    study = repeat.study
    first, rest = forward_operations(repeat.model, repeat.samples.inputs)
    largest = max(target.size for level in study.levels for target in study.targets(level))
    # The first layer's product with a direction: once in float32 and once in float64, at half the rate.
    shared = 3 * first * largest
    own = sum(
        rest
        * (
            SCAN_STEPS * max(t.size for t in study.targets(level))
            + sum(STEPS_PER_TARGET * t.size for t in study.targets(level))
        )
        for level in study.levels
    )
    return study.n_directions * (shared + own)


def format_duration(seconds: float) -> str:
    """Seconds as people say them."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def print_estimate(label: str, repeats: Sequence[Repeat], missing: Sequence[tuple[Repeat, int]], workers: int) -> None:
    """Print an estimate of the whole run before it starts."""
    torch.set_num_threads(1)
    rate = matmul_rate()
    trained = [
        count for repeat in repeats for count in training_operations(repeat, [n for r, n in missing if r is repeat])
    ]
    # The largest minimum is trained by one worker, whatever the others do.
    training = max(sum(trained) / workers, max(trained, default=0.0)) / (TRAINING_EFFICIENCY * rate)
    rays = sum(map(ray_operations, repeats)) / workers / (RAYS_EFFICIENCY * rate)
    print(
        f"{label}: about {format_duration(training)} of training and {format_duration(rays)} of rays on {workers} worker(s)",
        flush=True,
    )
