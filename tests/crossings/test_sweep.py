"""A whole sweep, float32 and float64 together: closed forms, a plain float64 measurement, splits that do not matter."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from minima_volume.crossings.problem import tolerance_for
from minima_volume.crossings.scan import SCAN_NODES, Target
from minima_volume.crossings.sweep import sweep_crossings
from minima_volume.estimators.radial import log_mean_power
from minima_volume.estimators.volume import estimate_volume
from minima_volume.networks.directions import draw_directions
from minima_volume.networks.losses import CRITERIA
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import layout_of, parameters_of
from minima_volume.rays.base import TiledRays
from tests import reference
from tests.ray_problems import plain_step, swept, trained


def squares(outputs: Tensor, targets: Tensor) -> Tensor:
    """(output − target)² of a single output."""
    return (outputs.squeeze(-1) - targets).square()


def quadratic(axes: list[float], weights: list[float]) -> tuple[nn.Module, Samples]:
    """A linear model without bias whose mean squared loss is Σ aᵢ²(θᵢ − wᵢ)², and its data, in float64.

    Float32 targets would leave residuals of 10⁻⁶ that tilt the parabola by as much as the radii are good for.
    """
    n = len(axes)
    model = nn.Sequential(nn.Linear(n, 1, bias=False)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([weights]))
    inputs = math.sqrt(n) * torch.diag(torch.tensor(axes, dtype=torch.float64))
    return model, Samples(inputs, inputs @ model[0].weight[0].detach(), squares)


def radii_of(model: nn.Module, samples: Samples, threshold: float, n_directions: int) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and norms of the directions through the public functions."""
    parameters = parameters_of(model)
    layout = layout_of(parameters)
    target = Target(len(samples), threshold)
    found = sweep_crossings(
        model, [Minimum.of(parameters, layout)], [[target]], samples, seed=0, indices=range(n_directions)
    )
    return found.crossings[0].coefficients[:, 0], found.norms


@pytest.mark.parametrize("n", [2, 3, 40])
def test_ball(n: int) -> None:
    weights = [0.5 + 0.1 * i for i in range(n)]
    model, samples = quadratic([1.0] * n, weights)
    c, norm = radii_of(model, samples, 0.01, 50)
    radius = math.sqrt(0.01) / math.sqrt(sum(w * w for w in weights))  # L = s²|u|² with s the norm of the only row
    assert (c < 1).all()
    # tolerance_for(n) = 10⁻⁶ for a network this small.
    np.testing.assert_allclose(c * norm, radius, rtol=1e-6)


@pytest.mark.parametrize("axes", [[1.0, 4.0], [3.0, 1.0, 0.5]])
def test_ellipsoid(axes: list[float]) -> None:
    weights = [0.8, -0.6, 0.7][: len(axes)]
    model, samples = quadratic(axes, weights)
    c, norm = radii_of(model, samples, 0.01, 1500)
    scale, n = math.sqrt(sum(w * w for w in weights)), len(axes)
    half_axes = [0.1 / (scale * a) for a in axes]
    g = draw_directions(0, range(1500), n).double().numpy()
    expected = np.linalg.norm(g, axis=1) / np.linalg.norm(g / np.array(half_axes), axis=1)
    crossed = expected < norm  # the others lie behind the cap c = 1
    # As for the ball.
    np.testing.assert_allclose((c * norm)[crossed], expected[crossed], rtol=1e-6)
    assert np.isnan(c[~crossed]).all() and crossed.mean() > 0.9
    found = estimate_volume(c[crossed], norm[crossed], n, recrossed=np.zeros(crossed.sum(), dtype=bool))
    whole = log_mean_power(np.log(expected), n) - log_mean_power(np.log(expected[crossed]), n)
    # V/V_ball = Π half-axes, within four of the estimate's own errors; `whole` puts back the rays behind the cap.
    assert found.log_volume + whole == pytest.approx(sum(map(math.log, half_axes)), abs=4 * found.log_volume_se)
    assert found.log_volume_se < 0.06


def test_scaling_the_threshold_scales_the_volume() -> None:
    model, samples = quadratic([1.0, 2.0, 5.0, 1.0], [1.0, 1.0, -1.0, 1.0])
    volumes = []
    for threshold in (1e-4, 1e-2):  # ten times the radius
        c, norm = radii_of(model, samples, threshold, 30)
        volumes.append(estimate_volume(c, norm, 4, recrossed=np.zeros(30, dtype=bool)).log_volume)
    # n·ln 10, each radius good to 10⁻⁶.
    assert volumes[1] - volumes[0] == pytest.approx(4 * math.log(10), abs=1e-5)


NETWORKS = [((2, 16, 16, 3), 40, 200, 25), ((64, 64, 32, 10), 90, 60, 12), ((784, 256, 128, 10), 60, 15, 2)]


