"""loss_plane: closed forms, a plain float64 loop at every node, and models that stay as they are."""

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from minima_volume import loss_plane
from tests.landscapes.problems import CROSS, DATA, INPUTS, TARGETS, Vector, flat, mlp, plain_loop, three, with_weights


def squared(curvature: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss ½ (w − target)ᵀ H (w − target) of every sample."""
    return lambda outputs, targets: 0.5 * ((outputs - targets) @ curvature * (outputs - targets)).sum(1)


# --- closed forms ----------------------------------------------------------------


def test_contours_of_a_quadratic_are_ellipses_with_the_right_axes_and_angle() -> None:
    """In the plane L = ½ uᵀ(EᵀHE)u: the fitted quadratic form has that matrix, so its ellipses have its axes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        root, corners = torch.randn(5, 5), torch.randn(3, 5)
    curvature = root @ root.T
    models = [Vector(corner).eval() for corner in corners]
    data = (torch.zeros(3, 5), torch.zeros(3, 5))
    plane = loss_plane(*models, loss=squared(curvature), data=data, nodes=9, progress=False)
    x, y = np.meshgrid(plane.x, plane.y)
    terms = np.stack([x**2, x * y, y**2, x, y, np.ones_like(x)], axis=-1).reshape(-1, 6)
    fitted, residual, *_ = np.linalg.lstsq(terms, plane.loss.ravel(), rcond=None)
    matrix = np.array([[2 * fitted[0], fitted[1]], [fitted[1], 2 * fitted[2]]])
    a, b, c = corners.double()
    axes, _ = np.linalg.qr(torch.stack([b - a, c - a], dim=1).numpy())
    wanted = axes.T @ curvature.double().numpy() @ axes
    # The sign of an axis of the QR decomposition is free; eigenvalues and angles up to it are not.
    np.testing.assert_allclose(np.linalg.eigvalsh(matrix), np.linalg.eigvalsh(wanted), rtol=1e-5)
    assert abs(matrix[0, 1]) == pytest.approx(abs(wanted[0, 1]), rel=1e-5)  # losses carry seven digits
    assert residual.size == 0 or residual[0] < 1e-8 * plane.loss.max() ** 2
    cosine = float((b - a) @ (c - a) / ((b - a).norm() * (c - a).norm()))
    assert plane.angle == pytest.approx(math.degrees(math.acos(cosine)), abs=1e-6)


def test_distances_on_the_plane_are_those_of_parameters() -> None:
    models = three(lambda: nn.Linear(6, 3))
    further = with_weights(nn.Linear(6, 3), 7)
    plane = loss_plane(*models, loss=CROSS, data=DATA, nodes=5, others={"D": further}, progress=False)
    a, b, c, d = plane.models
    for first, second, p, q in ((a, b, 0, 1), (a, c, 0, 2), (b, c, 1, 2)):
        true = float((flat(models[p]) - flat(models[q])).norm())
        assert math.hypot(first.x - second.x, first.y - second.y) == pytest.approx(true, rel=1e-9)
    assert max(mark.distance for mark in (a, b, c)) < 1e-9
    # Pythagoras: the distance of D from A has a part in the plane and one orthogonal to it.
    assert math.hypot(d.x, d.y, d.distance) == pytest.approx(float((flat(further) - flat(models[0])).norm()), rel=1e-9)
    with torch.no_grad():
        assert d.loss == pytest.approx(float(CROSS(further(INPUTS), TARGETS)), rel=1e-5)  # float32 in the comparison


def test_the_valley_of_a_two_layer_linear_network_is_a_hyperbola() -> None:
    """f(x) = v·w·x has loss (vw − 1)², which is 0 along vw = 1; the plane of two such weights shows all of it."""
    corners = []
    for w, v in ((1.0, 1.0), (2.0, 0.5), (1.0, 2.0)):
        model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).eval()
        nn.init.constant_(model[0].weight, w)
        nn.init.constant_(model[1].weight, v)
        corners.append(model)
    ones = torch.ones(2, 1)
    plane = loss_plane(*corners, loss=nn.MSELoss(), data=(ones, ones), nodes=31, progress=False)
    a, e1 = np.array([1.0, 1.0]), np.array([1.0, -0.5]) / math.hypot(1, 0.5)
    e2 = np.array([0.5, 1.0]) / math.hypot(1, 0.5)
    x, y = np.meshgrid(plane.x, plane.y)
    w, v = (a[i] + x * e1[i] + y * e2[i] for i in (0, 1))
    np.testing.assert_allclose(plane.loss, (w * v - 1) ** 2, rtol=1e-6, atol=1e-12)
    assert [mark.loss for mark in plane.models] == pytest.approx([0, 0, 1], abs=1e-12)


