"""Time of a plane of losses, compared with a plain loop that copies weights at every node, in one run on one thread."""

import statistics
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.large_models import LARGE
from benchmarks.problems import clusters
from minima_volume import loss_plane
from minima_volume.cluster.machine import device_name
from minima_volume.landscapes import basis
from minima_volume.landscapes.evaluation import Evaluation, PrecisionCheck
from minima_volume.landscapes.landscape import Landscape
from minima_volume.landscapes.node_losses import Floats
from minima_volume.landscapes.subspace import Subspace
from minima_volume.landscapes.survey import PROBES
from minima_volume.networks.surroundings import plain_surroundings
from minima_volume.pipeline.cost import forward_operations, matmul_rate
from minima_volume.training.models import build_model

Row = dict[str, Any]
SAMPLES, SIDE = 2000, 21
# Nodes of the ResNet-18 that are timed, and a side of those of loss-landscapes; all cost the same.
LARGE_SIDE, TIMED, TOOL_SIDE = 51, 6, 3
TARGETS = {"MNIST MLP": 4.5, "ResNet-18": 1.2}
TEXT = """A plain loop copies A + x·e₁ + y·e₂ into the model at every node and calls it. `loss_plane` computes three
products for the first layer of the whole plane, {limit}. It also checks the model, its loss and
its data. *Per node* is the time of one further node without these checks. All are medians of alternating runs in one
process on one thread. For the ResNet-18 {timed} nodes are timed, and the plane is counted as checks and {nodes:,} nodes.
*Largest difference* is that of the losses from a float64 loop in relative terms, for the ResNet-18 from the float32
loop. *loss-landscapes* is the package of that name, version 3.0.6, on the same models, as many nodes and one thread, if it
is installed (`pip install --no-deps loss-landscapes`). The network of the first row has the shape of the MNIST studies.
Measured on {device}."""


