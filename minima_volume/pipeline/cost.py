"""Estimate how long a study takes on this machine: its operations divided by the machine's matrix-product rate."""

import time
from collections.abc import Sequence

import torch
from torch import nn

from minima_volume.cluster.engine import Cluster
from minima_volume.pipeline.parallel import Threads
from minima_volume.pipeline.repeat import Repeat

# Evaluations per ray and threshold that the solver needed on trained MNIST minima (two float32 steps, and one float64 step
# that counts twice), and those of the scan, which all thresholds of a minimum share.
STEPS_PER_TARGET, SCAN_STEPS = 4.5, 4
# Share of the matrix-product rate that training and rays reach. Rays are slower, because they pass over activations more
# often than they multiply. Measured from the seconds in run.json of paper-scale studies: 0.3 to 0.9, and 0.2 to 0.5.
TRAINING_EFFICIENCY, RAYS_EFFICIENCY = 0.6, 0.3


def matmul_rate(device: torch.device | str = "cpu") -> float:
    """Return the float32 operations per second of a 1024³ matrix product, on as many threads as torch uses now."""
    a = torch.randn(1024, 1024, device=device)
    (a @ a).sum().item()
    started = time.perf_counter()
    for _ in range(3):
        (a @ a).sum().item()
    return 3 * 2 * 1024**3 / (time.perf_counter() - started)


def forward_operations(model: nn.Module, inputs: torch.Tensor) -> tuple[float, float]:
    """Count the operations of a forward pass, two for each multiply-add.

    Args:
        model: Any module; only its linear and convolutional layers count.
        inputs: At least one sample (N, …).

    Returns:
        Operations per sample of the first such layer, and of all others together.
    """
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
    """Count the operations of training.

    Args:
        repeat: The repeat of a study.
        levels: The levels to train.

    Returns:
        One number per training run. Levels that are epochs of one run share it.
    """
    study = repeat.study
    first, rest = forward_operations(repeat.model, repeat.dataset.inputs[:1].to(repeat.device))
    # Forward, gradient of the weights, and gradient of the inputs, which the first layer does not need.
    step = (2 if study.recipe.sam_rho is not None else 1) * (2 * first + 3 * rest)
    trained = levels if study.level_means != "epochs" else levels[-1:]
    return [step * study.n_train(level) * study.recipe_at(level).epochs for level in trained]


def ray_operations(repeat: Repeat) -> float:
    """Count the operations of sweeping all minima of a repeat along all directions of the study."""
    study = repeat.study
    first, rest = forward_operations(repeat.model, repeat.dataset.inputs[:1].to(repeat.device))
    sizes = [[target.size for target in study.targets(level)] for level in study.levels]
    # The first layer's product with a direction is shared: once in float32, and once in float64 at half the rate.
    shared = 3 * first * max(map(max, sizes))
    own = sum(rest * (SCAN_STEPS * max(each) + STEPS_PER_TARGET * sum(each)) for each in sizes)
    return study.n_directions * (shared + own)


def format_duration(seconds: float) -> str:
    """Return a duration in seconds below 90 s, and in minutes from there on."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def print_estimate(
    label: str, repeats: Sequence[Repeat], missing: Sequence[tuple[Repeat, int]], engine: Threads | Cluster
) -> None:
    """Print how long a study will take before it starts.

    Args:
        label: Text before the estimate.
        repeats: The repeats to measure, at least one.
        missing: (repeat, level) of the networks that are not trained yet.
        engine: What computes.
    """
    torch.set_num_threads(1)
    workers, rate = engine.workers, engine.call(matmul_rate, repeats[0].settings.on_worker().device)
    trained = [
        count
        for repeat in {id(repeat): repeat for repeat, _ in missing}.values()
        for count in training_operations(repeat, [level for own, level in missing if own is repeat])
    ]
    # One worker trains the largest minimum, so its time is a lower bound however many workers there are.
    training = max(sum(trained) / workers, max(trained, default=0.0)) / (TRAINING_EFFICIENCY * rate)
    rays = sum(map(ray_operations, repeats)) / workers / (RAYS_EFFICIENCY * rate)
    said = f"about {format_duration(training)} of training and {format_duration(rays)} of rays on {workers} worker(s)"
    if isinstance(engine, Cluster):
        alone = sum(trained) / (TRAINING_EFFICIENCY * rate) + workers * rays
        said += f", {format_duration(alone)} of one worker in all"
    print(f"{label}: {said}", flush=True)
