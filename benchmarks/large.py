"""Cost and memory of rays of large models: points per ray, cost in units of one forward and one pass, peak memory.

Each model is measured in a process of its own, because memory that was once used stays with a process. Usage:
`python -m benchmarks.large NAME RAYS` prints one JSON object.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.large_models import FACTOR, LARGE
from minima_volume import measure_volume

CALLS: Counter[tuple[str, int]] = Counter()


class Counted(nn.Module):
    """Counts forward passes by precision and number of samples; copies count with the original."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> Any:
        """Return the outputs of the inner model."""
        CALLS[str(next(self.inner.parameters()).dtype), len(x)] += 1
        return self.inner(x)


def peak_bytes() -> int:
    """Return the largest memory that this process has had."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def unit_seconds(model: nn.Module, x: torch.Tensor, repeats: int = 3) -> float:
    """Return the least time of one forward pass over all samples and one pass over the weights, in float32."""
    other, times = [p.detach().clone() for p in model.parameters()], []
    for _ in range(repeats):
        start = time.perf_counter()
        with torch.no_grad():
            model(x)
            for mine, theirs in zip(model.parameters(), other, strict=True):
                theirs.copy_(mine).add_(mine, alpha=0.1)
        times.append(time.perf_counter() - start)
    return min(times)


def measure(name: str, rays: int) -> dict[str, Any]:
    """Measure one model along some rays."""
    torch.set_num_threads(1)
    model, (x, y) = LARGE[name]()
    wrapped, n = Counted(model).eval(), sum(p.numel() for p in model.parameters())
    loss = nn.CrossEntropyLoss()
    with torch.no_grad():
        at = float(loss(model(x), y))
    unit, before = unit_seconds(model, x), peak_bytes()
    seconds, counts = [], []
    for directions in (1, 1 + rays):
        CALLS.clear()
        start = time.perf_counter()
        found = measure_volume(wrapped, loss, (x, y), threshold=FACTOR * at, n_directions=directions, progress=False)
        seconds.append(time.perf_counter() - start)
        counts.append(sum(size * count for (_, size), count in CALLS.items()) / len(x))
    points = (counts[1] - counts[0]) / rays
    return {
        "name": name, "parameters": n, "unit_seconds": unit, "points_per_ray": points,
        "units_per_ray": (seconds[1] - seconds[0]) / rays / unit, "seconds_of_checks": seconds[0],
        "memory_in_copies": (peak_bytes() - before) / (4 * n), "log_volume": found.log_volume,
    }  # fmt: skip


if __name__ == "__main__":
    json.dump(measure(sys.argv[1], int(sys.argv[2])), sys.stdout)
