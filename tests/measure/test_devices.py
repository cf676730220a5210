"""Equal radii, minima and tables on every device: always on fake devices, and on real ones that the machine has."""

import json
import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import accelerator, bench, schemes, timing
from minima_volume import loss_plane, measure_volume
from minima_volume.cluster.machine import device_name
from minima_volume.crossings.scan import Target
from minima_volume.crossings.sweep import sweep_crossings
from minima_volume.networks.losses import CRITERIA, cross_entropy
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import layout_of, parameters_of
from minima_volume.networks.precision import full_float32
from minima_volume.planes import deformation
from minima_volume.sampling.potential import NetworkPotential
from minima_volume.training.models import mlp
from minima_volume.training.recipe import Recipe
from minima_volume.training.trainer import Job, train
from tests.fake_devices import Elsewhere, Pretended
from tests.project import ROOT
from tests.ray_problems import trained
from tests.study_runs import TINY, Stages, rows, run

# Relative tolerance of radii for the rounding of different devices.
SAME = 1e-5
LARGEST = 3000


def convolutional() -> tuple[nn.Module, Samples]:
    """Return a trained network with convolutions, which takes the fast path, and small images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 4)).eval()
        targets = torch.arange(LARGEST) % 4
        inputs = 2 * torch.randn(4, 1, 6, 6)[targets] + 0.3 * torch.randn(LARGEST, 1, 6, 6)
    *_, (_, found) = train(
        model, [Job(parameters_of(model), inputs, targets, 0)], Recipe(epochs=30, lr=1e-2), cross_entropy
    )
    model.load_state_dict(found[0])
    return model, Samples(inputs, targets, cross_entropy)


def normalised() -> tuple[nn.Module, Samples]:
    """Return a trained network behind frozen batch normalisation, which takes the general path."""
    model, samples = trained((16, 24, 4), LARGEST, 30)
    return nn.Sequential(nn.BatchNorm1d(16), model).eval(), samples


MODELS: dict[str, Callable[[], tuple[nn.Module, Samples]]] = {
    "dense": lambda: trained((16, 24, 24, 4), LARGEST, 30),
    "convolutional": convolutional,
    "normalised": normalised,
}


def radii(model: nn.Module, samples: Samples, device: str) -> np.ndarray:
    """Return the crossings of small and large landscapes at two thresholds, and of an accuracy."""
    targets = [Target(size, height) for size in (60, 1000, LARGEST) for height in (0.5, 1.0)]
    targets.append(Target(1000, 0.4, "accuracy"))
    here = torch.device(device)
    parameters = {name: tensor.detach().to(here) for name, tensor in parameters_of(model).items()}
    minimum = Minimum.of(parameters, layout_of(parameters))
    return (
        sweep_crossings(model.to(here), [minimum], [targets], samples.to(here), seed=0, indices=range(6))
        .crossings[0]
        .coefficients
    )


@pytest.mark.parametrize("model", MODELS)
def test_radii(model: str, device: str) -> None:
    expected = radii(*MODELS[model](), "cpu")
    assert np.isfinite(expected).all()
    found = radii(*MODELS[model](), device)
    np.testing.assert_allclose(found[:, :-1], expected[:, :-1], rtol=SAME)
    # An accuracy is a step function, whose crossing is bisected.
    np.testing.assert_allclose(found[:, -1], expected[:, -1], rtol=3e-4)


@pytest.mark.parametrize("preconditioner", [None, "curvature"])
def test_a_measurement(preconditioner: str | None, device: str) -> None:
    model, samples = trained((16, 24, 4), 200, 30)
    measured = partial(
        measure_volume, loss_fn=nn.CrossEntropyLoss(), threshold=0.5, n_directions=20, preconditioner=preconditioner,
        progress=False,
    )  # fmt: skip
    expected = measured(model, data=(samples.inputs, samples.targets))
    moved = model.to(torch.device(device))
    found = measured(moved, data=(samples.inputs, samples.targets))
    assert next(moved.parameters()).device.type == device
    np.testing.assert_allclose(found.log_radii, expected.log_radii, atol=SAME)


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_training(loss: str, device: str) -> None:
    """A batch of networks with SAM, and one network with batches of samples, have the same weights as on the CPU."""
    n_out = 1 if loss == "binary_cross_entropy" else 3
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, n_out))
    inputs, targets = torch.randn(40, 4), torch.arange(40) % 2

    def minima(device: torch.device) -> list[dict[str, torch.Tensor]]:
        start = {name: tensor.detach().to(device) for name, tensor in parameters_of(model).items()}
        jobs = [Job(start, inputs[:n].to(device), targets[:n].to(device), 0) for n in (40, 20)]
        copy = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, n_out)).to(device)
        *_, (_, found) = train(copy, jobs, Recipe(epochs=5, sam_rho=0.05), CRITERIA[loss])
        *_, (_, alone) = train(copy, jobs[:1], Recipe(epochs=5, batch_size=16), CRITERIA[loss])
        return [{name: tensor.detach().cpu() for name, tensor in each.items()} for each in [*found, *alone]]

    for expected, found in zip(minima(torch.device("cpu")), minima(torch.device(device)), strict=True):
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-5)


def test_the_potential_of_samplers(device: str) -> None:
    model, samples = trained((4, 6, 3), 60, 60)
    minimum = Minimum.of(parameters_of(model), layout_of(parameters_of(model)))
    potentials = [
        NetworkPotential(model, minimum, Samples(samples.inputs.to(there), samples.targets.to(there), cross_entropy))
        for there in (torch.device("cpu"), torch.device(device))
    ]
    points = 0.1 * torch.randn(5, minimum.layout.n_params)
    expected, found = (potential.values_and_gradients(points) for potential in potentials)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_planes_and_deformed_boundaries(device: str) -> None:
    """The data of films."""
    there = torch.device(device)
    models = [mlp(5, 8, 3).eval() for _ in range(3)]
    data = torch.randn(37, 5), torch.randint(0, 3, (37,))
    found = []
    # Axes of planes are float64, which mps does not have: docs/limits.md.
    for place in (torch.device("cpu"), *([there] if there.type != "mps" else [])):
        moved = [deepcopy(model).to(place) for model in models]
        here = tuple(tensor.to(place) for tensor in data)
        found.append(loss_plane(*moved, loss=nn.CrossEntropyLoss(), data=here, nodes=5, sizes=(10,), progress=False))
    np.testing.assert_allclose(found[-1].mean_loss, found[0].mean_loss, rtol=1e-4)

    model, samples = trained((2, 6, 2), 40, 60)
    model, samples = (
        nn.Sequential(*model, nn.Linear(2, 1)),
        replace(samples, criterion=CRITERIA["binary_cross_entropy"]),
    )
    deformed = []
    for place in (torch.device("cpu"), there):
        parameters = {name: tensor.detach().to(place) for name, tensor in parameters_of(model).items()}
        minimum = Minimum.of(parameters, layout_of(parameters))
        deformed.append(deformation.deform(model.to(place), minimum, samples.to(place), threshold=2.0, seed=0)[1])
    for name in ("radii", "losses"):
        np.testing.assert_allclose(deformed[1][name], deformed[0][name], rtol=1e-4)


def test_all_stages(device: str, stages: Stages, tmp_path: Path) -> None:
    """One study from training to its table with DEVICE set."""
    study = replace(TINY, levels=(0,), thresholds=(1.0, 0.1))
    expected = rows(run(stages, tmp_path / "cpu", study, [0]))
    found = rows(run(stages, tmp_path / device, study, [0], DEVICE=device))
    for one, other in zip(found, expected, strict=True):
        assert float(one["log_volume"]) == pytest.approx(float(other["log_volume"]), rel=1e-3)


def test_a_column_of_the_benchmark(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column is measured on DEVICE and added to a page that is otherwise unchanged."""
    model, samples = trained((16, 24, 4), 60, 60)
    minimum = Minimum.of(parameters_of(model), layout_of(parameters_of(model)))
    problem = schemes.Problem("Swiss x5, 100 points, 6 minima", model, [minimum], [[60]], samples, 0.5)
    monkeypatch.setattr(accelerator, "workloads", lambda: {problem.name: problem})
    monkeypatch.setattr(timing, "ENGINE_RAYS", {})
    monkeypatch.setattr(bench, "HERE", tmp_path)
    monkeypatch.setenv("DEVICE", device)
    shutil.copy(ROOT / "benchmarks" / "results.json", tmp_path)
    before = json.loads((tmp_path / "results.json").read_text())
    bench.only_accelerator("", 1)
    after = json.loads((tmp_path / "results.json").read_text())
    (found,) = [column for column in after.pop("accelerators") if column["name"] == device_name(torch.device(device))]
    assert min(found["rays_per_s"][problem.name].values()) > 0
    assert found["error_nats"][problem.name] < 0.01
    before.pop("accelerators", None)
    assert after == before
    page = (tmp_path / "README.md").read_text()
    assert f"rays/s on {device_name(torch.device(device))} |" in page


