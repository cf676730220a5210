"""Correction of float32 rounding in a mean loss, from float64 losses of the samples that contribute to it.

Near a threshold a few hard samples contribute almost all of the mean loss. The others have losses close to zero, and so
contribute almost no rounding error. So float64 evaluates the samples with the largest losses, and continues down the
ranking until the rounding that it has seen shows that the rest cannot matter:

    δ̂ · √(Σ_rest s²) / Σ_all loss,   δ̂² = mean over the samples seen of ((loss64 − loss32) / s)²,

where s is the slope of a sample's loss in its margin, and δ̂ the rounding error of a margin, independent between samples.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from minima_volume.networks.losses import sensitivity
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.precision import device_for
from minima_volume.networks.private_copy import copy_model

# (ray number, coefficient, float32 losses (N,), tolerance of their sum) -> what float32 rounded off the sum
Correction = Callable[[int, float, Tensor, float], float]
# Expected rounding of margins before any is seen, in float32's ε times the largest margin: trained networks show up to 1.
MARGIN_ERROR_ULPS = 3.0
# Standard deviations, in tolerances: losses are evaluated again in float64 if the expected rounding exceeds the first, until
# that of the samples not evaluated yet is below the second.
LOOK_ABOVE_SD, STOP_BELOW_SD = 2.5, 0.5
# Samples of the first look. Each further look doubles what was seen, up to BATCH samples at a time.
FIRST_LOOK, BATCH = 256, 4096
# A loss as flat as this in its margin shows no rounding.
FLAT = 1e-7


def expected_margin_error(losses: Tensor) -> Tensor:
    """Expected float32 rounding of a margin, from losses (…, N).

    Two margins are known from them: −ln of the smallest loss, and the largest loss.
    """
    margins = torch.maximum(-losses.amin(dim=-1).clamp(1e-300, math.exp(-1)).log(), losses.amax(dim=-1))
    return MARGIN_ERROR_ULPS * torch.finfo(torch.float32).eps * margins


class Float64Losses:
    """Float64 losses of chosen samples at any point of the rays of any minimum.

    Attributes:
        sample_evaluations: How many losses were evaluated so far.
    """

    def __init__(self, model: nn.Module, samples: Samples) -> None:
        self.device = device_for(torch.float64, samples.inputs.device)
        self.model, self.samples = copy_model(model, self.device, torch.float64), samples.to(self.device)
        self.sample_evaluations = 0

    def at(self, minimum: Minimum, direction: Tensor, c: float) -> Callable[[Tensor], Tensor]:
        """A function of chosen samples (k,) that returns their losses (k,) at θ* + c·(s∘g)."""
        here = minimum.to(self.device, torch.float64)
        parameters = here.moved(c * direction.to(self.device, torch.float64))

        def losses(chosen: Tensor) -> Tensor:
            self.sample_evaluations += len(chosen)
            outputs: Tensor = functional_call(self.model, parameters, (self.samples.inputs[chosen].double(),))
            return self.samples.criterion(outputs[None], self.samples.targets[chosen])[0]

        return losses

    def along(self, minimum: Minimum, block: Tensor) -> Correction:
        """The correction of sums of losses along a block of directions (rays, n) from one minimum."""
        return lambda ray, c, losses, tolerance: self.correction(minimum, block[ray], c, losses, tolerance)

    @torch.no_grad()
    def correction(self, minimum: Minimum, direction: Tensor, c: float, losses: Tensor, tolerance: float) -> float:
        """Estimate Σ (loss64 − loss32) over all samples at one point.

        Args:
            minimum: Where the ray starts.
            direction: The ray's direction, (n,).
            c: Coefficient of the point.
            losses: Float32 losses there, (N,).
            tolerance: Of the sum. Nothing is evaluated if the expected rounding is below LOOK_ABOVE_SD times this.
        """
        slopes = sensitivity(self.samples.criterion, losses)
        squares, rounding, seen = slopes.square(), float(expected_margin_error(losses)), 0
        left, found, misfit, ranked = float(squares.sum()), 0.0, 0.0, torch.empty(0, dtype=torch.long)
        if rounding * left**0.5 <= LOOK_ABOVE_SD * tolerance:
            return 0.0
        exact = self.at(minimum, direction, c)
        while seen < len(losses) and rounding * max(left, 0.0) ** 0.5 > STOP_BELOW_SD * tolerance:
            if seen == len(ranked):
                ranked = losses.topk(min(len(losses), max(FIRST_LOOK, 2 * seen))).indices
            chosen = ranked[seen : seen + BATCH]
            gaps = exact(chosen) - losses[chosen]
            seen += len(chosen)
            found += float(gaps.sum())
            misfit += float((gaps / slopes[chosen].clamp_min(FLAT)).square().sum())
            left -= float(squares[chosen].sum())
            rounding = (misfit / seen) ** 0.5
        return found
