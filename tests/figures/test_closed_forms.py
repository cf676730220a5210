"""Closed forms of the toy diagrams against quadrature, random sampling and search."""

import numpy as np
import pytest
from numpy.polynomial import Polynomial
from scipy.integrate import quad

from toy_models import closed_forms, grid_rounding, limit_points, volume_hypotheses, volume_vs_data

ARM, WIDTH, CENTER = 3.0, 0.5, (1.1, 0.25)


def test_roughness() -> None:
    curve = Polynomial([1.0, -2.0, 0.5, 3.0, -0.7])
    expected, _ = quad(lambda x: curve.deriv(2)(x) ** 2, -1.0, 2.0)
    assert closed_forms.roughness(curve, -1.0, 2.0) == pytest.approx(expected, rel=1e-12)
    assert closed_forms.roughness(Polynomial([1.0, 4.0]), -1.0, 2.0) == 0


def inside_l(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (np.minimum(x, y) >= 0) & (np.maximum(x, y) <= ARM) & (np.minimum(x, y) <= WIDTH)


def test_l_areas_by_random_points() -> None:
    n_points = 20_000
    points = np.random.default_rng(0).uniform(0, ARM, (n_points, 2))
    along = np.linspace(0, 1, 200)[:, None]
    x, y = (CENTER[axis] + along * (points[:, axis] - CENTER[axis]) for axis in (0, 1))
    for hits, area in (
        (inside_l(*points.T), closed_forms.l_area(ARM, WIDTH)),
        (inside_l(x, y).all(axis=0), closed_forms.l_star_area(ARM, WIDTH, CENTER)),
    ):
        error = ARM**2 * hits.std() / np.sqrt(n_points)
        # 4 standard errors, and points seen past the corner between two of the 200 steps
        assert ARM**2 * hits.mean() == pytest.approx(area, abs=4 * error + 2e-3)


def test_l_radii_integrate_to_the_star_area() -> None:
    angles = (np.arange(400_000) + 0.5) * 2 * np.pi / 400_000
    radii = closed_forms.l_radii(angles, ARM, WIDTH, CENTER)
    # ½∫r² by midpoints; the radius jumps once, at the inner corner, which costs at most one cell
    assert 0.5 * np.mean(radii**2) * 2 * np.pi == pytest.approx(closed_forms.l_star_area(ARM, WIDTH, CENTER), rel=1e-4)


def test_l_radii_along_the_axes() -> None:
    angles = np.array([0.0, np.pi / 2, np.pi, -np.pi / 2])
    expected = [ARM - CENTER[0], WIDTH - CENTER[1], CENTER[0], CENTER[1]]
    assert closed_forms.l_radii(angles, ARM, WIDTH, CENTER) == pytest.approx(expected)


@pytest.mark.parametrize("center", [(0.2, 0.2), (1.1, 0.7), (0.51, 0.01)])
def test_l_star_area_refuses_other_centers(center: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="Expected a centre in the lying bar"):
        closed_forms.l_star_area(ARM, WIDTH, center)


def test_sampled_area_has_an_honest_error() -> None:
    truth = closed_forms.l_star_area(ARM, WIDTH, CENTER)
    angles = np.random.default_rng(1).uniform(0, 2 * np.pi, (300, 400))
    estimates = [closed_forms.sampled_area(closed_forms.l_radii(row, ARM, WIDTH, CENTER)) for row in angles]
    scores = np.array([(area - truth) / error for area, error in estimates])
    # mean 0 and spread 1, each within 4 of its own errors 1/√300 and 1/√600; a little more for the skew of r²
    assert abs(scores.mean()) < 0.3 and scores.std() == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("slack", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("scale", [0.3, 2.0])
def test_product_star_area_by_quadrature(scale: float, slack: float) -> None:
    _, hits = closed_forms.product_horizon(scale, slack)
    kinks = np.sort(np.arctan2(hits[1] - 1 / scale, hits[0] - scale))

    def sector(angle: float) -> float:
        return float(closed_forms.product_radii(np.array([angle]), scale, slack)[0] ** 2 / 2)

    # the radius jumps at the tangents, so they have to be ends of the integrals
    parts = [
        quad(sector, low, high, limit=200) for low, high in ((kinks[0], kinks[1]), (kinks[1], kinks[0] + 2 * np.pi))
    ]
    area, error = (sum(column) for column in zip(*parts, strict=True))
    assert area == pytest.approx(closed_forms.product_star_area(slack), abs=max(error, 1e-5))


def test_product_star_area_agrees_with_the_original_repository() -> None:
    assert closed_forms.product_star_area(0.2) == pytest.approx(0.67888, abs=5e-6)  # as printed there


def test_product_radii_end_at_the_first_edge() -> None:
    scale, slack = 2.0, 0.3
    angles = np.random.default_rng(2).uniform(0, 2 * np.pi, 500)
    radii = closed_forms.product_radii(angles, scale, slack)
    steps = radii * np.linspace(0, 1, 101)[:, None]
    error = np.abs((scale + steps * np.cos(angles)) * (1 / scale + steps * np.sin(angles)) - 1)
    assert error[-1] == pytest.approx(slack, rel=1e-9)
    assert (error[:-1] < slack).all()


def test_product_horizon_is_tangent_to_the_far_edge() -> None:
    scale, slack = 3.0, 0.5
    touch, hit = closed_forms.product_horizon(scale, slack)
    minimum = np.array([[scale], [1 / scale]])
    assert hit[0] * hit[1] == pytest.approx(1 - slack)
    slope = -touch[1] / touch[0]  # of the hyperbola w₁w₂ = const
    for point in (minimum, hit):
        assert (touch[1] - point[1]) / (touch[0] - point[0]) == pytest.approx(slope)


def test_cutoff_is_where_the_cumulative_mean_loss_passes() -> None:
    trained, new_loss, threshold = 1000, 0.145, 0.1
    losses = np.where(np.arange(10_000) < trained, 0.0, new_loss)
    means = losses.cumsum() / np.arange(1, 10_001)
    first_size = np.argmax(means > threshold) + 1
    assert 0 <= first_size - closed_forms.cutoff_size(trained, new_loss, threshold) <= 1  # sizes are whole numbers
    assert closed_forms.cutoff_size(trained, 0.1, threshold) == np.inf


def test_lost_log_volume_by_random_points() -> None:
    n_params, threshold, curvature = 3, 0.1, 2.0
    trained, size, new_loss = 1000.0, 1400.0, 0.2
    mean_loss = new_loss * (1 - trained / size)
    points = np.random.default_rng(3).uniform(-1, 1, (400_000, n_params)) * np.sqrt(2 * threshold / curvature)
    bowl = curvature / 2 * (points**2).sum(axis=1)
    full, left = (bowl <= threshold).sum(), (bowl + mean_loss <= threshold).sum()
    lost = closed_forms.lost_log_volume(np.array(size), trained, new_loss, threshold, n_params)
    assert np.log(left / full) == pytest.approx(lost, abs=4 / np.sqrt(left))  # 4 counting errors
    assert closed_forms.lost_log_volume(np.array([500.0, 2001.0]), trained, new_loss, threshold, n_params).tolist() == [
        0.0,
        -np.inf,
    ]


def test_rounded_index_by_search() -> None:
    grid = (np.arange(100) / 99) ** 2
    coefficients = np.random.default_rng(4).uniform(1e-4, 0.99, 500)
    expected = [np.flatnonzero(grid > coefficient)[0] for coefficient in coefficients]
    assert closed_forms.rounded_index(coefficients).tolist() == expected


def test_grid_step_is_the_difference_of_rounded_volumes() -> None:
    index = np.arange(9, 61)
    volumes = grid_rounding.log_volume((index / 99) ** 2)
    assert closed_forms.grid_step(index[:-1], grid_rounding.N_PARAMS) == pytest.approx(np.diff(volumes))


def test_published_volumes_lie_on_the_grid() -> None:
    levels = grid_rounding.log_volume((np.arange(1, 100) / 99) ** 2)
    for volumes in grid_rounding.PUBLISHED.values():
        distance = np.abs(np.subtract.outer(volumes, levels)).min(axis=1)
        # n·ln‖g‖ has a spread of √(n/2) = 343 nats; the largest of 500 lies within 3.5 of it, a step is 40 of it
        assert (distance < 3.5 * np.sqrt(grid_rounding.N_PARAMS / 2)).all()


def test_hypotheses_are_drawn_as_stated() -> None:
    at_own_size = np.array([np.abs(volume_hypotheses.RANGE - size).argmin() for size in volume_hypotheses.SIZES])
    top = volume_hypotheses.envelope_points()
    strong = volume_hypotheses.lines(top)[:, at_own_size]
    assert strong.argmax(axis=0).tolist() == [0, 1, 2, 3]
    assert (volume_hypotheses.SHORTFALL > 0).all() and (np.diff(volume_hypotheses.SLOPES) > 0).all()


def test_found_minimum_is_the_largest_at_its_own_size() -> None:
    sizes = np.geomspace(20, 1e5, 500)
    for trained, new_loss in zip(volume_vs_data.SIZES, volume_vs_data.NEW_LOSSES, strict=True):
        below = volume_vs_data.found_log_volume(sizes) - volume_vs_data.log_volume(sizes, trained, new_loss)
        assert (below > 0).all()
        assert volume_vs_data.log_volume(np.array(trained), trained, new_loss) == pytest.approx(
            volume_vs_data.found_log_volume(trained)
        )


def test_limit_rays_do_what_their_names_say() -> None:
    steps = np.linspace(0, limit_points.CAP, 20_000)
    crossings = {}
    for name, degrees in limit_points.RAYS.items():
        angle = np.deg2rad(degrees)
        above = limit_points.loss(steps * np.cos(angle), steps * np.sin(angle)) > limit_points.THRESHOLD
        crossings[name] = int((above[1:] != above[:-1]).sum())
    assert (crossings["1"], crossings["2"], crossings["3"]) == (1, 3, 0)
    inside, outside = limit_points.radii(np.deg2rad(limit_points.RAYS["4"] + np.array([-0.2, 0.2])))
    assert inside > 1.5 * outside
    assert limit_points.loss(*map(np.array, limit_points.SHALLOW)) > limit_points.THRESHOLD
