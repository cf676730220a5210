"""The loss on the plane through three minima, computed once for all data sizes.

The loss of every sample is computed once per point of the plane. Running sums over the samples, in the order in which
levels add them, give the mean loss at every data size. Along a row of the plane the network moves on a straight line, so
a row is a ray and shares the first-layer products of `rays`.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from minima_volume.errors import ResultsError
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import Layout, Parameters, layout_of
from minima_volume.networks.precision import to_float64
from minima_volume.networks.sequential import TILE_ELEMENTS
from minima_volume.pipeline.parallel import run_tasks
from minima_volume.pipeline.study import Repeat
from minima_volume.planes import grid, sources
from minima_volume.planes.grid import Floats
from minima_volume.planes.triples import Triple
from minima_volume.rays.base import TiledRays
from minima_volume.rays.bundle import RayBundle
from minima_volume.storage import archives

FROM, TO = -0.5, 1.5  # fractions of the parameter differences, as published
SIDE = {"quick": 61, "paper": 81}  # points per side; both have nodes at 0 and 1, where the minima are
SIZES = {"quick": 121, "paper": 401}
ROWS = 4  # rows in one task: a stopped run loses no more
LETTERS = ("A", "B", "C")
Ints = NDArray[np.int64]
RunTasks = Callable[..., list[Floats]]  # run_tasks with its threads and label


@dataclass(frozen=True)
class Plane:
    """The plane through three parameter sets of one model.

    Attributes:
        model: The model.
        corners: Parameters A, B, C.
        samples: The samples whose loss is computed.
        dtype: Precision of the forward pass.
    """

    model: nn.Module
    corners: tuple[Parameters, Parameters, Parameters]
    samples: Samples
    dtype: torch.dtype = torch.float32

    @property
    def layout(self) -> Layout:
        """Return names and shapes of the parameters."""
        return layout_of(self.corners[0])

    def vectors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return A, B − A and C − A as flat vectors (n,)."""
        a, b, c = (self.layout.flatten(corner).to(self.dtype) for corner in self.corners)
        return a, b - a, c - a

    def geometry(self) -> dict[str, float]:
        """Return the lengths ‖B − A‖ and ‖C − A‖ in raw parameters and the angle between them in degrees."""
        _, to_b, to_c = (vector.cpu().double() for vector in self.vectors())
        lengths = to_b.norm().item(), to_c.norm().item()
        cosine = (to_b @ to_c).item() / (lengths[0] * lengths[1])
        return {"length_b": lengths[0], "length_c": lengths[1], "angle": float(np.degrees(np.arccos(cosine)))}


@torch.no_grad()
def row_sums(plane: Plane, x: Floats, rows: Floats, sizes: Ints) -> Floats:
    """Return summed losses at points of a plane, accumulated in float64.

    Samples are taken in spans whose activations fit into one tile, so that memory does not grow with the data set.

    Args:
        plane: The plane.
        x: Fractions of B − A, shape (nx,).
        rows: Fractions of C − A, one per row.
        sizes: Ascending numbers of samples; each sum is over the first of them.

    Returns:
        Sums, shape (len(sizes), len(rows), nx).
    """
    a, to_b, to_c = plane.vectors()
    out = np.zeros((len(sizes), len(rows), len(x)))
    for start, stop in _spans(plane, int(sizes[-1])):
        bundle = RayBundle(plane.model, plane.layout, plane.samples.part(start, stop), to_b.unsqueeze(0), plane.dtype)
        reached = torch.from_numpy(np.clip(sizes - start, 0, stop - start))
        for j, y in enumerate(rows):
            moved = plane.layout.split(a + float(y) * to_c)
            rays = bundle.rays(Minimum.of(moved, plane.layout, normalise=False))
            out[:, j] += _row(rays, x, reached)
    return out


