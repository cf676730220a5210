"""Mistakes of users of the package: what they did, a part of the message, and a trigger that repeats the mistake."""

import json
import math
import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import minima_volume
from minima_volume import measurement
from minima_volume.crossings.packed import Packed
from minima_volume.errors import DataError
from minima_volume.estimators import comparison, diagnostics, gaussian
from minima_volume.measure import boundary
from minima_volume.networks import curvature, parameters
from minima_volume.networks.arguments import moving_layout
from minima_volume.networks.losses import cross_entropy
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.user_model import check_user_model
from minima_volume.rays import preconditioner
from minima_volume.sampling import bennett, elliptical, tethered
from minima_volume.testing import bodies, ellipsoid
from tests.user_errors import Mistake, Trigger, written

SINGLE = partial(functional.cross_entropy, reduction="none")
DATA = (torch.eye(4)[:, :2], torch.tensor([0, 1, 0, 1]))


def measured(model: nn.Module | None = None, loss: Any = SINGLE, data: Any = DATA, **options: Any) -> Trigger:
    """Measure a linear layer with the given mistake."""

    def call(folder: Path, patch: pytest.MonkeyPatch) -> object:
        given = {"threshold": 9.0, "n_directions": 2} | options
        return minima_volume.measure_volume(model or nn.Linear(2, 2), loss, data, **given)

    return call


class Pair(nn.Linear):
    """Returns its outputs twice."""

    def forward(self, inputs: torch.Tensor) -> Any:
        return super().forward(inputs), super().forward(inputs)


class Unique(nn.Linear):
    """Forbids copies."""

    def __deepcopy__(self, memo: object) -> "Unique":
        raise TypeError("there is only one")


class Switched(nn.Linear):
    """Doubles its outputs from the sixth call on, whichever copy is called."""

    calls = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        Switched.calls += 1
        return super().forward(inputs) * (1 if Switched.calls < 6 else 2)


def switched(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Switched, "calls", 0)
    measured(Switched(2, 2))(folder, patch)


def falling(folder: Path, patch: pytest.MonkeyPatch) -> None:
    flat = nn.Linear(2, 1)
    nn.init.zeros_(flat.weight)
    nn.init.zeros_(flat.bias)
    measured(flat, loss=lambda outputs, targets: 1 - (9 * outputs[:, 0]).clamp(-9, 9) ** 2)(folder, patch)


