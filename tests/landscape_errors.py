"""Mistakes with landscapes: what users did, a part of the message, and a trigger that repeats the mistake."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from minima_volume import Trajectory, loss_line, loss_path, loss_plane
from minima_volume.landscapes.alignment import align
from minima_volume.landscapes.evaluation import Evaluation
from minima_volume.landscapes.landscape import Landscape
from minima_volume.landscapes.plane import Plane
from minima_volume.landscapes.subspace import Subspace
from minima_volume.landscapes.totals import Totals
from minima_volume.storage import archives
from tests.user_errors import Mistake, Trigger, written

LOSS = nn.MSELoss()
DATA = (torch.eye(2), torch.ones(2, 1))


def linear(n_inputs: int = 2) -> nn.Linear:
    """A model whose parameters are known: its weights count from 1, and its bias is 0."""
    model = nn.Linear(n_inputs, 1)
    with torch.no_grad():
        model.weight.copy_(torch.arange(1.0, n_inputs + 1)[None])
        model.bias.zero_()
    return model


def evaluated(n_inputs: int = 2, loss: Any = LOSS, data: Any = DATA, **options: Any) -> Trigger:
    """Evaluate a plane around a linear layer with the given mistake."""
    return lambda *_: loss_plane(linear(n_inputs), loss=loss, data=data, **{"nodes": 2, "progress": False} | options)


def between(call: Callable[..., object], end: Any = None, **options: Any) -> Trigger:
    """Evaluate a line or a path from a linear layer to another with the given mistake."""
    given = {"nodes": 2, "progress": False} | options
    return lambda *_: call(linear(), linear() if end is None else end, LOSS, DATA, **given)


def saved(save: Callable[[Plane, Path], object], name: str) -> Trigger:
    """Save a plane under a name."""
    return lambda folder, _: save(
        loss_plane(linear(), loss=LOSS, data=DATA, nodes=2, progress=False, directions=torch.eye(2, 3)), folder / name
    )


def aligned(layer: Callable[[], nn.Module]) -> Trigger:
    """Align two models of one kind."""
    return lambda *_: align(layer(), layer())


def recorded(*steps: float, n_inputs: int = 2) -> Trajectory:
    """Record a linear layer after each of the given steps of all its parameters."""
    model, trajectory = linear(n_inputs), Trajectory()
    for step in steps:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += step
        trajectory.record(model)
    return trajectory


def drawn(*steps: float, others: int = 2) -> Trigger:
    """Draw a run that takes the given steps together with another of a model of `others` inputs."""
    return lambda *_: recorded(*steps).pca_plane(
        LOSS, DATA, others={"other": recorded(*steps, n_inputs=others)}, nodes=2, progress=False
    )


def archive_of_something_else(folder: Path, patch: pytest.MonkeyPatch) -> None:
    archives.write_arrays(folder / "plane.npz", {"kind": "rays"}, {"x": np.zeros(3)})
    Plane.load(folder / "plane.npz")


def over_a_trajectory(folder: Path, patch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        Trajectory(folder / "run").record(linear())


def opened_with_another_model(folder: Path, patch: pytest.MonkeyPatch) -> None:
    Trajectory(folder / "run").record(linear())
    Trajectory.open(folder / "run", linear(3))


def without_its_rows(folder: Path, patch: pytest.MonkeyPatch) -> None:
    Trajectory(folder / "run").record(linear())
    (folder / "run").unlink()
    Trajectory.open(folder / "run", linear())


def with_the_rows_of_another(folder: Path, patch: pytest.MonkeyPatch) -> None:
    for name, bias in (("run", 0.0), ("other", 1.0)):
        model = linear()
        torch.nn.init.constant_(model.bias, bias)
        Trajectory(folder / name).record(model)
    (folder / "other").replace(folder / "run")
    Trajectory.open(folder / "run", linear())


def of_two_models(folder: Path, patch: pytest.MonkeyPatch) -> None:
    trajectory = recorded(0)
    trajectory.record(linear(3))


class Doubled(nn.Linear):
    """No plain stack of layers."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(inputs)


def evaluated_as_a_stack(folder: Path, patch: pytest.MonkeyPatch) -> None:
    landscape = Landscape(Doubled(2, 1), LOSS, DATA)
    minimum, samples = landscape.minimum, landscape.user.samples
    assert samples is not None, "the data are tensors"
    subspace = Subspace(minimum.parameters, minimum.layout, torch.eye(1, 3, dtype=torch.float64))
    evaluation = Evaluation(landscape, subspace, (2,), torch.float64, "stack")
    evaluation._by_stack(samples, torch.zeros(1, 1, dtype=torch.float64), Totals(1, (2,)))


