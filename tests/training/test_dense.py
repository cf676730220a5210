"""Gradients by hand against autograd, network by network, whatever the tiles."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from minima_volume.networks.losses import CRITERIA
from minima_volume.networks.parameters import layout_of, parameters_of
from minima_volume.networks.sequential import is_dense
from minima_volume.training import dense as training_dense
from minima_volume.training.dense import dense_gradient
from minima_volume.training.models import MODELS, build_model, mlp

NETWORKS, SAMPLES = 3, 23


@pytest.mark.parametrize("points", [1, 2, 7, 23, 50, 10_000])
@pytest.mark.parametrize("loss", list(CRITERIA))
def test_every_network_gets_its_own_autograd_gradient(loss: str, points: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    classes = 1 if loss == "binary_cross_entropy" else 4
    models = [mlp(6, 9, 5, classes).double() for _ in range(NETWORKS)]
    layout = layout_of(parameters_of(models[0]))
    inputs = torch.randn(NETWORKS, SAMPLES, 2, 3, generator=generator, dtype=torch.float64)
    targets = torch.randint(2, (NETWORKS, SAMPLES), generator=generator)
    # The last network has fewer samples: what pads it weighs nothing.
    weights = torch.rand(NETWORKS, SAMPLES, generator=generator, dtype=torch.float64)
    weights[-1, 15:] = 0
    monkeypatch.setitem(training_dense.TILE_ELEMENTS, "cpu", 9 * points)
    flat = torch.stack([layout.flatten(parameters_of(model)) for model in models])
    found = dense_gradient(models[0], layout, CRITERIA[loss])(flat, (inputs, targets, weights))()
    for model, row, x, y, w in zip(models, found, inputs, targets, weights, strict=True):
        (CRITERIA[loss](model(x), y) * w).sum().backward()
        expected = layout.flatten({name: tensor.grad for name, tensor in model.named_parameters()})
        torch.testing.assert_close(row, expected, rtol=1e-10, atol=1e-12)


def test_inputs_and_parameters_are_left_alone() -> None:
    model = build_model("digits_mlp")
    layout = layout_of(parameters_of(model))
    flat = layout.flatten(parameters_of(model)).unsqueeze(0)
    batch = (torch.randn(1, 40, 64), torch.randint(10, (1, 40)), torch.full((1, 40), 1 / 40))
    kept = [tensor.clone() for tensor in (flat, *batch)]
    dense_gradient(model, layout, CRITERIA["cross_entropy"])(flat, batch)()
    assert all(torch.equal(now, before) for now, before in zip((flat, *batch), kept, strict=True))


def test_a_sample_no_network_can_digest_shows_in_the_gradient() -> None:
    model = mlp(2, 4, 1)
    layout = layout_of(parameters_of(model))
    flat = layout.flatten(parameters_of(model)).unsqueeze(0)
    inputs = torch.tensor([[[0.0, 1.0], [float("nan"), 0.0]]])
    batch = (inputs, torch.tensor([[0, 1]]), torch.full((1, 2), 0.5))
    assert dense_gradient(model, layout, CRITERIA["binary_cross_entropy"])(flat, batch)().isnan().any()


@pytest.mark.parametrize(
    ("model", "dense"),
    [
        (mlp(3, 4, 2), True),
        (nn.Sequential(nn.Linear(3, 2)), True),
        (nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), False),
        (nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), False),
        (nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2)), False),
        (nn.Sequential(nn.Linear(3, 4), nn.ReLU()), False),
        (nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2)), False),
        (nn.Linear(3, 2), False),
    ],
)
def test_only_stacks_of_linear_layers_and_relu_are_dense(model: nn.Module, dense: bool) -> None:
    assert is_dense(model, 2) == dense


def test_the_papers_networks_without_convolutions_are_dense() -> None:
    dense = {name for name in MODELS if is_dense(build_model(name), 2 if name.startswith("swiss") else 4)}
    assert dense == {name for name in MODELS if "cnn" not in name}


def test_single_samples_agree_with_functional_calls() -> None:
    """The stack's own forward pass, seen through a criterion that returns its outputs."""
    model = mlp(5, 7, 1).double()
    layout = layout_of(parameters_of(model))
    flat = layout.flatten(parameters_of(model)).unsqueeze(0)
    seen: list[torch.Tensor] = []

    def criterion(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append(outputs.detach().clone())
        return outputs.squeeze(-1) * targets

    x = torch.randn(1, 11, 5, dtype=torch.float64)
    dense_gradient(model, layout, criterion)(flat, (x, torch.ones(1, 11), torch.ones(1, 11, dtype=torch.float64)))()
    torch.testing.assert_close(torch.cat(seen), functional_call(model, parameters_of(model), (x[0],)))
