"""The correction of float32 rounding from few samples against float64 on all of them."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from minima_volume.crossings.rounding import (
    FIRST_LOOK,
    LOOK_ABOVE_SD,
    STOP_BELOW_SD,
    Float64Losses,
    expected_margin_error,
)
from minima_volume.networks.directions import draw_directions
from minima_volume.networks.losses import CRITERIA, Criterion, cross_entropy, loss_gradient, sensitivity
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.parameters import layout_of, parameters_of
from minima_volume.rays.bundle import RayBundle
from minima_volume.training.models import mlp

N = 4000


MODEL = nn.Linear(1, 1)
MINIMUM = Minimum.of(parameters_of(MODEL), layout_of(parameters_of(MODEL)))


class Known(Float64Losses):
    """Losses that are known exactly, and how many of them were asked for."""

    def __init__(self, losses: Tensor, criterion: Criterion = cross_entropy) -> None:
        samples = Samples(torch.zeros(len(losses), 1), torch.zeros(len(losses)), criterion)
        super().__init__(MODEL, samples)
        self.known, self.seen = losses, 0

    def at(self, minimum: Minimum, direction: Tensor, c: float) -> Callable[[Tensor], Tensor]:
        def losses(chosen: Tensor) -> Tensor:
            self.seen += len(chosen)
            return self.known[chosen]

        return losses


def asked(exact: Float64Losses, rounded: Tensor, tolerated: float) -> float:
    return exact.correction(MINIMUM, torch.zeros(2), 0.1, rounded, tolerated / STOP_BELOW_SD)


def heavy_tailed(seed: int, noise: float) -> tuple[Tensor, Tensor]:
    """Losses of a network that knows most samples well, and the same with rounded margins."""
    generator = torch.Generator().manual_seed(seed)
    exact = torch.exp(-6 + 3 * torch.randn(N, generator=generator, dtype=torch.float64)).clamp_max(5)
    margins = noise * torch.randn(N, generator=generator, dtype=torch.float64)
    return exact, exact + sensitivity(cross_entropy, exact) * margins


@pytest.mark.parametrize("share", [0.01, 0.03, 0.1])
def test_the_error_of_samples_that_are_not_seen_is_within_the_tolerance(share: float) -> None:
    off, seen = [], []
    for seed in range(40):
        exact, rounded = heavy_tailed(seed, 1e-5)
        tolerated = share * 1e-5 * float(sensitivity(cross_entropy, exact).square().sum().sqrt())
        known = Known(exact)
        off.append((asked(known, rounded, tolerated) - float((exact - rounded).sum())) / tolerated)
        seen.append(known.seen)
    # A standard deviation of at most 1 over 40 draws stays below 1.3 with probability 0.997.
    assert math.sqrt(sum(x * x for x in off) / len(off)) < 1.3
    assert max(seen) < N


def test_nothing_is_evaluated_where_rounding_cannot_matter() -> None:
    exact, rounded = heavy_tailed(0, 1e-5)
    known = Known(exact)
    missing = float(expected_margin_error(rounded)) * float(sensitivity(cross_entropy, rounded).square().sum().sqrt())
    assert asked(known, rounded, 1.01 * STOP_BELOW_SD * missing / LOOK_ABOVE_SD) == 0.0 and known.seen == 0
    assert asked(known, rounded, 0.99 * STOP_BELOW_SD * missing / LOOK_ABOVE_SD) != 0.0 and known.seen > 0


def test_more_rounding_than_expected_is_noticed() -> None:
    exact, rounded = heavy_tailed(0, 1e-2)
    known = Known(exact)
    tolerated = 1e-5
    assert asked(known, rounded, tolerated) == pytest.approx(float((exact - rounded).sum()), abs=3 * tolerated)
    assert known.seen > 4 * FIRST_LOOK


def test_an_unknown_criterion_evaluates_every_sample() -> None:
    """No sample is taken for easy, so only the number of samples can make rounding small enough."""
    exact, rounded = heavy_tailed(0, 1e-5)
    known = Known(exact, lambda outputs, targets: (outputs.squeeze(-1) - targets).abs())
    assert asked(known, rounded, 1e-9) == pytest.approx(float((exact - rounded).sum()), abs=1e-12) and known.seen == N


def test_a_network_at_a_point_of_its_ray() -> None:
    torch.manual_seed(0)
    model, inputs, targets = mlp(20, 30, 5), torch.randn(700, 20), torch.randint(5, (700,))
    minimum = Minimum.of(parameters_of(model), layout_of(parameters_of(model)))
    samples, block = Samples(inputs, targets, cross_entropy), draw_directions(0, range(2), minimum.layout.n_params)
    at = torch.tensor([1]), torch.tensor([0.3], dtype=torch.float64)
    float32, float64 = (RayBundle(model, minimum.layout, samples, block, kind).rays(minimum).losses(*at, 700)[0]
                        for kind in (torch.float32, torch.float64))  # fmt: skip
    assert float32.dtype == torch.float64 and not torch.equal(float32, float64)
    found = Float64Losses(model, samples).correction(minimum, block[1], 0.3, float32, 0.0)
    assert found == pytest.approx(float((float64 - float32).sum()), rel=1e-6, abs=1e-10)


@pytest.mark.parametrize("loss", list(CRITERIA))
def test_sensitivity_follows_the_derivative_within_a_factor_of_two(loss: str) -> None:
    generator = torch.Generator().manual_seed(1)
    classes = 1 if loss == "binary_cross_entropy" else 4
    outputs = 4 * torch.randn(500, classes, generator=generator, dtype=torch.float64)
    targets = torch.randint(2, (500,), generator=generator)
    steepest = loss_gradient(CRITERIA[loss], outputs, targets).norm(dim=1)
    ratio = sensitivity(CRITERIA[loss], CRITERIA[loss](outputs, targets)) / steepest
    assert ratio.min() > 0.5 and ratio.max() < 2.0
