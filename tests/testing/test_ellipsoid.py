"""The exact Gaussian mass of ellipsoids against closed forms, quadrature and counting."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import chi2

from minima_volume.testing.ellipsoid import Ellipsoid
from tests.sampling.problems import spread_ellipsoid


@pytest.mark.parametrize("n", [4, 10, 100, 1000])
@pytest.mark.parametrize("reach", [0.1, 0.5, 1.0, 1.5])
def test_exact_mass_of_equal_axes_is_chi_squared(n: int, reach: float) -> None:
    # Rounding of sums over n terms; far above the mean ln P is close to −0 and only its absolute error is small.
    threshold = reach * n / 2
    exact = chi2.logcdf(2 * threshold, n)
    assert Ellipsoid(np.ones(n)).log_mass(1.0, threshold) == pytest.approx(exact, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("reach", [0.2, 1.0, 3.0])
def test_exact_mass_against_imhofs_integral(reach: float) -> None:
    h = np.exp(np.random.default_rng(0).standard_normal(12))
    threshold = reach * h.sum() / 2

    def integrand(s: float) -> float:
        phase = 0.5 * np.arctan(s * h).sum() - s * threshold
        return math.sin(phase) / (s * math.exp(0.25 * np.log1p((s * h) ** 2).sum()))

    mass = 0.5 - quad(integrand, 1e-12, np.inf, limit=500)[0] / math.pi
    assert Ellipsoid(h).log_mass(1.0, threshold) == pytest.approx(math.log(mass), abs=1e-6)  # quad's own error


def test_exact_mass_against_counting() -> None:
    body = spread_ellipsoid(30)
    z = np.random.default_rng(1).standard_normal((200_000, 30))
    threshold = 0.3 * body.curvatures.sum() / 2
    share = (0.5 * z**2 @ body.curvatures <= threshold).mean()
    error = math.sqrt((1 - share) / (share * len(z)))
    assert body.log_mass(1.0, threshold) == pytest.approx(math.log(share), abs=4 * error)
