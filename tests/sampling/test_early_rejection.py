"""Losses of points above a ceiling, which are left early: the decision is exact, and costs less."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from minima_volume.networks.losses import cross_entropy
from minima_volume.networks.minimum import Samples
from minima_volume.sampling.potential import NetworkPotential
from minima_volume.sampling.subset import SubsetSettings, subset_simulation
from tests.sampling.problems import own_predictions


def many_samples() -> NetworkPotential:
    """Return a network on enough samples for points to be left early."""
    return NetworkPotential(*own_predictions(6, 20, 2000, gain=40, criterion=cross_entropy), nonnegative=True)


def test_values_below_a_ceiling_are_exact_and_others_stay_above_it() -> None:
    potential = many_samples()
    points = 0.3 * torch.randn(50, potential.n_params, generator=torch.Generator().manual_seed(0))
    exact = potential.values(points)
    for share in (0.2, 0.5, 0.9):  # the order of the samples changes from call to call
        ceiling = float(exact.quantile(share))
        found = potential.values(points, ceiling)
        low = exact <= ceiling
        assert torch.allclose(found[low], exact[low], rtol=1e-12) and low.sum() == round(50 * share)
        assert (found[~low] > ceiling).all()
    wanted = potential.losses(points, potential.samples).mean(dim=0).argsort(descending=True)[:200]
    kept = potential.hardness.argsort(descending=True)[:200]
    # The last call saw points inside only to their end; of 200 random samples 20 would be among the 200 hardest.
    assert len(set(wanted.tolist()) & set(kept.tolist())) > 100


def test_points_above_a_ceiling_cost_less() -> None:
    potential = many_samples()
    points = 0.3 * torch.randn(200, potential.n_params, generator=torch.Generator().manual_seed(0))
    ceiling, seen, losses = float(potential.values(points).quantile(0.05)), [0], potential.losses

    def counted(points: Tensor, samples: Samples) -> Tensor:
        seen[0] += len(points) * len(samples)
        return losses(points, samples)

    potential.losses = counted
    potential.values(points, ceiling)  # learns which samples are hard
    first, seen[0] = seen[0], 0
    potential.values(points, ceiling)
    assert seen[0] < first < 0.75 * 200 * 2000 and seen[0] < 0.55 * 200 * 2000


def test_a_point_where_the_loss_is_nan_lies_above_every_ceiling() -> None:
    potential = many_samples()
    points = torch.full((1, potential.n_params), torch.nan)
    assert not (potential.values(points, 1e9) <= 1e9).any()


def test_a_loss_that_may_be_negative_is_summed_whole() -> None:
    whole = many_samples()
    shifted = replace(whole.samples, criterion=lambda outputs, targets: cross_entropy(outputs, targets) - 0.3)
    potential = NetworkPotential(whole.model, whole.minimum, shifted)
    points = 0.3 * torch.randn(50, potential.n_params, generator=torch.Generator().manual_seed(0))
    assert torch.equal(potential.values(points, 0.1), potential.values(points))


def test_early_rejection_changes_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SubsetSettings(runs=2, particles=32, moves=4)
    early = subset_simulation(many_samples(), 0.12, [0.2], seed=0, settings=settings)
    monkeypatch.setattr("minima_volume.sampling.potential.FEWEST_SAMPLES", 10**9)
    whole = subset_simulation(many_samples(), 0.12, [0.2], seed=0, settings=settings)
    assert early.n_levels[0] > 2 and early.log_gamma[0] == whole.log_gamma[0]
