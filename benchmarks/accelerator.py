"""The same workloads on a GPU: `make bench DEVICE=cuda` adds a column to the page and changes nothing else."""

from typing import Any

import torch

from benchmarks.problems import workloads
from benchmarks.schemes import SCHEMES, error_of_engine
from benchmarks.timing import rate
from minima_volume.cluster.machine import device_name
from minima_volume.networks.precision import use_full_float32
from minima_volume.pipeline.settings import device


def column(only: str, runs: int) -> dict[str, Any]:
    """Return solved rays per second by workload and scheme on DEVICE, and the engine's error in nats."""
    rates, errors, place = {}, {}, device()
    use_full_float32()
    for name, problem in workloads().items():
        if only in name:
            there = problem.to(place)
            rates[name] = {scheme: rate(there, scheme, runs)[0] for scheme in SCHEMES}
            errors[name] = error_of_engine(there, 1)
            print(f"{name}: " + ", ".join(f"{scheme} {rays:.3g}/s" for scheme, rays in rates[name].items()), flush=True)
    return {"name": device_name(place), "torch": torch.__version__, "rays_per_s": rates, "error_nats": errors}
