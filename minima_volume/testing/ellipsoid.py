"""An ellipsoid as a potential, with its exact Gaussian mass."""

import math

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from minima_volume.estimators.radial import Floats
from minima_volume.sampling.mass import MassMatrix

MAX_FREQUENCIES = 2**22  # of the Fourier sum of the exact mass, which decays slowly if there are few axes


class Ellipsoid:
    """The loss surface L = ½ Σ hᵢ uᵢ², whose basins {L ≤ τ} have a known Gaussian mass.

    It is a potential for samplers; see `minima_volume.sampling.potential.Potential`.

    Args:
        curvatures: h (n,) > 0.
    """

    def __init__(self, curvatures: Floats) -> None:
        self.curvatures = np.asarray(curvatures, dtype=np.float64)
        self._h = torch.as_tensor(self.curvatures, dtype=torch.float32)

    @property
    def n_params(self) -> int:
        """Number n of axes."""
        return len(self.curvatures)

    def values(self, points: Tensor, ceiling: float = math.inf) -> Tensor:
        """Return L (k,) at points (k, n), in float64; a ceiling saves nothing here."""
        return 0.5 * (points * points * self._h).sum(dim=1, dtype=torch.float64)

    def values_and_gradients(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return L (k,) in float64 and ∇L = h∘u (k, n)."""
        gradients = points * self._h
        return 0.5 * (points * gradients).sum(dim=1, dtype=torch.float64), gradients

    def mean_curvature(self, points: Tensor, *, rank: int, draws: torch.Generator) -> MassMatrix:
        """Return I + diag(h), which does not depend on the points."""
        return MassMatrix(self._h)

    def log_mass(self, sigma: float, threshold: float) -> float:
        """Return the exact Gaussian mass ln P(L(σz) ≤ τ), z ~ N(0, I), in nats.

        Let a = hσ² and Q = ½ Σ aᵢ zᵢ². Tilting the Gaussian by exp(−tQ) changes the axes to aᵢ/(1 + t·aᵢ). With X the
        tilted Q and any t > 0, exactly,

            ln P = −½ Σ ln(1 + t·aᵢ) + ln E[1{X ≤ τ} exp(tX)].

        By Fourier inversion the expectation is (1/2π) ∫ φ(s) exp((t − is)τ)/(t − is) ds, with φ the characteristic
        function of X. At the t with E[X] = τ this is a smooth integral of order 1/sd(X), even if τ is far in the tail.
        The trapezoid rule sums it. Source: Imhof 1961 for t = 0; Lugannani & Rice 1980.

        Args:
            sigma: Width σ of the Gaussian.
            threshold: τ > 0.

        Example:
            Two equal axes: the squared distance from the centre has an exponential distribution.

            >>> import numpy as np
            >>> exact = np.log(1 - np.exp(-0.1 / 0.3**2))
            >>> bool(abs(Ellipsoid(np.ones(2)).log_mass(0.3, 0.1) - exact) < 1e-5)
            True
        """
        a = self.curvatures * sigma**2
        # The contour must not cross the pole at s = −it. If τ is above the mean of Q, a small tilt keeps it on one side.
        least = 1 / max(float(np.sqrt((a**2).sum() / 2)), threshold)

        def excess(tilt: float) -> float:
            return float((a / (1 + tilt * a)).sum() / 2 - threshold)

        t = float(brentq(excess, least, len(a) / threshold)) if excess(least) > 0 else least
        b = a / (1 + t * a)
        # A period much longer than the decay lengths and the spread of X avoids aliasing. The sum ends where φ is below
        # rounding.
        period = max(40 / t, 40 * float(b.max()), 14 * float(np.sqrt((b**2).sum() / 2)), threshold)
        end = 1 / float(b.max())
        while 0.25 * np.log1p((end * b) ** 2).sum() < 36 and end * period < MAX_FREQUENCIES:
            end *= 1.25
        integral = 0.0
        for s in np.array_split(np.arange(0, end, 2 * np.pi / period), 1 + int(end * period * len(a) / 2**22)):
            phase = -0.5 * np.log1p(-1j * np.outer(s, b)).sum(axis=1) - 1j * s * threshold
            terms = (np.exp(phase) / (t - 1j * s)).real * np.where(s == 0, 1, 2)
            integral += float(terms.sum()) / period
        return min(0.0, float(-0.5 * np.log1p(t * a).sum() + t * threshold + np.log(integral)))
