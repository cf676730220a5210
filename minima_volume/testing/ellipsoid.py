"""An ellipsoid as a potential, with its exact Gaussian mass."""

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from minima_volume.estimators.radial import Floats
from minima_volume.sampling.mass import MassMatrix

MOST_FREQUENCIES = 2**22  # of the exact mass's Fourier sum; few axes decay slowly


class Ellipsoid:
    """L = ½ Σ hᵢ uᵢ² with curvatures h (n,) > 0: the body {L ≤ τ} whose Gaussian mass is known."""

    def __init__(self, curvatures: Floats) -> None:
        self.curvatures = np.asarray(curvatures, dtype=np.float64)
        self._h = torch.as_tensor(self.curvatures, dtype=torch.float32)

    @property
    def n_params(self) -> int:
        """Number of axes."""
        return len(self.curvatures)

    def values(self, points: Tensor) -> Tensor:
        """½ Σ hᵢ uᵢ² at points (k, n) -> (k,), float64."""
        return 0.5 * (points * points * self._h).sum(dim=1, dtype=torch.float64)

    def values_and_gradients(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """L (k,) and h∘u (k, n)."""
        gradients = points * self._h
        return 0.5 * (points * gradients).sum(dim=1, dtype=torch.float64), gradients

    def mean_curvature(self, points: Tensor, *, rank: int, draws: torch.Generator) -> MassMatrix:
        """I + diag(h), everywhere the same."""
        return MassMatrix(self._h)

    def log_mass(self, sigma: float, threshold: float) -> float:
        """ln P(½ Σ hᵢ σ² zᵢ² ≤ τ), z ~ N(0, I), in nats.

        With a = hσ², tilting by exp(−tQ), Q = ½ Σ aᵢ zᵢ², gives axes aᵢ/(1 + t·aᵢ) and, X the tilted Q,

            ln P = −½ Σ ln(1 + t·aᵢ) + ln E[1{X ≤ τ} exp(tX)],

        exact for any t > 0. At the t with E[X] = τ, the last term is ln of (1/2π) ∫ φ(s) exp((t − is)τ)/(t − is) ds with φ
        the characteristic function of X (Fourier inversion), summed by the trapezoid rule: what is left is a smooth
        integral of order 1/sd(X), however far out in the tail τ lies. Source: Imhof 1961 for t = 0; Lugannani & Rice 1980.
        """
        a = self.curvatures * sigma**2
        # The pole at s = −it must stay on one side: above the mean of Q a tilt too small to cancel digits serves.
        least = 1 / max(float(np.sqrt((a**2).sum() / 2)), threshold)

        def excess(tilt: float) -> float:
            return float((a / (1 + tilt * a)).sum() / 2 - threshold)

        t = float(brentq(excess, least, len(a) / threshold)) if excess(least) > 0 else least
        b = a / (1 + t * a)
        # A period much longer than what lies between the tail's decay lengths and the spread leaves no alias, and φ is
        # followed until it has fallen below rounding.
        period = max(40 / t, 40 * float(b.max()), 14 * float(np.sqrt((b**2).sum() / 2)), threshold)
        end = 1 / float(b.max())
        while 0.25 * np.log1p((end * b) ** 2).sum() < 36 and end * period < MOST_FREQUENCIES:
            end *= 1.25
        integral = 0.0
        for s in np.array_split(np.arange(0, end, 2 * np.pi / period), 1 + int(end * period * len(a) / 2**22)):
            phase = -0.5 * np.log1p(-1j * np.outer(s, b)).sum(axis=1) - 1j * s * threshold
            terms = (np.exp(phase) / (t - 1j * s)).real * np.where(s == 0, 1, 2)
            integral += float(terms.sum()) / period
        return min(0.0, float(-0.5 * np.log1p(t * a).sum() + t * threshold + np.log(integral)))
