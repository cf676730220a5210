"""What float32 rounds off a mean loss, made good in float64 on the samples that it hurts.

A mean loss near a threshold is made by few samples: the network knows most of them so well that their losses, and what
rounding does to them, are nothing. So float64 evaluates the hardest samples only, and goes on down the ranking until what
it has seen of the rounding says that the rest cannot matter:

    δ̂ · √(Σ_rest s²) / Σ_all loss,   δ̂² = mean over those seen of ((loss64 − loss32) / s)²,

where s is the slope of a sample's loss in its margin and δ̂ the rounding of a margin, independent from sample to sample.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from minima_volume.networks.losses import sensitivity
from minima_volume.networks.minimum import Minimum, Samples
from minima_volume.networks.precision import copy_model, device_for

# Rounding of margins before any is seen, in units of float32's ε times the largest margin: up to one on trained networks.
SAFELY = 3.0
# What float32 may be expected to round off before float64 looks, and what samples that it then does not see may still do:
# standard deviations, in tolerances.
SEEN, UNSEEN = 2.5, 0.5
# Samples of the first look; every further look doubles what was seen, up to CHUNK samples at a time.
FIRST, CHUNK = 256, 4096
# A loss as flat as this shows no rounding.
FLAT = 1e-7


def expected(losses: Tensor) -> Tensor:
    """What float32 rounds off a margin, guessed from losses (…, N): −ln of the smallest loss and the largest are margins."""
    margins = torch.maximum(-losses.amin(dim=-1).clamp(1e-300, math.exp(-1)).log(), losses.amax(dim=-1))
    return SAFELY * torch.finfo(torch.float32).eps * margins


class Float64Losses:
    """Float64 losses of chosen samples at any point of the rays of any minimum."""

    def __init__(self, model: nn.Module, samples: Samples) -> None:
        self.device = device_for(torch.float64, samples.inputs.device)
        self.model, self.samples = copy_model(model, self.device, torch.float64), samples.to(self.device)

    def at(self, minimum: Minimum, direction: Tensor, c: float) -> Callable[[Tensor], Tensor]:
        """The network at θ* + c·(s∘g): chosen samples (k,) -> their losses (k,)."""
        here = minimum.to(self.device, torch.float64)
        parameters = here.moved(c * direction.to(self.device, torch.float64))

        def losses(chosen: Tensor) -> Tensor:
            outputs: Tensor = functional_call(self.model, parameters, (self.samples.inputs[chosen].double(),))
            return self.samples.criterion(outputs[None], self.samples.targets[chosen])[0]

        return losses

    @torch.no_grad()
    def missing(self, minimum: Minimum, direction: Tensor, c: float, losses: Tensor, tolerance: float) -> float:
        """Σ (loss64 − loss32) over all samples at a point, the losses (N,) of float32 given.

        `tolerance`: of the sum. Nothing is looked at where less than SEEN times that is expected to be missing.
        """
        slopes = sensitivity(self.samples.criterion, losses)
        squares, rounding, seen = slopes.square(), float(expected(losses)), 0
        left, found, misfit, ranked = float(squares.sum()), 0.0, 0.0, torch.empty(0, dtype=torch.long)
        if rounding * left**0.5 <= SEEN * tolerance:
            return 0.0
        exact = self.at(minimum, direction, c)
        while seen < len(losses) and rounding * max(left, 0.0) ** 0.5 > UNSEEN * tolerance:
            if seen == len(ranked):
                ranked = losses.topk(min(len(losses), max(FIRST, 2 * seen))).indices
            chosen = ranked[seen : seen + CHUNK]
            gaps = exact(chosen) - losses[chosen]
            seen += len(chosen)
            found += float(gaps.sum())
            misfit += float((gaps / slopes[chosen].clamp_min(FLAT)).square().sum())
            left -= float(squares[chosen].sum())
            rounding = (misfit / seen) ** 0.5
        return found
