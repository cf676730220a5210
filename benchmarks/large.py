"""Write benchmarks/large.md: cost and memory of a ray of a large model, by five schemes in one run.

Each row is measured in a process of its own, because memory that was once used stays with a process. Usage:
`python -m benchmarks.large` for the page, `python -m benchmarks.large NAME SCHEME` for one row as JSON.
"""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from benchmarks.large_models import FACTOR, LARGE
from minima_volume import measure_volume
from minima_volume.estimators.published import PAPER_GRID
from minima_volume.networks.directions import draw_directions
from minima_volume.networks.parameters import filter_scales, layout_of

PAGE = Path(__file__).with_name("large.md")
# Rays of the engine that are timed, points of the grid that are timed and count as 100, and points that vmap holds.
RAYS, POINTS, TOGETHER = 2, 3, 2
# Relative error of the loss at which a bisection of the radius stops, as the flat-vector scheme has it.
NEAR = 0.01
CALLS: Counter[str] = Counter()
CROSS_ENTROPY = nn.CrossEntropyLoss()


class Counted(nn.Module):
    """Counts the samples of forward passes by precision; copies count with the original."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Any:
        """Return the outputs of the inner model."""
        CALLS[str(next(self.inner.parameters()).dtype)] += len(x)
        return self.inner(x)


def peak_bytes() -> int:
    """Return the largest memory that this process has had."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def unit_seconds(model: nn.Module, data: Any, repeats: int = 5) -> float:
    """Return the median time of one float32 loss over all samples and one pass over the weights."""
    other, times = [p.detach().clone() for p in model.parameters()], []
    for _ in range(repeats):
        start = time.perf_counter()
        with torch.no_grad():
            float(CROSS_ENTROPY(model(data[0]), data[1]))
            for mine, theirs in zip(model.parameters(), other, strict=True):
                theirs.copy_(mine).add_(mine, alpha=0.1)
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


# --- the schemes ------------------------------------------------------------------------------------------------------
# Each takes the model, the data and the threshold and returns seconds per ray, points per ray in float32 and in float64.

Cost = tuple[float, float, float]


def engine(model: nn.Module, data: Any, threshold: float) -> Cost:
    """The engine: what further rays cost."""
    wrapped, seconds, counts = Counted(model).eval(), [], []
    for directions in (1, 1 + RAYS):
        CALLS.clear()
        start = time.perf_counter()
        measure_volume(wrapped, CROSS_ENTROPY, data, threshold=threshold, n_directions=directions, progress=False)
        seconds.append(time.perf_counter() - start)
        counts.append({name: CALLS[f"torch.{name}"] / len(data[0]) for name in ("float32", "float64")})
    single, double = ((counts[1][name] - counts[0][name]) / RAYS for name in ("float32", "float64"))
    return (seconds[1] - seconds[0]) / RAYS, single, double


def _step(model: nn.Module) -> dict[str, Tensor]:
    """Return a filter-normalised direction as named tensors."""
    named = {name: p.detach() for name, p in model.named_parameters()}
    layout = layout_of(named)
    return layout.split(filter_scales(named, layout).mul_(draw_directions(0, [0], layout.n_params)[0]))


def _per_point(point: Callable[[float], object], points: int = len(PAPER_GRID)) -> Cost:
    """Time a few points of the grid and count them as all of a ray's."""
    point(float(PAPER_GRID[0]))
    start = time.perf_counter()
    for c in PAPER_GRID[1 : 1 + POINTS].tolist():
        point(c)
    return (time.perf_counter() - start) / POINTS * points, points, 0


def published_loop(model: nn.Module, data: Any, threshold: float) -> Cost:
    """The published loop: an increment is added to every tensor, and all of the grid is evaluated."""
    named, step, before = dict(model.named_parameters()), _step(model), 0.0

    def point(c: float) -> None:
        nonlocal before
        for name, tensor in named.items():
            tensor.add_(step[name], alpha=c - before)
        before = c
        float(CROSS_ENTROPY(model(data[0]), data[1]))

    return _per_point(point)


def dictionaries(model: nn.Module, data: Any, threshold: float) -> Cost:
    """Vectors as dictionaries: c times the vector is formed, added to the model, and subtracted again (nngeom's way)."""
    named, step = dict(model.named_parameters()), _step(model)

    def point(c: float) -> None:
        moved = {name: c * part for name, part in step.items()}
        for name, tensor in named.items():
            tensor += moved[name]
        float(CROSS_ENTROPY(model(data[0]), data[1]))
        for name, tensor in named.items():
            tensor -= moved[name]

    return _per_point(point)