def weighted(model: Any, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses of two samples, each of which counts twice."""
    losses = (model(batch[0]) - batch[1]).square().flatten()
    return losses, 2 * torch.ones_like(losses)


def plain(model: Any, batch: Any) -> torch.Tensor:
    """Losses of two samples."""
    return weighted(model, batch)[0]


LANDSCAPE_MISTAKES: tuple[Mistake, ...] = (
    ("aligned a model that is no stack", "linear, convolution, normalisation, pooling and pointwise layers to align, got "
     "Linear", aligned(linear)),
    ("aligned convolutions with groups", "convolutions without groups to align, got '0'",
     aligned(lambda: nn.Sequential(nn.Conv2d(2, 2, 1, groups=2)))),
    ("passed one direction twice", "models or directions that span a plane, got some that lie on one line",
     evaluated(directions=torch.ones(2, 3))),
    ("asked for the curvature of a closure", "directions='curvature', got a closure",
     evaluated(loss=plain, directions="curvature")),
    ("asked for the curvature of three parameters", "more than 3 parameters with directions='curvature', got 3: pass two",
     evaluated(directions="curvature")),
    ("misspelt the directions", "or two vectors, got 'curvatur'", evaluated(directions="curvatur")),
    ("passed directions that are too short", "directions of 3 numbers, got 2", evaluated(directions=torch.eye(2))),
    ("passed directions without the bias", "with 'bias' in the model's shape, got none or another shape",
     evaluated(directions=[{"weight": torch.ones(1, 2)}] * 2)),
    ("evaluated another model as a stack", "expected a stack of layers for path 'stack', got Doubled",
     evaluated_as_a_stack),
    ("loaded another archive as a plane", "Expected a plane in", archive_of_something_else),
    ("exported a plane that is not square to Landscaper", "as many nodes along both axes, got 2 and 1: evaluate",
     saved(lambda plane, path: replace(plane, y=plane.y[:1]).to_landscaper(path), "plane.npz")),
    ("saved a plane as a picture", "a path that ends in .npz or .csv, got",
     saved(lambda plane, path: plane.save(path), "plane.png")),
    ("passed a number as a model", "the second model as a module or a state dict, got int", between(loss_line, 3)),
    ("passed a model of another architecture", "got none or another shape for 'weight'", between(loss_line, linear(3))),
    ("passed a diverged model", "finite parameters in the second model, got others in 'bias'",
     between(loss_line, {**linear().state_dict(), "bias": torch.tensor([torch.nan])})),
    ("misspelt batch_norm", "batch_norm 'frozen' or 'recalibrate', got 'forzen'", evaluated(batch_norm="forzen")),
    ("asked for the loss of more samples than there are", "sizes up to 2 samples, got 3", evaluated(sizes=[3])),
    ("asked for nested sizes of weighted losses", "without weights for nested sizes, got weights",
     evaluated(loss=weighted, sizes=[1])),
    ("passed two models for a plane", "one model or three, got two", evaluated(b=linear())),
    ("asked for a plane without room", "Expected a margin of at least 0, got -1", evaluated(margin=-1)),
    ("asked for a size that was not evaluated", "Expected some of 1 sizes from 2 to 2, got [1]",
     lambda *given: evaluated()(*given).at_sizes([1])),
    ("swapped the ends of the extent", "x0 < x1 and y0 < y1, got (1, 0, 0, 1)", evaluated(extent=(1, 0, 0, 1))),
    ("misspelt the bend", "bend 'bezier' or 'polygon', got 'beziar'", between(loss_path, bend="beziar")),
    ("trained a bend with no learning rate", "a learning_rate above 0 and at most 1e+30, got nan",
     between(loss_path, learning_rate=float("nan"))),
    ("trained a bend with a huge learning rate", "a bend that can be trained, got NaN",
     between(loss_path, learning_rate=1e30, steps=3)),
    ("drew runs along one line", "checkpoints that span a plane, got some that lie on one line",
     drawn(0, 1, 1)),
    ("recorded over a trajectory", "got one: use Trajectory.open", over_a_trajectory),
    ("lost the rows of a trajectory", "Expected a trajectory in", without_its_rows),
    ("copied the rows of another run over a trajectory", "got another: one of the files is damaged or of another run",
     with_the_rows_of_another),
    ("opened a trajectory that is not there", "Record it again",
     written("run", None, lambda path: Trajectory.open(path, linear()))),
    ("opened the trajectory of another model", "Expected a trajectory of this architecture in", opened_with_another_model),
    ("recorded two models in one trajectory", "the parameters of the first call, got others", of_two_models),
    ("read a trajectory before recording", "Expected recorded checkpoints, got none", lambda *_: Trajectory().checkpoints),
    ("drew runs of two checkpoints", "at least three checkpoints, got 2", drawn(0, 1)),
    ("drew runs of two architectures", "trajectories of one architecture, got others",
     drawn(0, 1, 1, others=3)),
)  # fmt: skip