def test_curvature_directions_are_those_of_the_hessian() -> None:
    """In a rotated basis with curvatures 9, 4, 1, …: the axes are the first two, and the loss on them is ½Σλx²."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    values = torch.tensor([9.0, 4.0, 1.0, 0.5, 0.2, 0.1], dtype=torch.float64)
    curvature = (rotation * values) @ rotation.T
    model = Vector(torch.zeros(6, dtype=torch.float64)).double().eval()
    data = (torch.zeros(2, 6, dtype=torch.float64), torch.zeros(2, 6, dtype=torch.float64))
    plane = loss_plane(
        model, loss=squared(curvature), data=data, directions="curvature", nodes=7, normalise=False, progress=False
    )
    assert plane.eigenvalues == pytest.approx((9, 4), rel=1e-6)  # the tolerance of the iteration
    x, y = np.meshgrid(plane.x, plane.y)
    np.testing.assert_allclose(plane.loss, 4.5 * x**2 + 2 * y**2, rtol=1e-5, atol=1e-9)
    assert "λ = 9" in plane.axis_names[0]


def test_filter_normalised_coordinates_do_not_see_a_rescaled_filter() -> None:
    """A unit that is doubled before ReLU and halved after it is the same function, and has the same plane.

    A direction has the same numbers in units of filter norms; columns of the second layer are not filters, so only the
    direction of the first layer is used.
    """
    first = with_weights(nn.Sequential(nn.Linear(6, 4, bias=False), nn.ReLU(), nn.Linear(4, 2)), 0)
    second = deepcopy(first)
    with torch.no_grad():
        second[0].weight.mul_(2)
        second[2].weight.div_(2)
    draws = [torch.randn(24, generator=torch.Generator().manual_seed(seed)) for seed in (5, 6)]
    planes = [
        loss_plane(m, loss=CROSS, data=DATA, directions=draws, only="0.weight", normalise=True, nodes=5, progress=False)
        for m in (first, second)
    ]
    np.testing.assert_allclose(planes[0].loss, planes[1].loss, rtol=1e-6)


# --- a plain loop ----------------------------------------------------------------


class Skip(nn.Module):
    """No stack of layers; small enough for many networks at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(inputs + torch.tanh(self.norm(self.first(inputs))))


class Branch(Skip):
    """A model whose branch depends on its weights, which only a plain evaluation takes."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs) * (2.0 if float(self.head.weight.sum()) > 0 else 1.0)


class Conv(nn.Sequential):
    """A stack on images; the six inputs are pixels."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(24, 2))


@pytest.mark.parametrize("make", [mlp, Skip, Branch, lambda: nn.Sequential(*Conv())])
def test_every_node_agrees_with_a_plain_float64_loop(make: Callable[[], nn.Module]) -> None:
    models = three(make)
    inputs = INPUTS.view(-1, 1, 2, 3) if isinstance(models[0], nn.Sequential) and len(models[0]) == 4 else INPUTS
    before = [deepcopy(model.state_dict()) for model in models]
    plane = loss_plane(*models, loss=CROSS, data=(inputs, TARGETS), nodes=7, progress=False)
    wanted = plain_loop(models, plane, lambda model: CROSS(model(inputs.double()), TARGETS))
    np.testing.assert_allclose(plane.loss, wanted, rtol=1e-6)
    wrong = plain_loop(models, plane, lambda model: (model(inputs.double()).argmax(1) != TARGETS).double().mean())
    # One sample in 90 may lie on the boundary to within rounding.
    np.testing.assert_allclose(plane.error_rate[-1], wrong, atol=0.012)
    for model, state in zip(models, before, strict=True):
        assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
        assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_tiny_losses_are_evaluated_in_float64() -> None:
    """Losses of 10⁻⁹ are differences of logits that float32 cannot resolve; the result says which precision was used."""
    models = [with_weights(mlp(), seed) for seed in range(3)]
    adam = torch.optim.Adam([p for model in models for p in model.parameters()], 0.03)
    for _ in range(400):
        adam.zero_grad()
        sum(CROSS(model(INPUTS), TARGETS) for model in models).backward()
        adam.step()
    plane = loss_plane(*models, loss=CROSS, data=DATA, nodes=5, extent=(-0.01, 0.01, -0.01, 0.01), progress=False)
    wanted = plain_loop(models, plane, lambda model: CROSS(model(INPUTS.double()), TARGETS))
    np.testing.assert_allclose(plane.loss, wanted, rtol=1e-6)