def planes(runs: int = 5) -> list[Row]:
    """Return a row for each workload."""
    device = device_name(torch.device("cpu"))
    return [row | {"device": device} for row in (_mlp(runs), _resnet(max(1, runs // 2)))]


def _trained(seed: int, inputs: Tensor, targets: Tensor) -> nn.Module:
    """A network after a few steps of training, so that losses differ over the plane."""
    torch.manual_seed(seed)
    model = build_model("mnist_mlp")
    adam = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(10):
        adam.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        adam.step()
    return model.eval()


@torch.no_grad()
def plain_loop(
    model: nn.Module, subspace: Subspace, points: Floats, data: tuple[Tensor, Tensor], dtype: torch.dtype
) -> Floats:
    """Return the losses of a loop that copies weights into a model at every node."""
    copy, (inputs, targets) = deepcopy(model).to(dtype), data
    axes = [subspace.layout.split(axis.to(dtype)) for axis in subspace.axes]
    base = {name: value.to(dtype) for name, value in subspace.parameters.items()}
    found, inputs = [], inputs.to(dtype)
    for x, y in points:
        for name, parameter in copy.named_parameters():
            parameter.copy_(base[name] + float(x) * axes[0][name] + float(y) * axes[1][name])
        found.append(float(nn.functional.cross_entropy(copy(inputs), targets)))
    return np.array(found)


def published_plane(models: Sequence[nn.Module], data: tuple[Tensor, Tensor], side: int) -> Callable[[], object] | None:
    """Return a plane by loss-landscapes, through three models or of random directions; None if it is not installed."""
    try:
        import loss_landscapes
        from loss_landscapes.metrics import Loss
    except ImportError:
        return None
    metric = Loss(nn.CrossEntropyLoss(), *data)
    # By filters it divides by zero on networks whose biases are 0; its nodes cost the same.
    call = (
        loss_landscapes.planar_interpolation
        if len(models) == 3
        else partial(loss_landscapes.random_plane, normalization="model")
    )

    def plane() -> object:
        with torch.no_grad():
            return call(*models, metric, steps=side, deepcopy_model=True)

    return plane


def _alternate(calls: Sequence[Callable[[], object]], runs: int) -> list[float]:
    """Return the median time of each call, all of them called in turn."""
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(runs):
        for call, own in zip(calls, seconds, strict=True):
            started = time.perf_counter()
            call()
            own.append(time.perf_counter() - started)
    return [statistics.median(own) for own in seconds]


def _mlp(runs: int) -> Row:
    """The plane through three networks of the MNIST studies."""
    data = clusters(SAMPLES, (1, 28, 28))
    models = [_trained(seed, *data) for seed in range(3)]

    def whole() -> Any:
        return loss_plane(*models, loss=nn.CrossEntropyLoss(), data=data, nodes=SIDE, progress=False)

    plane = whole()
    points = np.stack(np.meshgrid(plane.x, plane.y), axis=-1).reshape(-1, 2)
    with plain_surroundings(models[0]):
        landscape = Landscape(models[0], nn.CrossEntropyLoss(), data)
        a, b, c = (dict(model.named_parameters()) for model in models)
        layout, ones = landscape.minimum.layout, torch.ones(1, dtype=torch.float64)
        vectors = torch.stack([basis.displacement(a, other, layout, ones).detach() for other in (b, c)])
        subspace = Subspace(landscape.minimum.parameters, layout, basis.orthonormal(vectors, "models"))
        evaluation = Evaluation(landscape, subspace, (SAMPLES,), torch.float32)
        evaluation.means(points[:1])
        calls = [
            lambda: plain_loop(models[0], subspace, points, data, torch.float32), whole, lambda: evaluation.means(points)
        ]  # fmt: skip
        published = published_plane(models, data, SIDE)
        loop, ours, nodes, *tool = _alternate(calls + ([published] if published else []), runs)
        exact = plain_loop(models[0], subspace, points, data, torch.float64)
    first, rest = forward_operations(models[0], data[0])
    fewest = SAMPLES * (rest + 3 * first / len(points))
    return {
        "name": f"MNIST MLP, {SAMPLES:,} samples, {SIDE} × {SIDE} nodes", "nodes": len(points), "loop": loop, "plane": ours,
        "per_node": nodes / len(points), "difference": float(np.abs(plane.loss.ravel() / exact - 1).max()),
        "tool": tool[0] if tool else None, "limit": SAMPLES * (first + rest) / fewest,
        "share_of_matmul": fewest * len(points) / nodes / matmul_rate(),
    }  # fmt: skip


def _resnet(runs: int) -> Row:
    """A plane of random directions around a ResNet-18."""
    model, data = LARGE["ResNet-18"]()
    with plain_surroundings(model):
        started = time.perf_counter()
        landscape = Landscape(model, nn.CrossEntropyLoss(), data)
        scales = basis.scales_of(landscape.minimum, normalise=True)
        draw = torch.Generator().manual_seed(0)
        drawn = torch.randn(2, len(scales), generator=draw, dtype=torch.float64)
        axes = basis.orthonormal(drawn, "directions") * scales
        subspace = Subspace(landscape.minimum.parameters, landscape.minimum.layout, axes)
        points = np.stack(np.meshgrid(np.linspace(-5, 5, TIMED // 2), [-5.0, 5.0]), axis=-1).reshape(-1, 2)
        check = PrecisionCheck(landscape, subspace)
        dtype, _ = check.choose(points[:PROBES])
        check.choose(points[:PROBES])  # as `survey` does it at the lowest points
        checks = time.perf_counter() - started
        evaluation, size = Evaluation(landscape, subspace, (landscape.n_samples,), dtype), LARGE_SIDE**2
        found = evaluation.means(points).loss[:, -1]
        wanted = plain_loop(model, subspace, points, data, torch.float32)
        calls = [lambda: plain_loop(model, subspace, points, data, torch.float32), lambda: evaluation.means(points)]
        published = published_plane([model], data, TOOL_SIDE)
        loop, ours, *tool = _alternate(calls + ([published] if published else []), runs)
        loop, ours = loop / len(points), ours / len(points)
    return {
        "name": f"ResNet-18, {landscape.n_samples} images, {LARGE_SIDE} × {LARGE_SIDE} nodes", "nodes": size,
        "loop": size * loop, "plane": checks + size * ours, "per_node": ours,
        "difference": float(np.abs(found / wanted - 1).max()),
        "tool": tool[0] / TOOL_SIDE**2 * size if tool else None, "limit": None, "share_of_matmul": None,
    }  # fmt: skip


def lines(rows: list[Row]) -> list[str]:
    """Return the section of benchmarks/README.md."""
    limits = [row["limit"] for row in rows if row["limit"]]
    limit = (
        f"so that by count of operations at most {limits[0]:.1f}× is possible for the MLP"
        if limits
        else "if it is linear"
    )
    return [
        "## Planes of losses",
        "",
        TEXT.format(
            limit=limit, timed=TIMED, nodes=LARGE_SIDE**2, device=", ".join(sorted({row["device"] for row in rows}))
        ),
        "",
        "| workload | plain loop (s) | loss_plane (s) | ratio | per node (ms) | ratio per node | target "
        "| loss-landscapes (s) | share of matmul | largest difference |",
        "|---" * 10 + "|",
        *map(_line, rows),
    ]


def _line(row: Row) -> str:
    """Return the row of one workload."""
    target = next(value for name, value in TARGETS.items() if row["name"].startswith(name))
    share = "—" if row["share_of_matmul"] is None else f"{row['share_of_matmul']:.2f}"
    each = row["loop"] / row["nodes"] / row["per_node"]
    tool = "—" if row.get("tool") is None else f"{row['tool']:.3g}"
    return (
        f"| {row['name']} | {row['loop']:.3g} | {row['plane']:.3g} | {row['loop'] / row['plane']:.2f}× | "
        f"{1000 * row['per_node']:.3g} | {each:.2f}× | {target}× | {tool} | {share} | {row['difference']:.1g} |"
    )
