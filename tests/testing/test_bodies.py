"""Bodies of known volume: closed forms against other computations, and estimates with their verdicts on them."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from minima_volume import measure_volume
from minima_volume.estimators.radial import log_ball_volume
from minima_volume.rays.preconditioner import diagonal_preconditioner
from minima_volume.testing import bodies
from minima_volume.testing.bodies import Body

SMALL: list[Callable[[], Body]] = [
    lambda: bodies.ball(3),
    lambda: bodies.ellipsoid(3, 0.5),
    lambda: bodies.cube(3),
    lambda: bodies.cross_polytope(3),
    lambda: bodies.two_wells(4),
    lambda: bodies.linear_model(3, n_samples=12),
]
# Bodies that 500 directions can measure, one that they measure with luck, and bodies that they cannot measure.
EASY: list[Callable[[], Body]] = [
    lambda: bodies.ball(200),
    lambda: bodies.ellipsoid(10, 0.5),
    lambda: bodies.ellipsoid(20, 0.5),
    lambda: bodies.cube(8),
    lambda: bodies.cross_polytope(15),
    lambda: bodies.two_wells(8),
    lambda: bodies.linear_model(10),
]
BORDERLINE: list[Callable[[], Body]] = [lambda: bodies.ellipsoid(8, 1.0)]
HARD: list[Callable[[], Body]] = [
    lambda: bodies.ellipsoid(200, 0.5),
    lambda: bodies.ellipsoid(100, 3.0),
    lambda: bodies.cube(100),
    lambda: bodies.cross_polytope(100),
    lambda: bodies.two_wells(100),
    lambda: bodies.linear_model(60),
]


def heights(body: Body, points: torch.Tensor) -> torch.Tensor:
    """Return the loss of a body at points (k, n) from its own loss function, without the engine."""
    model = body.model
    if isinstance(model, bodies.Position):
        return body.loss_fn(points, torch.zeros(len(points)))
    inputs, targets = (part.double() for part in body.data)
    weight = next(model.parameters()).detach().double()
    moved = weight + weight.norm() * points  # one filter
    return ((inputs @ moved.T - targets) ** 2).mean(dim=0)


@pytest.mark.parametrize("make", SMALL, ids=lambda make: make().name)
def test_closed_forms_against_points_in_a_box(make: Callable[[], Body]) -> None:
    body = make()
    draw = torch.Generator().manual_seed(0)
    box, count = 1.2, 200_000
    points = box * (2 * torch.rand(count, body.n_params, generator=draw, dtype=torch.float64) - 1)
    inside = heights(body, points) <= body.threshold
    assert not inside[(points.abs() > 0.95 * box).any(dim=1)].any()  # the box holds the body
    share = float(inside.double().mean())
    exact = body.log_volume + log_ball_volume(body.n_params) - body.n_params * math.log(2 * box)
    # Four standard errors of the share.
    assert math.log(share) == pytest.approx(exact, abs=4 * math.sqrt((1 - share) / share / count))


@pytest.mark.parametrize("make", [make for make in SMALL if make().log_gamma], ids=lambda make: make().name)
@pytest.mark.parametrize("sigma", [0.1, 0.3])
def test_gaussian_masses_against_draws(make: Callable[[], Body], sigma: float) -> None:
    body = make()
    assert body.log_gamma is not None
    draw = torch.Generator().manual_seed(1)
    points = sigma * torch.randn(200_000, body.n_params, generator=draw, dtype=torch.float64)
    share = float((heights(body, points) <= body.threshold).double().mean())
    # Four standard errors of the share.
    assert body.log_gamma(sigma) == pytest.approx(math.log(share), abs=4 * math.sqrt((1 - share) / share / 200_000))


def test_two_wells_in_polar_coordinates() -> None:
    # n = 2: the area ∫ ½ r(φ)² dφ with r from bisection of the loss itself.
    body = bodies.two_wells(2)

    def square(angle: float) -> float:
        low, high = 0.0, 5.0
        for _ in range(60):
            middle = 0.5 * (low + high)
            point = middle * torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=torch.float64)
            low, high = (middle, high) if float(heights(body, point)) <= body.threshold else (low, middle)
        return 0.5 * low**2

    area = 4 * quad(square, 0, math.pi / 2, epsabs=1e-9)[0]
    # The step in the logit of t and the quadrature are both accurate to 10⁻⁷.
    assert math.log(area) == pytest.approx(body.log_volume + log_ball_volume(2), abs=1e-6)


def test_two_wells_need_two_equal_halves() -> None:
    with pytest.raises(ValueError, match="even"):
        bodies.two_wells(5)


def test_linear_model_needs_more_samples_than_parameters() -> None:
    with pytest.raises(ValueError, match="samples"):
        bodies.linear_model(10, n_samples=10)


def test_balls_are_exact_at_any_size() -> None:
    for n in (5, 10_000):
        body = bodies.ball(n)
        found = measure_volume(body.model, body.loss_fn, body.data, threshold=body.threshold, n_directions=100)
        # All radii are equal, so the only error is the solver's 0.002 nats.
        assert found.verdict.word == "converged" and found.log_volume == pytest.approx(body.log_volume, abs=0.003)


@pytest.mark.parametrize("n", [1000, 10_000])
def test_naive_rays_fail_on_ellipsoids_and_preconditioned_ones_do_not(n: int) -> None:
    body = bodies.ellipsoid(n, 1.5)
    assert body.curvatures is not None
    perfect = diagonal_preconditioner(torch.from_numpy(body.curvatures), body.threshold)

    def measured(count: int, **how: Any) -> tuple[float, str]:
        found = measure_volume(body.model, body.loss_fn, body.data, threshold=body.threshold, n_directions=count, **how)
        return found.log_volume - body.log_volume, found.verdict.word

    error, word = measured(60, preconditioner=perfect)
    assert word == "converged" and abs(error) < 0.005  # twice the solver's tolerance
    error, word = measured(60)
    assert word == "max-dominated" and error < -100


def test_cross_polytope_from_its_simplices() -> None:
    # 2ⁿ simplices of volume sⁿ/n!, one in each orthant.
    body, n = bodies.cross_polytope(4), 4
    reach = math.sqrt(body.threshold)
    assert body.log_volume + log_ball_volume(n) == pytest.approx(math.log(2**n * reach**n / 24), abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("make", [*EASY, *BORDERLINE, *HARD], ids=lambda make: make().name)
def test_verdicts_over_seeds(make: Callable[[], Body]) -> None:
    # 100 seeded runs of 500 directions. On easy bodies at least half are "converged", on the borderline one some are, and
    # 95 % of these are within three standard errors of the exact volume. On hard bodies at most 1 % are "converged".
    body, scores, words = make(), [], []
    for seed in range(100):
        found = measure_volume(
            body.model, body.loss_fn, body.data, threshold=body.threshold, n_directions=500, seed=seed, sigmas=[0.1]
        )
        # Equal radii have no spread; then the tolerance of the solver counts.
        scores.append(abs(found.log_volume - body.log_volume) / max(found.log_volume_se, 0.001))
        words.append(found.verdict.word)
    converged = np.array(words) == "converged"
    if make in HARD:
        assert converged.mean() <= 0.01
    else:
        assert converged.mean() >= (0.5 if make in EASY else 0.02)
        assert (np.array(scores)[converged] <= 3).mean() >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [lambda: bodies.ellipsoid(100, 1.5), lambda: bodies.cube(30)], ids=["ellipsoid", "cube"]
)
def test_coverage_of_the_profile(make: Callable[[], Body]) -> None:
    # The same for ln γ, over the trusted points of all runs.
    body, inside = make(), []
    assert body.log_gamma is not None
    sigmas = [0.05, 0.1, 0.14, 0.2, 0.4]
    exact = {sigma: body.log_gamma(sigma) for sigma in sigmas}
    for seed in range(100):
        found = measure_volume(
            body.model, body.loss_fn, body.data, threshold=body.threshold, n_directions=500, seed=seed, sigmas=sigmas
        )
        assert found.profile is not None
        trusted = [point for point in found.profile.points if point.trusted]
        assert not found.profile.points[-1].trusted
        # 10⁻⁶ is the error of the solver where the probability is close to 1 and the standard error vanishes.
        inside += [abs(point.log_gamma - exact[point.sigma]) <= 3 * point.log_gamma_se + 1e-6 for point in trusted]
    assert len(inside) >= 200 and np.mean(inside) >= 0.95