def test_a_closure_a_loader_and_a_dictionary_give_the_same_plane() -> None:
    models = three(mlp)
    loader = DataLoader(TensorDataset(*DATA), batch_size=17)

    def closure(model: Any, batch: Any) -> Tensor:
        return functional.cross_entropy(model(batch["x"]), batch["y"], reduction="none")

    batches = [{"x": x, "y": y} for x, y in loader]
    planes = [
        loss_plane(*models, loss=loss, data=data, nodes=5, sizes=(10, 50), progress=False)
        for loss, data in ((CROSS, DATA), (CROSS, loader), (closure, batches))
    ]
    for plane in planes[1:]:
        np.testing.assert_allclose(
            plane.mean_loss, planes[0].mean_loss, rtol=2e-6
        )  # losses of a closure may be float32
    assert not np.isnan(planes[1].error_rate).any() and np.isnan(planes[2].error_rate).all()


def test_nested_sizes_come_from_one_pass_and_are_the_first_samples() -> None:
    models = three(mlp)
    plane = loss_plane(*models, loss=CROSS, data=DATA, nodes=5, sizes=(7, 64), progress=False)
    assert plane.sizes == (7, 64, 90)
    for index, size in enumerate(plane.sizes):
        part = DATA[0][:size], DATA[1][:size]
        alone = loss_plane(*models, loss=CROSS, data=part, nodes=5, progress=False)
        np.testing.assert_allclose(plane.mean_loss[index], alone.loss, rtol=1e-6)
    losses = functional.cross_entropy(models[0](INPUTS), TARGETS, reduction="none").detach().double()
    alone = loss_plane(models[0], loss=CROSS, data=DATA, nodes=3, progress=False)
    assert alone.loss_se[1, 1] == pytest.approx(float(losses.std()) / math.sqrt(90), rel=1e-4)  # float32 on one side


def test_a_part_of_the_memory_gives_the_same_plane() -> None:
    """Products of the first layer are formed for a few samples at a time."""
    models = three(mlp)
    planes = [loss_plane(*models, loss=CROSS, data=DATA, nodes=5, memory=memory, sizes=(33,), progress=False)
              for memory in (2**28, 4096)]  # fmt: skip
    np.testing.assert_allclose(planes[0].mean_loss, planes[1].mean_loss, rtol=1e-6)


# --- statistics of normalisation layers ----------------------------------------------------------------


def test_statistics_are_frozen_or_those_of_update_bn() -> None:
    models = three(Skip)
    data = (INPUTS.double(), TARGETS)
    for model in models:
        model.double().norm.running_mean.fill_(0.3)
    kept = deepcopy(models[0].state_dict())

    def calibrated(model: nn.Module) -> Tensor:
        torch.optim.swa_utils.update_bn([data[0]], model)
        return CROSS(model.eval()(data[0]), TARGETS)

    for batch_norm, loss in (("frozen", lambda model: CROSS(model(data[0]), TARGETS)), ("recalibrate", calibrated)):
        plane = loss_plane(*models, loss=CROSS, data=data, nodes=4, batch_norm=batch_norm, progress=False)
        np.testing.assert_allclose(plane.loss, plain_loop(models, plane, loss), rtol=1e-9)
        assert plane.batch_norm == batch_norm and f"BatchNorm {batch_norm}" in plane.about()
    assert all(torch.equal(kept[name], tensor) for name, tensor in models[0].state_dict().items())