@pytest.mark.parametrize(("widths", "n", "epochs", "n_rays"), NETWORKS)
def test_sweep_against_plain_float64(widths: tuple[int, ...], n: int, epochs: int, n_rays: int) -> None:
    model, samples = trained(widths, n, epochs)
    targets = [Target(size, threshold) for size in (n // 2, n) for threshold in (0.3, 0.1)]
    found = swept(model, samples, targets, list(range(n_rays)))
    assert (found.coefficients > 0).mean() > 0.9
    n_params = sum(p.numel() for p in model.parameters())
    for i in range(n_rays):
        steps = plain_step(model, draw_directions(0, [i], n_params)[0])
        for j, target in enumerate(targets):
            height = reference.along(model, steps, samples.inputs[: target.size], samples.targets[: target.size])
            expected, _ = reference.crossing(height, target.threshold)
            assert found.at_zero[j] == pytest.approx(height(0.0), abs=1e-6)  # float32 logarithms near 0
            got = found.coefficients[i, j]
            if math.isnan(expected) or expected == 0:
                assert got == pytest.approx(expected, nan_ok=True)
            else:
                # 0.01 nat of n·ln r: five times the 0.002 that tolerance_for promises.
                assert n_params * math.log(got / expected) == pytest.approx(0, abs=0.01)


def certain(model: nn.Module, inputs: Tensor) -> tuple[nn.Module, Samples]:
    """A network that is right about every sample: its own answers are the targets."""
    model = model.eval()
    with torch.no_grad():
        targets = model(inputs).argmax(dim=1)
    return model, Samples(inputs, targets, CRITERIA["cross_entropy"])


def just_above() -> tuple[nn.Module, Samples, list[float]]:
    """Thresholds so close above the minimum that the loss hardly rises towards them."""
    model, samples = trained((16, 24, 3), 51, 40)
    with torch.no_grad():
        height = float(functional.cross_entropy(model(samples.inputs), samples.targets))
    return model, samples, [1.0001 * height, 1.02 * height]


def steep() -> tuple[nn.Module, Samples, list[float]]:
    """Large inputs and two samples: answers that turn over within a thousandth of the ray."""
    model = nn.Sequential(*(part for n in (30, 30, 30) for part in (nn.Linear(n, 30), nn.ReLU())), nn.Linear(30, 3))
    with torch.no_grad():
        model[-1].weight.mul_(100)
    return *certain(model, 300 * torch.randn(2, 30)), [0.1, 1.0]


def confident() -> tuple[nn.Module, Samples, list[float]]:
    """Losses far below what float32 can tell from 0, on the general path."""
    model = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 3, bias=False))
    with torch.no_grad():
        model[1].weight.mul_(60)
    return *certain(model, 3 * torch.randn(4, 8)), [1e-8, 1e-6]


@pytest.mark.parametrize("problem", [just_above, steep, confident])
def test_where_float32_knows_little(problem: Callable[[], tuple[nn.Module, Samples, list[float]]]) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model, samples, thresholds = problem()
    found = swept(model, samples, [Target(len(samples), threshold) for threshold in thresholds], list(range(8)))
    assert (found.coefficients > 0).mean() > 0.5
    n_params = sum(p.numel() for p in model.parameters())
    for i, j in zip(*np.nonzero(found.coefficients > 0), strict=True):
        height = reference.along(
            model, plain_step(model, draw_directions(0, [i], n_params)[0]), samples.inputs, samples.targets
        )
        below, above = (height(found.coefficients[i, j] * math.exp(nats / n_params)) for nats in (-0.01, 0.01))
        assert below <= thresholds[j] < above


def test_sweep_knows_unconverged_and_censored() -> None:
    model, samples = trained((2, 16, 16, 3), 40, 200)
    above, below = Target(40, 1e-5), Target(40, 1e6)
    found = swept(model, samples, [above, below], [0, 1, 2])
    assert (found.coefficients[:, 0] == 0).all() and np.isnan(found.coefficients[:, 1]).all()


def test_order_and_split_do_not_matter() -> None:
    model, samples = trained((64, 64, 32, 10), 90, 60)
    targets = [Target(90, 0.1), Target(50, 0.3)]
    whole = swept(model, samples, targets, list(range(12)))
    shuffled = [7, 3, 11, 0, 5]
    apart = swept(model, samples, targets, shuffled)
    alone = [swept(model, samples, targets, [i]) for i in range(4)]
    for name in ("coefficients", "recrossed", "evaluations"):
        values = getattr(whole, name)
        # The same numbers, not nearly the same: a table must not depend on how the work was cut.
        np.testing.assert_array_equal(getattr(apart, name), values[shuffled])
        np.testing.assert_array_equal(np.concatenate([getattr(one, name) for one in alone]), values[:4])


@pytest.mark.parametrize("widths", [(64, 64, 32, 10), (2, 16, 16, 3)])
def test_memory_does_not_matter(widths: tuple[int, ...]) -> None:
    model, samples = trained(widths, 600, 100)
    targets = [Target(600, 0.1), Target(300, 0.3)]
    whole = swept(model, samples, targets, list(range(10)))
    assert np.isfinite(whole.coefficients).any()
    for memory in (1, 2**18, 2**21):  # one ray at a time, some, half
        part = swept(model, samples, targets, list(range(10)), memory=memory)
        # Memory cuts the float64 sums over 600 samples in other places: last digits, and no sign of another path.
        np.testing.assert_allclose(part.coefficients, whole.coefficients, rtol=1e-13)
        np.testing.assert_array_equal(part.recrossed, whole.recrossed)


