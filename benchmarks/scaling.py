"""How cost and memory grow with directions, samples and parameters, and the gain of training side by side."""

import os
import resource
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from torch import nn

from benchmarks.problems import clusters
from minima_volume.crossings.scan import Target
from minima_volume.crossings.sweep import sweep_crossings
from minima_volume.networks.losses import binary_cross_entropy, cross_entropy
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import Parameters, layout_of, parameters_of
from minima_volume.training.datasets import load
from minima_volume.training.models import build_model, initial_parameters, mlp
from minima_volume.training.recipe import Recipe
from minima_volume.training.trainer import Job, evaluate, train

FACTORS = (1, 4, 16)
ROUNDS = 5


def _cost(width: int, n_samples: int, n_rays: int) -> tuple[int, float, float]:
    """Return parameters, seconds, and MiB of new peak memory of a sweep through a random two-layer network."""
    torch.manual_seed(0)
    model = mlp(64, width, 10)
    inputs, targets = clusters(n_samples, (64,))
    parameters = parameters_of(model)
    minimum = Minimum.of(parameters, layout_of(parameters))
    samples = Samples(inputs, targets, cross_entropy)
    # The threshold is above the untrained loss of about ln 10, so that every ray starts inside.
    call = [Target(n_samples, 4.0)]
    sweep_crossings(model, [minimum], [call], samples, seed=0, indices=range(2), memory=2**25)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    sweep_crossings(model, [minimum], [call], samples, seed=0, indices=range(n_rays), memory=2**25)
    seconds = time.perf_counter() - started
    return minimum.layout.n_params, seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def scaling() -> list[dict[str, float | str]]:
    """Return median seconds relative to the first row, for each quantity ×1, ×4, ×16 with the others fixed."""
    rows: list[dict[str, float | str]] = []
    for what in ("directions", "samples", "parameters"):
        sizes = [
            (64 * (factor if what == "parameters" else 1), 2000 * (factor if what == "samples" else 1),
             64 * (factor if what == "directions" else 1))
            for factor in FACTORS
        ]  # fmt: skip
        # In turns, so that a temporary slowdown of the machine affects all factors.
        runs = [[_cost(*size) for size in sizes] for _ in range(ROUNDS)]
        median = [statistics.median(run[place][1] for run in runs) for place in range(len(FACTORS))]
        rows += [
            {
                "quantity": what,
                "factor": factor,
                "n_params": runs[0][place][0],
                "seconds_ratio": median[place] / median[0],
                "new_peak_mib": max(run[place][2] for run in runs),
            }
            for place, factor in enumerate(FACTORS)
        ]
    return rows


def ensemble(epochs: int = 100) -> dict[str, float]:
    """Time sixty networks on two spirals, six levels of ten repeats: in a plain loop one by one, and side by side.

    Both run on one thread and on all cores, which the plain loop uses within torch and the package as workers.
    """
    data = load("swiss_roll", 10)
    sizes, recipe = (800, 400, 200, 100, 50, 20), Recipe(epochs)
    jobs = {
        size: [Job(initial_parameters("swiss_x5", i), data.inputs[:size], data.targets[:size], i) for i in range(10)]
        for size in sizes
    }
    _train(jobs[20][:2], Recipe(2))  # warms up torch
    plain_training(jobs[20][0], 2)
    cores = os.cpu_count() or 1
    seconds: dict[tuple[str, int], list[float]] = {}
    for _ in range(ROUNDS):
        for threads in (1, cores):
            torch.set_num_threads(threads)
            started = time.perf_counter()
            for job in (job for size in sizes for job in jobs[size]):
                plain_training(job, epochs)
            seconds.setdefault(("alone", threads), []).append(time.perf_counter() - started)
            torch.set_num_threads(1)
            started = time.perf_counter()
            found = _side_by_side(jobs, recipe, threads)
            seconds.setdefault(("together", threads), []).append(time.perf_counter() - started)
    median = {key: statistics.median(runs) for key, runs in seconds.items()}
    gaps = [
        abs(_final_loss(jobs[size][0], found[size][0]) - _final_loss(jobs[size][0], _train(jobs[size][:1], recipe)[0]))
        for size in sizes
    ]
    return {
        "networks": 60.0, "epochs": epochs, "cores": cores, "largest_loss_difference": max(gaps),
        "ratio": median["alone", 1] / median["together", 1],
        "ratio_on_all_cores": median["alone", cores] / median["together", cores],
        "bound": median["alone", 1] / (epochs * sum(_product_seconds(10, size) for size in sizes)),
    }  # fmt: skip


def _side_by_side(jobs: dict[int, list[Job]], recipe: Recipe, workers: int) -> dict[int, list[Parameters]]:
    """Train one group per size on the workers, as the training stage does."""
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return dict(zip(jobs, pool.map(partial(_train, recipe=recipe), jobs.values()), strict=True))


def _train(jobs: list[Job], recipe: Recipe) -> list[Parameters]:
    """Train a group of networks side by side."""
    *_, (_, found) = train(build_model("swiss_x5"), jobs, recipe, binary_cross_entropy)
    return found


def plain_training(job: Job, epochs: int) -> Parameters:
    """Train one network in plain PyTorch: a module, AdamW, backward, step."""
    model = build_model("swiss_x5")
    model.load_state_dict(job.parameters)
    optimiser, criterion = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01), nn.BCEWithLogitsLoss()
    for _ in range(epochs):
        optimiser.zero_grad()
        criterion(model(job.inputs).squeeze(-1), job.targets.float()).backward()
        optimiser.step()
    return parameters_of(model)


def _final_loss(job: Job, parameters: Parameters) -> float:
    """Return the mean training loss of a network."""
    losses, _ = evaluate(build_model("swiss_x5"), parameters, job.inputs, job.targets, binary_cross_entropy)
    return losses.double().mean().item()


def _product_seconds(networks: int, size: int) -> float:
    """Return seconds of the 32×32 products of one step, forward and twice backward: a lower bound for any trainer."""
    x, w = torch.randn(networks, size, 32), torch.randn(networks, 32, 32)
    times = []
    for _ in range(7):
        started = time.perf_counter()
        for _ in range(4):  # hidden layers between the first and the last
            torch.bmm(x, w), torch.bmm(x, w.transpose(1, 2)), torch.bmm(x.transpose(1, 2), x)
        times.append(time.perf_counter() - started)
    return statistics.median(times)