def wide(folder: Path, patch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(2, curvature.MAX_OUTPUTS + 1)
    found = parameters.parameters_of(model)
    minimum, samples = Minimum.of(found, parameters.layout_of(found)), Samples(*DATA, cross_entropy)
    curvature.gauss_newton_rows(model, minimum, samples)


def drawn(**options: Any) -> Trigger:
    """Draw steps around a linear layer with the given mistake."""
    given = {"threshold": 9.0, "sigmas": [0.1]} | options
    return lambda *_: minima_volume.local_volume(nn.Linear(2, 2), SINGLE, DATA, **given)


def kept(folder: Path, patch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        measured(keep=folder / "run.npz")(folder, patch)  # each with a new model


class Above(ellipsoid.Ellipsoid):
    """An ellipsoid's loss lifted by 1."""

    def values(self, points: torch.Tensor, ceiling: float = math.inf) -> torch.Tensor:
        return 1 + super().values(points)


above = Above(np.ones(3))


def few_trials(*_: object) -> None:
    settings = elliptical.EllipticalSettings(replicas=2, chains=2, trials=2, burn=1, keep=2, rank=1, fits=0)
    elliptical.elliptical_slice_path(
        ellipsoid.Ellipsoid(np.geomspace(1, 1e6, 50)), 0.1, [1.0], seed=0, settings=settings
    )


def packed(locked: Any) -> Trigger:
    """Send something to the workers of a cluster."""
    return lambda *_: Packed.of(locked, locked, (), 1)


class Moody(nn.Linear):
    """Is another function after it was sent: it raises an error, or adds 1."""

    sent: Any = False

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if isinstance(Moody.sent, Exception):
            raise Moody.sent
        return super().forward(inputs) + torch.tensor([float(Moody.sent is None), 0.0])


def sent(error: Exception | None) -> Trigger:
    """Send a model to a worker where it is another one."""

    def call(folder: Path, patch: pytest.MonkeyPatch) -> None:
        model = Moody(2, 2).eval()
        parameters = {name: p.detach() for name, p in model.named_parameters()}
        minimum = Minimum.of(parameters, moving_layout(model, parameters, None))
        user = check_user_model(model, SINGLE, DATA, minimum, threshold=9.0, memory=2**20)
        packed_model = Packed.of(user, minimum, [boundary(4, 9.0, "loss")], 2**20)
        patch.setattr(Moody, "sent", error)
        with packed_model.unpack():
            pass

    return call


def scripted(*_: object) -> nn.Module:
    """A model with a scripted layer."""
    return nn.Sequential(torch.jit.script(nn.Linear(2, 2)))


def above_zero() -> nn.Module:
    """A model that is the same at every call."""
    torch.manual_seed(0)
    return nn.Linear(2, 2)


def digit(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Change a digit of a saved measurement."""
    file, found = folder / "m.json", measured()(folder, patch)
    assert isinstance(found, measurement.Measurement)
    found.save(file)
    assert measurement.Measurement.load(file) == found
    text = file.read_text()
    file.write_text(text.replace(str(found.log_radii[0]), str(found.log_radii[0] + 1)))
    assert file.read_text() != text
    measurement.Measurement.load(file)


class Sparse(nn.Module):
    """Has a sparse parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(2).to_sparse())


def recorded(values: list[float], others: int = 0) -> Trigger:
    """Record checkpoints of these weights, with another writer, and draw their plane."""

    def call(folder: Path, patch: pytest.MonkeyPatch) -> None:
        model, trajectory = nn.Linear(1, 1, bias=False), minima_volume.Trajectory(folder / "run")
        for value in values:
            nn.init.constant_(model.weight, value)
            trajectory.record(model)
        for _ in range(others):
            minima_volume.Trajectory.open(folder / "run", model).record(model)
            trajectory.record(model)
        trajectory.pca_plane(nn.MSELoss(), (torch.ones(2, 1), torch.ones(2, 1)), nodes=3)

    return call


API_MISTAKES: tuple[Mistake, ...] = (
    ("gave several thresholds for one", "Expected a single threshold, got [9.0, 8.0]", drawn(threshold=[9.0, 8.0])),
    ("wrote a flag as text", "Expected normalise=True or normalise=False, got 'no'", measured(normalise="no")),
    ("asked for too many directions", "n_directions up to 9,999,999, got 1,000,000,000,000", measured(n_directions=10**12)),
    ("chose parameters by a number", "a list of names or a function, got 0", measured(only=0)),
    ("gave a model with a scripted layer", "got a scripted one in '0'", lambda *a: measured(scripted())(*a)),
    ("gave a model with sparse parameters", "Expected dense parameters, got 'weight'", measured(Sparse())),
    ("gave a model without numbers", "got 'weight' on the meta device", measured(nn.Linear(2, 2, device="meta"))),
    ("gave sparse inputs", "Expected dense inputs and targets", measured(data=(DATA[0].to_sparse(), DATA[1]))),
    ("named a file by a number", "Expected the name of a file, got 3", measured(keep=3)),
    ("named a file in the home of nobody", "Expected the name of a file, got '~nobody-here/r.npz'",
     measured(keep="~nobody-here/r.npz")),
    ("named a file by 300 letters", "Expected the name of a file, got " + "a" * 300, measured(keep="a" * 300 + ".npz")),
    ("returned weights of some batches only", "returns weights always or never, got both",
     measured(loss=lambda model, batch: (model(batch["x"]).square()[:, 0], torch.ones(2))[: batch["n"]]
              if batch["n"] == 2 else model(batch["x"]).square()[:, 0],
              data=[{"x": torch.ones(2, 2), "n": 1}, {"x": torch.ones(2, 2), "n": 2}])),
    ("drew a plane through one model", "three different models",
     lambda *_: minima_volume.loss_plane(*[above_zero()] * 3, loss=SINGLE, data=DATA, nodes=3)),
    ("drew a line from nowhere", "Expected finite start < stop, got nan and 1.0",
     lambda *_: minima_volume.loss_line(above_zero(), above_zero(), SINGLE, DATA, start=math.nan)),
    ("changed a digit of a saved measurement", "Expected the checksum written with", digit),
    ("compared in no dimension", "n_params of at least 1, got -2", lambda *_: comparison.compare(np.eye(2), -2)),
    ("misspelt the statistic", "Expected statistic 'log_volume', 'typical' or 'gamma', got 'typicl'",
     lambda *_: comparison.compare(np.eye(2), 3, statistic="typicl")),  # type: ignore[arg-type]  # the mistake
    ("recorded a run in two processes", "Expected 3 rows in ", recorded([1.0, 2.0, 3.0], others=1)),
    ("recorded a run that diverged", "got others in run from number 1 on", recorded([1.0, math.nan, 3.0])),
    ("sent a model with a lock to workers", "a model, a loss and data that can be sent to workers, got 'TypeError",
     packed(threading.Lock())),
    ("sent a model of a module that workers lack", "can import what the model and the loss are made of, got 'No module",
     lambda *_: Packed(b"cmy_models\nNetwork\n.").unpack().__enter__()),
    ("sent a model without its data", "no vocabulary (on a worker)", sent(DataError("no vocabulary"))),
    ("sent a model that fails there", "run on the workers as they do here, got 'OSError: no file' on ",
     sent(OSError("no file"))),
    ("sent a model that is another one there", "the same function of the same data on the workers", sent(None)),
    ("asked for no directions", "n_directions to be a whole number of at least 1", measured(n_directions=0)),
    ("gave one width instead of several", "sigmas as a sequence of widths above 0, got 0.1", measured(sigmas=0.1)),
    ("misspelt the preconditioner", "got 'curvatur'", measured(preconditioner="curvatur")),
    ("gave the preconditioner of another model", "Expected a preconditioner of 6 parameters, got one of 9",
     measured(preconditioner=preconditioner.Preconditioner.diagonal(torch.ones(9)))),
    ("gave a wrapped model", "got DataParallel: pass the original", measured(nn.DataParallel(nn.Linear(2, 2)))),
    ("asked for the accuracy of one number per sample", "Expected scores (N, classes)",
     measured(nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)), loss=None, metric="accuracy", threshold=0.5)),
    ("asked for the accuracy of probabilities", "remove the sigmoid",
     measured(nn.Sequential(nn.Linear(2, 1), nn.Sigmoid()), loss=None, metric="accuracy", threshold=0.5)),
    ("measured a model that forbids copies", "Expected a model that can be copied", measured(Unique(2, 2))),
    ("measured a model with a switch that copies lose", "Expected the same loss twice", switched),
    ("gave a loss that falls below 0 along a ray", "at least 0 everywhere along a ray",
     falling),
    ("misspelt the metric", "metric 'loss', 'accuracy' or 'kl', got 'acuracy'", measured(metric="acuracy")),
    ("gave no loss", "a loss function, got None", measured(loss=None)),
    ("gave a threshold below 0", "a finite number above 0 as threshold, got -1", measured(threshold=-1)),
    ("gave an accuracy of 2", "an accuracy above 0 and up to 1", measured(metric="accuracy", threshold=2)),
    ("asked for the curvature of an accuracy", "whose steps have no curvature",
     measured(metric="accuracy", threshold=0.1, preconditioner="curvature")),
    ("gave a loss that sums", "reduction 'mean' or 'none', got 'sum'", measured(loss=nn.CrossEntropyLoss(reduction="sum"))),
    ("gave a loss that returns one number", "one loss per sample", measured(loss=functional.cross_entropy)),
    ("gave an empty loader", "got an empty loader", measured(data=[])),
    ("gave a loader of numbers", "a model and a loss that run on the data", measured(data=[3])),
    ("gave fewer targets than inputs", "as many targets as inputs", measured(data=(DATA[0], DATA[1][:2]))),
    ("measured in training mode", "a model in evaluation mode", measured(nn.Sequential(nn.BatchNorm1d(2)))),
    ("gave inputs that are not finite", "finite losses at the minimum", measured(data=(DATA[0] / 0, DATA[1]))),
    ("measured with dropout", "Expected the same loss twice", measured(nn.Sequential(nn.Linear(2, 2), nn.Dropout()))),
    ("gave a model that returns a pair", "to return a tensor, got tuple", measured(Pair(2, 2), loss=nn.CrossEntropyLoss())),
    ("loaded a file that is not there", "got no file: check the path",
     written("a.json", None, measurement.Measurement.load)),
    ("drew steps around a minimum above the threshold", "a minimum within the threshold", drawn(threshold=0.1)),
    ("drew steps of no width", "widths above 0, got None", drawn(sigmas=None)),
    ("went on with the rays of another model", "the rays of this model, data and settings", kept),
    ("loaded another JSON file", "got another JSON file", written("a.json", b"{}", measurement.Measurement.load)),
    ("loaded half a measurement", "Measure and save again",
     written("a.json", json.dumps({"kind": measurement.KIND}).encode(), measurement.Measurement.load)),
    ("compared unconverged minima", "finite log radii shaped", lambda *_: comparison.compare(np.full((2, 9), np.nan), 3)),
    ("gave an order that names one twice", "an order of the minima 0 to 1, got [0, 0]",
     lambda *_: comparison.rank(np.eye(2), 3, order=[0, 0])),
    ("left out the width", "a width σ > 0", lambda *_: comparison.compare(np.eye(2), 3, statistic="gamma")),
    ("bounded a flat coordinate by nothing", "got a flat coordinate without bound",
     lambda *_: preconditioner.diagonal_preconditioner(torch.zeros(3), 0.1)),
    ("asked for the curvature of many outputs", "outputs per sample, got 257", wide),
    ("asked for P(-1, x)", "expected a > 0 and x ≥ 0", lambda *_: gaussian.log_lower_gamma(-1.0, np.ones(2))),
    ("asked for a profile without rays", "at least one ray",
     lambda *_: gaussian.gaussian_profile(np.ones(0), 3, sigmas=[1.0])),
    ("asked for a verdict on nothing", "at least one log weight", lambda *_: diagnostics.diagnose(np.ones(0))),
    ("gave a loss below 0", "a mean loss of at least 0", measured(loss=lambda outputs, targets: -1 - outputs[:, 0] ** 2)),
    ("asked for a sample above the threshold", "a minimum below the threshold 0.1, got the loss",
     lambda *_: tethered.tethered_hmc(above, 0.1, [1.0], seed=0)),
    ("drew too few points to start from", "draws of the fitted Gaussian inside the basin", few_trials),
    ("built a ladder of one rung", "at least two rungs", lambda *_: bennett.join_ladder([], [])),
    ("asked for two wells in 3 dimensions", "an even number of dimensions, got 3", lambda *_: bodies.two_wells(3)),
    ("fitted more parameters than samples", "more than 9 samples", lambda *_: bodies.linear_model(9, n_samples=9)),
    ("misspelt a name of the package", "has no attribute 'measure_volumes'",
     lambda *_: getattr(minima_volume, "measure_volumes")),  # noqa: B009 - a type checker would see the mistake
)  # fmt: skip
