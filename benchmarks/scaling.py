"""How cost and memory grow with directions, samples and parameters, and what training side by side gains."""

import resource
import time

import torch
from problems import clusters

from minima_volume.datasets import load
from minima_volume.losses import binary_cross_entropy, cross_entropy
from minima_volume.models import build_model, initial_parameters, mlp
from minima_volume.optim import Recipe
from minima_volume.parameters import layout_of, parameters_of
from minima_volume.points import Minimum, Samples
from minima_volume.radius import Target
from minima_volume.sweep import sweep
from minima_volume.training import Job, train

FACTORS = (1, 4, 16)


def _cost(width: int, n_samples: int, n_rays: int) -> tuple[int, float, float]:
    """Parameters, seconds, and MiB of new peak memory of a sweep through a random two-layer network."""
    torch.manual_seed(0)
    model = mlp(64, width, 10)
    inputs, targets = clusters(n_samples, (64,))
    parameters = parameters_of(model)
    minimum = Minimum.of(parameters, layout_of(parameters))
    samples = Samples(inputs, targets, cross_entropy)
    # A threshold above the untrained loss of about ln 10, so that every ray starts inside.
    call = [Target(n_samples, 4.0)]
    sweep(model, [minimum], [call], samples, seed=0, indices=range(2), memory=2**25)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    sweep(model, [minimum], [call], samples, seed=0, indices=range(n_rays), memory=2**25)
    seconds = time.perf_counter() - started
    return minimum.layout.n_params, seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def scaling() -> list[dict[str, float | str]]:
    """Seconds relative to the first row, each quantity ×1, ×4, ×16 with the others held."""
    rows: list[dict[str, float | str]] = []
    for what in ("directions", "samples", "parameters"):
        first = 0.0
        for factor in FACTORS:
            directions = 64 * (factor if what == "directions" else 1)
            samples = 2000 * (factor if what == "samples" else 1)
            width = 64 * (factor if what == "parameters" else 1)
            n_params, seconds, peak = _cost(width, samples, directions)
            first = first or seconds
            rows.append(
                {
                    "quantity": what,
                    "factor": factor,
                    "n_params": n_params,
                    "seconds_ratio": seconds / first,
                    "new_peak_mib": peak,
                }
            )
    return rows


def ensemble(epochs: int = 100) -> dict[str, float]:
    """Sixty Swiss networks, six levels of ten repeats, one after the other and side by side as the stages train them."""
    data, model = load("swiss_roll", 10), build_model("swiss_x5")
    sizes = (20, 50, 100, 200, 400, 800)
    jobs = {
        size: [Job(initial_parameters("swiss_x5", i), data.inputs[:size], data.targets[:size], i) for i in range(10)]
        for size in sizes
    }
    for few in (jobs[20][:1], jobs[20][:2]):  # the first steps of a process load parts of torch
        list(train(model, few, Recipe(2), binary_cross_entropy))
    started = time.perf_counter()
    alone = [
        list(train(model, [job], Recipe(epochs), binary_cross_entropy))[-1][1][0]
        for size in sizes
        for job in jobs[size]
    ]
    one_by_one = time.perf_counter() - started
    started = time.perf_counter()
    together = [
        found for size in sizes for found in list(train(model, jobs[size], Recipe(epochs), binary_cross_entropy))[-1][1]
    ]
    side_by_side = time.perf_counter() - started
    gap = max(float((a[name] - b[name]).abs().max()) for a, b in zip(alone, together, strict=True) for name in a)
    return {"networks": 60.0, "epochs": epochs, "ratio": one_by_one / side_by_side, "largest_weight_difference": gap}