def batched_calls(model: nn.Module, data: Any, threshold: float) -> Cost:
    """vmap(functional_call) over two points at a time, each with its own copy of all weights."""
    start, step, inner = {name: p.detach() for name, p in model.named_parameters()}, _step(model), deepcopy(model)

    def loss(c: Tensor) -> Tensor:
        moved = {name: value + c * step[name] for name, value in start.items()}
        return CROSS_ENTROPY(functional_call(inner, moved, (data[0],)), data[1])

    seconds, points, _ = _per_point(lambda c: vmap(loss)(torch.full((TOGETHER,), c)).tolist())
    return seconds / TOGETHER, points, 0


def flat_vectors(model: nn.Module, data: Any, threshold: float) -> Cost:
    """A flat vector per try, copied into the model; the radius is bisected to 1 % of the loss (tyche's way)."""
    start, step = parameters_to_vector(model.parameters()).clone(), _step(model)
    flat, points = torch.cat([step[name].flatten() for name, _ in model.named_parameters()]), 0
    del step
    began, below, above, c = time.perf_counter(), 0.0, float("inf"), 0.01
    while True:
        vector_to_parameters(start + c * flat, model.parameters())
        height, points = float(CROSS_ENTROPY(model(data[0]), data[1])) / threshold, points + 1
        if abs(height - 1) < NEAR:
            return time.perf_counter() - began, points, 0
        below, above = (c, above) if height < 1 else (below, c)
        c = 2 * c if above == float("inf") else (below + above) / 2


def float64_forward(model: nn.Module, data: Any, threshold: float) -> Cost:
    """No scheme: one loss in float64 on a copy of the model, for its memory."""
    start = time.perf_counter()
    float(
        CROSS_ENTROPY(deepcopy(model).double()(data[0].double() if data[0].is_floating_point() else data[0]), data[1])
    )
    return time.perf_counter() - start, 0, 1


SCHEMES: dict[str, Callable[[nn.Module, Any, float], Cost]] = {
    "engine": engine, "published loop": published_loop, "vmap(functional_call)": batched_calls,
    "flat vectors": flat_vectors, "dictionaries": dictionaries, "one float64 loss": float64_forward,
}  # fmt: skip


@torch.no_grad()
def measure(name: str, scheme: str) -> dict[str, Any]:
    """Measure one scheme on one model."""
    torch.set_num_threads(1)
    model, data = LARGE[name]()
    n, threshold = sum(p.numel() for p in model.parameters()), FACTOR * float(CROSS_ENTROPY(model(data[0]), data[1]))
    unit, before = unit_seconds(model, data), peak_bytes()
    seconds, single, double = SCHEMES[scheme](model, data, threshold)
    return {
        "name": name, "scheme": scheme, "parameters": n, "unit": unit, "seconds": seconds, "float32": single,
        "float64": double, "copies": (peak_bytes() - before) / (4 * n),
    }  # fmt: skip


HEAD = f"""# Rays of large models

`make bench-large` measures this page in one run, one thread, each row in a process of its own. The models are a ResNet-18
with 64 images of 32 × 32 pixels and GPT-like networks with 8 sequences of 64 tokens; the threshold is {FACTOR} times the
loss at the minimum. A *unit* is the time of one float32 loss over all samples and one pass over the weights. *Points* are
losses per ray. The engine finishes a ray in float64, whose points take about two units each; its cost is that of further
rays, after the checks of the model. The other schemes evaluate float32 only: the published grid of 100 points, of which
{POINTS} are timed, or a bisection until the loss is within {NEAR:.0%} of the threshold (flat vectors). *Memory* is the peak
above that of the process with model and data, in copies of all parameters in float32. One float64 loss, on a float64 copy
of the model, is given for comparison. *Flat vectors* is how tyche moves a model, *dictionaries* how nngeom does.

| model | parameters | scheme | points, float32 + float64 | seconds a ray | units a ray | units a point | memory, copies |
|---|---|---|---|---|---|---|---|
"""


def line(row: dict[str, Any]) -> str:
    """Return one row of the table."""
    units, points = row["seconds"] / row["unit"], row["float32"] + row["float64"]
    return (
        f"| {row['name']} | {row['parameters']:,} | {row['scheme']} | {row['float32']:g} + {row['float64']:g} | "
        f"{row['seconds']:.3g} | {units:.1f} | {units / points:.2f} | {row['copies']:.1f} |"
    )


def lines() -> Iterator[str]:
    """Measure all schemes on all models."""
    for name in LARGE:
        for scheme in SCHEMES:
            command = [sys.executable, "-m", "benchmarks.large", name, scheme]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            failed = done.stderr.strip().splitlines()[-1:] if done.returncode else []
            yield (
                f"| {name} | | {scheme} | failed: {' '.join(failed)} | | | | |"
                if failed
                else line(json.loads(done.stdout))
            )


def main() -> None:
    """Write the page."""
    rows = []
    for row in lines():
        print(row, flush=True)
        rows.append(row)
    PAGE.write_text(HEAD + "\n".join(rows) + "\n")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        json.dump(measure(sys.argv[1], sys.argv[2]), sys.stdout)
    else:
        main()