def test_losses_in_flight_fit_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a network is small and its data are many, the losses at the crossings are what fills the memory."""
    model, samples = trained((4, 2), 3000, 600)
    held, losses = [], TiledRays.losses

    def seen(*call: Any) -> Tensor:
        found = losses(*call)
        held.append(found.nbytes)
        return found

    monkeypatch.setattr(TiledRays, "losses", seen)
    memory = 2**20
    swept(model, samples, [Target(2000, 0.3), Target(3000, 0.3)], list(range(60)), memory=memory)
    assert 0 < max(held) < memory / 5  # which leaves room for the smaller landscape and the copies


def test_minima_measured_together_or_alone() -> None:
    (model, samples), (other, _) = (trained((64, 64, 32, 10), 90, epochs) for epochs in (60, 80))
    targets = [[Target(90, 0.1)], [Target(90, 0.1), Target(45, 0.05)]]
    layout = layout_of(parameters_of(model))
    minima = [Minimum.of(parameters_of(each), layout) for each in (model, other)]
    both = sweep_crossings(model, minima, targets, samples, seed=0, indices=range(6)).crossings
    for minimum, wanted, found in zip(minima, targets, both, strict=True):
        (alone,) = sweep_crossings(model, [minimum], [wanted], samples, seed=0, indices=range(6)).crossings
        np.testing.assert_array_equal(found.coefficients, alone.coefficients)


class Walled(nn.Module):
    """One weight w = 1 whose loss is small below w = 1 + wall and not a number beyond."""

    def __init__(self, wall: float) -> None:
        super().__init__()
        self.weight, self.wall = nn.Parameter(torch.ones(1)), wall

    def forward(self, inputs: Tensor) -> Tensor:
        moved = (self.weight - 1).abs()
        return torch.where(moved < self.wall, 0.1 + 0 * inputs, torch.nan * inputs)


def test_sweep_up_to_where_losses_end() -> None:
    model = Walled(0.01)
    samples = Samples(torch.ones(3, 1), torch.zeros(3), squares)
    c, norm = radii_of(model, samples, 0.05, 5)
    # L = 0.01 inside and NaN outside: the wall is the crossing. It has no slope that float64 steps could follow, so it is
    # only as good as the float32 search, 10⁻³.
    np.testing.assert_allclose(c * norm, 0.01, rtol=2e-3)


def test_accuracy_crossing() -> None:
    model, samples = trained((2, 16, 16, 3), 40, 200)
    n_params = sum(p.numel() for p in model.parameters())
    target = Target(40, 0.1, "accuracy")  # nine of ten right
    found = swept(model, samples, [target], list(range(10)))
    assert found.at_zero[0] <= 0.1
    for i, c in enumerate(found.coefficients[:, 0]):
        steps = plain_step(model, draw_directions(0, [i], n_params)[0])

        def wrong(c: float, steps: dict[str, Tensor] = steps) -> float:
            outputs = reference.outputs(model, steps, c, samples.inputs)
            return float((outputs.argmax(dim=1) != samples.targets).double().mean())

        if math.isnan(c):
            assert all(wrong(node) <= 0.1 for node in SCAN_NODES)
        else:
            # Steps are bracketed to 10⁻⁴ in ln c: inside just before, outside just behind.
            assert wrong(c * (1 - 2e-4)) <= 0.1 < wrong(c * (1 + 2e-4))


def test_norms_and_work_are_returned_beside_the_crossings() -> None:
    model, samples = trained((16, 24, 3), 51, 40)
    parameters = parameters_of(model)
    minimum = Minimum.of(parameters, layout_of(parameters))
    whole, part = (
        sweep_crossings(model, [minimum], [[Target(51, 0.3)]], samples, seed=4, indices=indices, memory=memory)
        for indices, memory in ((range(9), 2**26), (range(3, 9), 2**14))
    )
    block = draw_directions(4, range(9), minimum.layout.n_params)
    np.testing.assert_array_equal(whole.norms, block.double().norm(dim=1).numpy())
    np.testing.assert_array_equal(part.norms, whole.norms[3:])
    # Every point of a ray is a loss of each of the 51 samples; the minimum itself and the check come on top.
    points = int(whole.crossings[0].evaluations.sum())
    assert 51 * points <= whole.work.float32 + whole.work.float64 <= 51 * (points + 4)


@pytest.mark.parametrize("n_params", [1, 6570, 235_146, 10**8])
def test_tolerance(n_params: int) -> None:
    assert tolerance_for(n_params) <= 1e-6  # the coarsest the paper run may be
    assert n_params * tolerance_for(n_params) <= 0.002 + 1e-15 or tolerance_for(n_params) == 1e-6
