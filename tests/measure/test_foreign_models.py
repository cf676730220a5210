"""Models, losses and data of other people: measured as the user calls them, or refused."""

import copy
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune

from minima_volume import Measurement, measure_volume
from minima_volume.estimators.diagnostics import diagnose
from minima_volume.networks.adapters import per_sample
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import layout_of, parameters_of
from minima_volume.networks.sequential import is_stack
from minima_volume.rays.base import Rays
from minima_volume.rays.functional import FunctionalRays

CROSS_ENTROPY = nn.CrossEntropyLoss()


def classes(n: int, inputs: int = 6, outputs: int = 3) -> tuple[Tensor, Tensor]:
    """Return inputs whose class depends on the first column and some noise."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(n, inputs, generator=draw)
    noisy = x[:, 0] + 0.3 * torch.randn(n, generator=draw)
    return x, torch.bucketize(noisy, torch.linspace(-1, 1, outputs - 1)).clamp_max(outputs - 1)


def trained(model: nn.Module, data: tuple[Tensor, Tensor], loss: Callable[..., Tensor] = CROSS_ENTROPY) -> nn.Module:
    adam = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(60):
        adam.zero_grad()
        loss(model(data[0]), data[1]).backward()
        adam.step()
    return model.eval()


@torch.no_grad()
def loss_of(model: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    return float(CROSS_ENTROPY(model(data[0]), data[1]))


def mlp(*widths: int) -> nn.Sequential:
    torch.manual_seed(1)
    layers = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


class Hidden(nn.Module):
    """A network inside another module, so that the fast path does not apply."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: Tensor) -> Any:
        return self.inner(inputs)


def assert_equal(one: Measurement, other: Measurement) -> None:
    # Radii of 0, or at the cap, would agree for any two models.
    assert np.isfinite(one.log_radii).all() and not one.censored.any()
    # Each path is within 0.01 nats of n·ln r.
    np.testing.assert_allclose(one.n_params * one.log_radii, other.n_params * other.log_radii, atol=0.02)
    assert one.value_at_minimum == pytest.approx(other.value_at_minimum, rel=1e-5)


@pytest.mark.parametrize("factor", [1.02, 1.5, 5.0])
@pytest.mark.parametrize("loss", [CROSS_ENTROPY, nn.MSELoss()], ids=["cross-entropy", "squared error"])
def test_float64_correction_of_a_users_loss(loss: nn.Module, factor: float) -> None:
    # With so many samples the float64 correction evaluates the user's loss on the hardest ones only.
    x, y = classes(1500, 12, 4)
    wanted = y if loss is CROSS_ENTROPY else torch.sin(x[:, :1])
    model = trained(mlp(12, 48, 4 if loss is CROSS_ENTROPY else 1), (x, wanted), loss)
    threshold = factor * float(loss(model(x), wanted).detach())
    found, plain = (
        measure_volume(m, loss, (x, wanted), threshold=threshold, n_directions=3) for m in (model, Hidden(model))
    )
    assert_equal(found, plain)


class Skipping(nn.Sequential):
    """A stack of layers with a skip connection."""

    def forward(self, inputs: Tensor) -> Tensor:
        out: Tensor = 2 * inputs[:, :3] + super().forward(inputs)
        return out


def hooked() -> nn.Sequential:
    model = mlp(6, 8, 3)
    model[-1].register_forward_hook(lambda _module, _inputs, out: 0.5 * out)
    return model


def pruned() -> nn.Sequential:
    model = mlp(6, 8, 3)
    prune.l1_unstructured(model[0], "weight", amount=0.5)
    with torch.no_grad():
        model(torch.zeros(1, 6))  # a masked weight that was computed with gradients could not be copied
    return model


@pytest.mark.parametrize("build", [lambda: Skipping(*mlp(6, 8, 3)), hooked, pruned], ids=["forward", "hook", "pruned"])
def test_computations_outside_the_layers_count(build: Callable[[], nn.Sequential]) -> None:
    data, model = classes(64), build().eval()
    assert not is_stack(model, 2)
    loss = loss_of(model, data)
    found = measure_volume(model, CROSS_ENTROPY, data, threshold=1.03 * loss, n_directions=4)
    assert found.value_at_minimum == pytest.approx(loss, rel=1e-5)
    assert_equal(found, measure_volume(Hidden(model), CROSS_ENTROPY, data, threshold=1.03 * loss, n_directions=4))