def _spans(plane: Plane, n_samples: int) -> Iterator[tuple[int, int]]:
    """Return ranges of samples that fill one tile each."""
    a, to_b, _ = plane.vectors()
    one = RayBundle(plane.model, plane.layout, plane.samples.part(0, 1), to_b.unsqueeze(0), plane.dtype)
    width = one.rays(Minimum.of(plane.layout.split(a), plane.layout, normalise=False)).width()
    span = max(1, TILE_ELEMENTS[to_b.device.type] // width)
    return ((start, min(start + span, n_samples)) for start in range(0, n_samples, span))


def _row(rays: TiledRays, x: Floats, reached: Tensor) -> Floats:
    """Return sums (n_sizes, len(x)) over the first `reached` samples of a span along one row."""
    samples, sums = rays.samples, []
    together = max(1, TILE_ELEMENTS[samples.inputs.device.type] // (rays.width() * len(samples)))
    for points in torch.from_numpy(x).split(together):
        outputs = rays.at(torch.zeros(len(points), dtype=torch.long), points)(0, len(samples))
        losses = samples.criterion(outputs, samples.targets)
        running = nn.functional.pad(to_float64(losses).cumsum(1), (1, 0))
        sums.append(running[:, reached.to(running.device)].cpu())
    return torch.cat(sums).T.numpy()


def data_sizes(marks: Sequence[int], count: int) -> Ints:
    """Return about `count` data sizes from the first to the last mark in equal ratios, with all marks included."""
    steps = np.geomspace(marks[0], marks[-1], count).round().astype(np.int64)
    return np.unique(np.concatenate([steps, np.asarray(marks, np.int64)]))


def compute_grid(path: Path, plane: Plane, x: Floats, sizes: Ints, info: dict[str, Any], run: RunTasks) -> Path:
    """Return the grid file at `path`, computed now if it is missing or out of date. Interrupted runs resume.

    Args:
        path: The file.
        plane: The plane.
        x: Fractions along both axes.
        sizes: Numbers of samples.
        info: The file's header, with its fingerprint.
        run: `run_tasks` with its threads and label.

    Raises:
        ResultsError: No loss on the plane is finite.
    """
    if archives.read_if_current(archives.read_arrays, path, info["fingerprint"]) is not None:
        return path
    parts = path.with_suffix(".rows")
    spans = [(start, min(start + ROWS, len(x))) for start in range(0, len(x), ROWS)]
    tasks = [partial(_block, parts / f"rows_{a:03d}_{b:03d}.npz", plane, x, x[a:b], sizes, info) for a, b in spans]
    mean_loss = np.concatenate(run(tasks, unit="blocks"), axis=1) / sizes[:, None, None]
    if not np.isfinite(mean_loss).any():
        raise ResultsError(
            f"Expected losses on the plane of {path.stem}, got none that is finite: train its minima again."
        )
    grid.write(path, grid.Grid({**info, **plane.geometry()}, x, x, sizes, mean_loss))
    shutil.rmtree(parts)
    return path


def _block(path: Path, plane: Plane, x: Floats, rows: Floats, sizes: Ints, info: dict[str, Any]) -> Floats:
    """Return the sums of a few rows, from the file of an interrupted run or computed now."""
    found = archives.read_if_current(archives.read_arrays, path, info["fingerprint"])
    if found is not None:
        sums: Floats = found[1]["sums"]
        return sums
    sums = row_sums(plane, x, rows, sizes)
    archives.write_arrays(path, {"fingerprint": info["fingerprint"]}, {"sums": sums})
    return sums


def triple_grid(triple: Triple, scale: str, folder: Path) -> Path:
    """Return the grid file of a triple, computed now if it is missing or out of date.

    Raises:
        ResultsError: Minima are missing. The message names the command that trains them.
    """
    study, settings = sources.open_study(triple.study, scale)
    levels = sources.three_levels(study, triple.levels)
    repeat, found = sources.load_trained(study, scale, levels, settings)
    a, b, c = (found[level][1].parameters for level in levels)
    headers = [found[level][0] for level in levels]
    sizes = data_sizes([study.n_train(level) for level in levels], SIZES[scale])
    x = np.linspace(FROM, TO, SIDE[scale])
    info = describe(repeat, scale, headers) | {
        "name": triple.name,
        "fingerprint": archives.fingerprint(
            [header["fingerprint"] for header in headers], study.thresholds[0], x.tolist(), sizes.tolist()
        ),
    }
    run = partial(run_tasks, threads=settings.workers, label=f"{study.name} plane")
    return compute_grid(
        folder / f"{triple.name}_plane.npz", Plane(repeat.model, (a, b, c), repeat.samples), x, sizes, info, run
    )


def describe(repeat: Repeat, scale: str, headers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what pictures say about the study and about the minima at the corners."""
    study, kept = repeat.study, ("level", "n_train", "test_accuracy")
    corners = [
        {"letter": letter} | {key: header[key] for key in kept} for letter, header in zip(LETTERS, headers, strict=True)
    ]
    return {
        "study": study.name, "scale": scale, "data": repeat.dataset.name, "model": study.model, "repeat": repeat.number,
        "loss": repeat.dataset.loss, "threshold": study.thresholds[0], "corners": corners,
    }  # fmt: skip
