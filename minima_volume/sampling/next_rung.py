"""The next rung (σ, β) of a tethered ladder, chosen from draws on the current one."""

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from minima_volume.estimators.radial import Floats
from minima_volume.sampling.hmc import Chains

MIN_LOG_SIGMA_STEP, MAX_LOG_SIGMA_STEP = 0.004, 0.4  # between neighbouring rungs
CORRECTION_PER_RUNG = 0.2  # share of the distance between ⟨L⟩ and τ
PLANNING_DRAWS = 160  # from which the next rung is chosen
MAX_BETA = 1e7  # in units of 1/τ


def next_rung(
    chains: Chains, settled: list[Tensor], threshold: float, goal: float, stride: float
) -> tuple[float, float]:
    """Choose (σ′, β′) of the next rung: the longest step of σ whose log weights −β′L′ + βL do not spread too far.

    β′ moves the reweighted mean of L′ closer to the threshold. It is 0 if the mean is below the threshold anyway.

    Args:
        chains: Chains on the current rung (σ, β).
        settled: Positions (chains, n) on the current rung, from which up to 160 are used.
        threshold: τ.
        goal: Largest σ′.
        stride: Largest standard deviation of the log weights, in nats.

    Returns:
        σ′ and β′.
    """
    points = torch.cat(settled[:: max(1, len(settled) * len(chains.points) // PLANNING_DRAWS)])
    now = np.asarray(chains.potential.values(chains.sigma * points))
    # A full correction on every rung would follow the noise of the planning draws, and β would oscillate.
    aim = threshold if chains.beta == 0 else threshold + (1 - CORRECTION_PER_RUNG) * (float(now.mean()) - threshold)
    old = chains.beta * now
    step = MAX_LOG_SIGMA_STEP
    while True:
        sigma = min(goal, chains.sigma * float(np.exp(step)))
        losses = np.asarray(chains.potential.values(sigma * points))
        beta = _beta_for_mean(losses, old, aim)
        spread = float(np.std(beta * losses - old))
        if spread <= stride or step < MIN_LOG_SIGMA_STEP:
            return sigma, beta
        step = min(step, float(np.log(sigma / chains.sigma))) * min(0.8, max(0.4, stride / spread))


def _beta_for_mean(losses: Floats, old: Floats, mean: float) -> float:
    """Return the β ≥ 0 at which draws weighted by exp(−β·losses + old) have the given mean loss, or 0 if it is lower."""

    def excess(beta: float) -> float:
        weights = np.exp(-beta * (losses - losses.min()) + old - old.max())
        return float(weights @ losses / weights.sum()) - mean

    if excess(0.0) <= 0:
        return 0.0
    high = 1 / mean
    while excess(high) > 0 and high < MAX_BETA / mean:
        high *= 2
    return float(brentq(excess, 0.0, high)) if excess(high) < 0 else high