class Branching(nn.Module):
    """Branches on a value, which a batch of networks cannot do together."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp(6, 8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        out: Tensor = self.inner(inputs)
        return out if out.sum() > -1e9 else -out


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.cell, self.head = nn.LSTM(2, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        out: Tensor = self.head(self.cell(inputs.unflatten(1, (3, 2)))[0][:, -1])
        return out


@pytest.mark.parametrize("build", [Branching, Recurrent])
def test_small_networks_that_vmap_cannot_batch(build: Callable[[], nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    data, model = classes(40), build().eval()
    threshold = 1.03 * loss_of(model, data)
    found = measure_volume(model, CROSS_ENTROPY, data, threshold=threshold, n_directions=3)
    monkeypatch.setattr(FunctionalRays, "VMAP_PARAMS", 0)
    assert_equal(found, measure_volume(model, CROSS_ENTROPY, data, threshold=threshold, n_directions=3))


class Turning(nn.Module):
    """A complex buffer, as in rotary embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp(6, 8, 3)
        self.register_buffer("turn", torch.polar(torch.ones(3), torch.tensor([0.3, 1.1, 2.0])))

    def forward(self, inputs: Tensor) -> Tensor:
        turned = torch.view_as_complex(inputs.unflatten(1, (3, 2)).contiguous()) * self.turn
        out: Tensor = self.inner(torch.view_as_real(turned).flatten(1))
        return out


def test_complex_buffers_stay_complex() -> None:
    data, model = classes(64), Turning()
    found = measure_volume(model, CROSS_ENTROPY, data, threshold=2.0, n_directions=2)
    assert found.value_at_minimum == pytest.approx(loss_of(model, data), rel=1e-5)


@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_the_users_loss_is_unchanged(reduction: str) -> None:
    loss = nn.CrossEntropyLoss(weight=torch.ones(3), reduction=reduction)
    before = copy.deepcopy(loss.weight)
    measure_volume(mlp(6, 8, 3), loss, classes(32), threshold=2.0, n_directions=2)
    assert loss.weight.dtype == torch.float32 and torch.equal(loss.weight, before) and loss.reduction == reduction


@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 9.0, 2.0])])
def test_weighted_and_ignored_targets_count_as_in_the_mean_of_the_loss(weight: Tensor | None) -> None:
    x, y = classes(600)
    y = torch.where(torch.arange(600) < 300, y, -100)
    model, loss = mlp(6, 8, 3), nn.CrossEntropyLoss(weight=weight)
    at_minimum = float(loss(model(x), y).detach())
    found = measure_volume(model, loss, (x, y), threshold=1.1 * at_minimum, n_directions=3)
    assert found.value_at_minimum == pytest.approx(at_minimum, rel=1e-6)
    # Only the first half counts, so leaving the others out gives the same radii.
    half = measure_volume(model, loss, (x[:300], y[:300]), threshold=1.1 * at_minimum, n_directions=3)
    assert_equal(found, half)