def test_tf32_is_disabled_during_a_measurement_only() -> None:
    """GPUs can compute float32 products in TF32, and do so in convolutions by default."""
    model, samples = trained((16, 24, 4), 40, 30)
    seen, products = set(), (torch.backends.cudnn.conv, torch.backends.cuda.matmul)

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.update(product.fp32_precision for product in products)
        return nn.functional.cross_entropy(outputs, targets, reduction="none")

    with full_float32():  # restores the settings that are changed here
        for product in products:
            product.fp32_precision = "tf32"
        measure_volume(model, loss, (samples.inputs, samples.targets), threshold=0.5, n_directions=2, progress=False)
        assert seen == {"ieee"}
        assert [product.fp32_precision for product in products] == ["tf32", "tf32"]


def test_a_fake_device_follows_the_rules() -> None:
    """Otherwise the tests above would prove nothing."""
    with Pretended("mps"):
        there = torch.ones(2).to("mps")
        assert isinstance(there, Elsewhere) and there.device.type == "mps"
        assert (there + 1).tolist() == [2, 2]
        with pytest.raises(RuntimeError, match="got one on the CPU"):
            there + torch.ones(2)
        with pytest.raises(TypeError, match="no float64"):
            there.double()
        with pytest.raises(RuntimeError, match="generator"):
            torch.randn(2, generator=torch.Generator(), device="mps")
    with pytest.raises(RuntimeError, match="outside"):
        there + 1
