"""Checkpoints of a training run, kept in a memory-mapped file, and the plane in which the run moves most."""

import os
import weakref
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from tempfile import mkstemp
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from minima_volume.crossings.sweep import MEMORY
from minima_volume.errors import ResultsError, UserError
from minima_volume.landscapes.basis import Basis
from minima_volume.landscapes.batch_norm import BatchNorm
from minima_volume.landscapes.landscape import Landscape
from minima_volume.landscapes.loss_plane import MARGIN, Extent, Named, plane_on
from minima_volume.landscapes.plane import Plane
from minima_volume.landscapes.principal import principal_axes, track_of
from minima_volume.networks.adapters import Data, LossFunction
from minima_volume.networks.arguments import Names, moving_layout
from minima_volume.networks.losses import Metric
from minima_volume.networks.parameters import Layout, parameters_of
from minima_volume.networks.surroundings import plain_surroundings
from minima_volume.networks.user_model import plain_module
from minima_volume.storage import archives, row_file

KIND, UNCHECKED = "minima_volume.trajectory/2", "minima_volume.trajectory/1"  # the first version had no checksums
_ADVICE = "Record it again."


class Trajectory:
    """Checkpoints of a training run as rows of a file (checkpoints, n), float32, which is mapped into memory.

    Any number of checkpoints is recorded; memory holds one at a time.

    Args:
        path: The file; a header with the names of the parameters and the checksums of the rows are written beside it, with
            .json and .sums added to its name. By default a temporary file that disappears with the trajectory.
        only: Which parameters are recorded; see `measure_volume`. All others must stay as they are.

    Raises:
        ResultsError: The file exists already: `Trajectory.open` goes on with it.

    Example:
        >>> import torch
        >>> from minima_volume import Trajectory
        >>> model, trajectory = torch.nn.Linear(2, 1), Trajectory()
        >>> sgd, data = torch.optim.SGD(model.parameters(), 0.1), (torch.eye(2), torch.ones(2, 1))
        >>> for step in range(20):
        ...     sgd.zero_grad()
        ...     torch.nn.functional.mse_loss(model(data[0]), data[1]).backward()
        ...     sgd.step()
        ...     trajectory.record(model)
        >>> plane = trajectory.pca_plane(torch.nn.MSELoss(), data, nodes=5, progress=False)
        >>> len(trajectory), len(plane.tracks[0].x), round(sum(plane.explained), 2)
        (20, 20, 1.0)
    """

    def __init__(self, path: str | Path | None = None, *, only: Names = None) -> None:
        self.path, self.only = None if path is None else Path(path), only
        if self.path is not None and self.path.exists():
            raise ResultsError(f"Expected no file {path}, got one: use Trajectory.open, or delete it.")
        if self.path is None:
            handle, name = mkstemp(suffix=".trajectory")
            os.close(handle)
            weakref.finalize(self, Path(name).unlink, missing_ok=True)
        self._file = Path(name) if self.path is None else self.path
        self._model: nn.Module | None = None
        self._layout: Layout | None = None
        self._count, self._checked = 0, path is not None

    @classmethod
    def open(cls, path: str | Path, model: nn.Module) -> "Trajectory":
        """Open a recorded trajectory, to go on with it or to draw it.

        Args:
            path: The file.
            model: A model of the architecture, which holds the parameters that were not recorded.

        Returns:
            The trajectory. A checkpoint that was written in part is left out.

        Raises:
            ResultsError: A file is missing or damaged, or belongs to another run or another architecture.
        """
        found, path, model = cls.__new__(cls), Path(path), plain_module(model)
        content = archives.read_json(_header_of(path), advice=_ADVICE)
        own = {name: tuple(p.shape) for name, p in model.named_parameters()}
        shapes = _shapes_in(content)
        if (
            not shapes
            or content.get("kind") not in (KIND, UNCHECKED)
            or any(own.get(name) != at for name, at in shapes)
        ):
            raise ResultsError(f"Expected a trajectory of this architecture in {path}, got another: check the path.")
        found.path, found.only, found._layout = path, [name for name, _ in shapes], Layout(shapes)
        found._model = deepcopy(model).eval()
        found._file, found._checked = path, content["kind"] == KIND
        try:
            found._count = row_file.count_rows(path, found._layout.n_params, checked=found._checked)
        except OSError as error:
            raise ResultsError(f"Expected a trajectory in {path}, got: {error}. {_ADVICE}") from error
        return found

    def __len__(self) -> int:
        return self._count

    def record(self, model: nn.Module) -> None:
        """Append the present parameters of a model.

        Args:
            model: The model that is trained, the same in every call.

        Raises:
            UserError: The model has other parameters than in the first call.
            ResultsError: The file cannot be written.
        """
        model = plain_module(model)
        named = {name: p.detach() for name, p in model.named_parameters()}
        if self._layout is None:
            self._layout, self._model = moving_layout(model, named, self.only), deepcopy(model).eval()
            if self.path is not None:
                header = {"kind": KIND, "shapes": self._layout.shapes}
                archives.write_record(_header_of(self.path), header, movable=True)
        if any(name not in named or tuple(named[name].shape) != shape for name, shape in self._layout.shapes):
            raise UserError("Expected the parameters of the first call, got others: record one model per trajectory.")
        flat = self._layout.flatten({name: named[name].float() for name, _ in self._layout.shapes})
        row_file.write_row(self._file, self._count, flat.cpu().numpy(), checked=self._checked)
        self._count += 1

    @property
    def checkpoints(self) -> NDArray[np.float32]:
        """The checkpoints (checkpoints, n), mapped from the file; read only.

        Raises:
            UserError: Nothing was recorded.
        """
        if self._layout is None or not self._count:
            raise UserError("Expected recorded checkpoints, got none: call trajectory.record(model) while it trains.")
        return row_file.map_rows(self._file, self._count, self._layout.n_params)

    def pca_plane(
        self,
        loss: LossFunction | None,
        data: Data,
        *,
        others: Mapping[str, "Trajectory"] | None = None,
        name: str = "run",
        nodes: int = 41,
        extent: Extent | None = None,
        margin: float = MARGIN,
        threshold: float | None = None,
        sizes: Sequence[int] | None = None,
        metric: Metric = "loss",
        batch_norm: BatchNorm = "frozen",
        keep: str | Path | None = None,
        progress: bool | None = None,
        memory: int = MEMORY,
    ) -> Plane:
        """Evaluate the loss on the plane through the last checkpoint in which the differences to it are largest.

        With D (checkpoints, n) the differences θᵢ − θ_last, the axes are the two leading right singular vectors of D (Li et
        al. 2018). `Plane.explained` is the share of Σ‖θᵢ − θ_last‖² along each axis, and each track holds the distances of
        its checkpoints from the plane. In high dimensions a random walk lies in such a plane almost as well as training does
        (Antognini and Sohl-Dickstein 2018), so a high share alone shows nothing.

        Args:
            loss: Loss function, loss module or closure; see `measure_volume`.
            data: (inputs, targets) tensors, a data set, a loader, or any batches for a closure.
            others: Further trajectories of the same architecture by their names, which count in the axes too.
            name: Name of this trajectory.
            nodes: Number of points along each axis.
            extent: Lowest and highest x, lowest and highest y; by default a square with a margin around all checkpoints.
            margin: That margin, as a share of the largest distance between their coordinates.
            threshold: A loss whose contour is drawn.
            sizes: Numbers of samples whose mean losses are read off in the same pass.
            metric: "loss", "accuracy" or "kl".
            batch_norm: "frozen" keeps the running statistics of the first recorded model; "recalibrate" computes them
                anew at every point.
            keep: An .npz file in which finished points are kept, and from which the same call goes on.
            progress: Whether to show a bar on stderr; by default if that is a terminal.
            memory: Bytes that activations and the data of a loader may each take; 384 MiB by default.

        Returns:
            The plane with all tracks; its marks are the last checkpoints.

        Raises:
            UserError: There are fewer than three checkpoints, trajectories of other architectures, or a loss that cannot be
                evaluated.
        """
        runs = {name: self, **(others or {})}
        if self._model is None or self._layout is None or len(self) < 3:
            raise UserError(f"Expected at least three checkpoints, got {len(self)}: record more of them.")
        if any(not isinstance(run, Trajectory) or run._layout != self._layout for run in runs.values()):
            raise UserError("Expected trajectories of one architecture, got others: record the same parameters.")
        for key, run in runs.items():
            broken = [number for number, row in enumerate(run.checkpoints) if not np.isfinite(row).all()]
            if broken:
                raise UserError(
                    f"Expected finite float32 checkpoints, got others in {key} from number {broken[0]} on: record fewer."
                )
        model, layout = deepcopy(self._model), self._layout
        _load(model, layout, self.checkpoints[-1])
        with plain_surroundings(model):
            landscape = Landscape(
                model, loss, data, metric=metric, only=self.only, batch_norm=batch_norm, memory=memory
            )
            axes, explained = principal_axes([run.checkpoints for run in runs.values()])
            device = landscape.minimum.scales.device
            scales = torch.ones(layout.n_params, dtype=torch.float64, device=device)
            frame = Basis(landscape.minimum.parameters, layout, scales, axes.to(device))
            tracks = [track_of(key, run.checkpoints, self.checkpoints[-1], axes) for key, run in runs.items()]
            marked = []
            for key, run in runs.items():
                end = deepcopy(model)  # the landscape reads the parameters of the model itself
                _load(end, layout, run.checkpoints[-1])
                marked.append(Named(f"end of {key}", parameters_of(end)))
            return plane_on(
                landscape, frame, marked, names=("component 1", "component 2"), explained=explained, tracks=tracks,
                nodes=nodes, extent=extent, margin=margin, threshold=threshold, sizes=sizes, keep=keep, progress=progress,
            )  # fmt: skip


def _header_of(path: Path) -> Path:
    """Return the file of a trajectory's header."""
    return path.with_name(f"{path.name}.json")


def _shapes_in(content: Mapping[str, Any]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return the shapes of the parameters in a header; nothing if it has none that are whole."""
    try:
        return tuple((str(name), tuple(map(int, shape))) for name, shape in content["shapes"])
    except (KeyError, TypeError, ValueError):
        return ()


def _load(model: nn.Module, layout: Layout, row: NDArray[np.float32]) -> None:
    """Write a checkpoint into a model."""
    named, parts = dict(model.named_parameters()), layout.split(torch.from_numpy(np.array(row)))
    with torch.no_grad():
        for name, part in parts.items():
            named[name].copy_(part)