class Tokens(nn.Linear):
    """Scores (N, classes, T) of a sequence (N, T, 4) of any length."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs).transpose(1, 2)


@pytest.mark.parametrize("ignored", [0, 5])
@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), nn.CrossEntropyLoss(weight=torch.tensor([1.0, 9.0, 2.0])),
                                  nn.CrossEntropyLoss(label_smoothing=0.1)])  # fmt: skip
def test_every_target_of_batches_of_different_lengths_counts_as_in_the_mean_of_the_loss(
    loss: nn.Module, ignored: int
) -> None:
    torch.manual_seed(0)
    model, batches = Tokens(4, 3).eval(), [(torch.randn(10, t, 4), torch.randint(0, 3, (10, t))) for t in (3, 7)]
    batches[1][1][:, 7 - ignored :] = -100
    scores = torch.cat([model(x).detach().transpose(1, 2).flatten(0, 1) for x, _ in batches])
    wanted = loss(scores, torch.cat([y.flatten() for _, y in batches]))
    found = measure_volume(model, loss, batches, threshold=9.0, n_directions=2)
    assert found.value_at_minimum == pytest.approx(float(wanted), rel=1e-6)
    noted = measure_volume(model, lambda o, y: functional.cross_entropy(o, y, reduction="none"), batches, threshold=9.0,
                           n_directions=2).notes  # fmt: skip
    assert any("every sample counts the same" in note for note in noted)


@pytest.mark.parametrize("kind", [torch.bool, torch.int64, torch.float16])
def test_losses_of_any_real_type(kind: torch.dtype) -> None:
    x, y = classes(32)
    model = mlp(6, 8, 3)
    found = measure_volume(model, lambda o, y: (o.argmax(1) != y).to(kind), (x, y), threshold=0.9, n_directions=2)
    wrong = float((model(x).argmax(1) != y).double().mean())
    assert found.value_at_minimum == wrong
    batches = [(x, y)]
    again = measure_volume(
        model, lambda m, b: (m(b[0]).argmax(1) != b[1]).to(kind), batches, threshold=0.9, n_directions=2
    )
    assert again.value_at_minimum == wrong


@pytest.mark.parametrize("kind", [torch.int32, torch.int64, torch.uint8])
def test_class_numbers_of_any_integer_type(kind: torch.dtype) -> None:
    x, y = classes(32)
    found = measure_volume(mlp(6, 8, 3), CROSS_ENTROPY, (x, y.to(kind)), threshold=2.0, n_directions=2)
    assert_equal(found, measure_volume(mlp(6, 8, 3), CROSS_ENTROPY, (x, y), threshold=2.0, n_directions=2))


def test_one_direction_has_no_standard_error() -> None:
    found = measure_volume(mlp(6, 8, 3), CROSS_ENTROPY, classes(32), threshold=2.0, n_directions=1)
    assert math.isfinite(found.log_volume) and math.isnan(found.log_volume_se) and math.isnan(found.verdict.bulk_error)


@pytest.mark.parametrize("n", [50, 60])
def test_few_equal_radii_are_not_called_a_lower_bound(n: int) -> None:
    draw, phrase = np.random.default_rng(0), "larger radii were missed, so"
    assert phrase not in diagnose(draw.normal(0, 1e-3, n)).sentence
    assert phrase in diagnose(draw.normal(0, 10, 200)).sentence


def test_the_order_of_the_samples_does_not_matter() -> None:
    # The loss of the second half has a hill before the wall that all samples have. The engine evaluates the first samples
    # first and must not step over the hill.
    model = nn.Sequential(nn.Linear(1, 50, bias=False))
    nn.init.ones_(model[0].weight)
    inputs, hilly = torch.ones(8192, 1), (torch.arange(8192) >= 4096).float()

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        r = (outputs - 1).norm(dim=-1)
        return (r / 2) ** 2 / 2 + targets * 4 * torch.exp(-(((r - 0.8) / 0.3) ** 2))

    found = measure_volume(model, loss, (inputs, hilly), threshold=0.5, n_directions=4)
    mixed = measure_volume(model, loss, (inputs, hilly[torch.randperm(8192)]), threshold=0.5, n_directions=4)
    wanted = brentq(lambda r: (r / 2) ** 2 / 2 + 2 * math.exp(-(((r - 0.8) / 0.3) ** 2)) - 0.5, 0, 0.8)
    for measurement in (found, mixed):
        np.testing.assert_allclose(measurement.log_radii, math.log(wanted), atol=0.01 / 50)


def test_the_width_of_rays_covers_the_outputs() -> None:
    model, inputs = Hidden(nn.Linear(2, 3000)), torch.randn(5, 2)
    parameters = parameters_of(model)
    layout = layout_of(parameters)
    samples = Samples(inputs, torch.zeros(5), lambda outputs, targets: outputs[..., 0])
    rays: Rays = FunctionalRays(model, samples, torch.zeros(2, layout.n_params), Minimum.of(parameters, layout))
    assert rays.width() >= 3000


def test_a_users_loss_gets_one_sample_axis() -> None:
    seen: list[tuple[int, ...]] = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        seen.append(tuple(outputs.shape))
        return functional.cross_entropy(outputs, targets, reduction="none")

    y = classes(10)[1]
    assert per_sample(loss)(torch.randn(4, 10, 3), y).shape == (4, 10) and seen == [(40, 3)]
